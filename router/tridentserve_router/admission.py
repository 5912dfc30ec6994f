"""Whether a request comes in: every field checked, every default filled in, the queue bounded.

Pure: what the caller wrote comes in as `Asked`, the model and the limits as values. It refuses
rather than corrects: a value that is out of range is an error that names its field, never clipped.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from tridentserve.domain.model import ModelInfo
from tridentserve.domain.pipeline import Limits
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.work import Generation
from tridentserve.errors import ExhaustedError, InvalidFieldError

OUTPUT_FORMATS = ("image/png",)
"""Mime types that decoders make; the first one is the default."""

LONGEST_DEADLINE_S = 86_400.0
HIGHEST_GUIDANCE = 100.0
HIGHEST_SEED = 2**63 - 1
LONGEST_KEY = 128

_SHORTEST_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller wrote; field names and meanings are those of `GenerateRequest`."""

    prompt: str
    negative_prompt: str = ""
    height: int = 0
    width: int = 0
    frames: int = 0
    steps: int = 0
    guidance: float | None = None
    seed: int | None = None
    count: int = 0
    deadline_seconds: float = 0.0
    idempotency_key: str = ""
    output_format: str = ""
    refuse_late: bool = False


def check(asked: Asked, limits: Limits, model: ModelInfo, rng: Random) -> Generation:
    """What is to be made, complete; `rng` draws the seed where the caller gave none.

    Raises:
        InvalidFieldError: names the first wrong field, in the order of the message.
    """
    _check_text("prompt", asked.prompt, limits)
    if not asked.prompt.strip():
        raise InvalidFieldError("prompt", "is empty; say what to draw")
    _check_text("negative_prompt", asked.negative_prompt, limits)
    if asked.negative_prompt and not model.negative_prompt:
        raise InvalidFieldError(
            "negative_prompt", f"models of the family {model.family} have none; leave it out"
        )
    shape = _shape(asked, limits, model)
    steps = asked.steps or min(model.default_steps, limits.max_steps)
    _check_range("steps", steps, 1, limits.max_steps)
    guidance = model.default_guidance if asked.guidance is None else asked.guidance
    _check_range("guidance", guidance, 0.0, HIGHEST_GUIDANCE)
    seed = rng.randrange(2**32) if asked.seed is None else asked.seed
    _check_range("seed", seed, 0, HIGHEST_SEED)
    count = asked.count or 1
    _check_range("count", count, 1, limits.max_images)
    _check_range("deadline_seconds", asked.deadline_seconds, 0.0, LONGEST_DEADLINE_S)
    _check_key(asked.idempotency_key)
    return Generation(
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        shape=shape,
        steps=steps,
        guidance=guidance,
        seed=seed,
        count=count,
        output_format=_output_format(asked.output_format),
    )


def _check_text(field: str, text: str, limits: Limits) -> None:
    if len(text) > limits.max_prompt_characters:
        raise InvalidFieldError(
            field, f"has {len(text)} characters; at most {limits.max_prompt_characters}"
        )
    # Tokenizers of some families end at a NUL without a word: half of the prompt would be lost.
    if "\0" in text:
        raise InvalidFieldError(field, "contains a NUL character")


def _check_range(field: str, value: float, low: float, high: float) -> None:
    # Written so that `nan`, which compares false with everything, is refused too.
    if not low <= value <= high:
        raise InvalidFieldError(field, f"is {value}; use {low} to {high}")


def _check_key(key: str) -> None:
    if len(key) > LONGEST_KEY:
        raise InvalidFieldError(
            "idempotency_key", f"has {len(key)} characters; at most {LONGEST_KEY}"
        )
    if not key.isprintable():
        raise InvalidFieldError("idempotency_key", "contains unprintable characters")


def _output_format(value: str) -> str:
    if value and value not in OUTPUT_FORMATS:
        raise InvalidFieldError("output_format", f"is {value!r}; use {', '.join(OUTPUT_FORMATS)}")
    return value or OUTPUT_FORMATS[0]


def _shape(asked: Asked, limits: Limits, model: ModelInfo) -> Shape:
    for field, value in (("height", asked.height), ("width", asked.width)):
        if value < 0 or value % model.size_multiple:
            raise InvalidFieldError(
                field, f"is {value}; use a positive multiple of {model.size_multiple}"
            )
    height, width = _sides(asked, limits, model)
    if height * width > limits.max_pixels:
        # The longer side is the one to shorten; it is the one named.
        field = "height" if height >= width else "width"
        raise InvalidFieldError(
            field, f"{height} x {width} are {height * width} pixels; at most {limits.max_pixels}"
        )
    frames = asked.frames or 1
    _check_range("frames", frames, 1, limits.max_frames)
    return Shape(height=height, width=width, frames=frames)


def _sides(asked: Asked, limits: Limits, model: ModelInfo) -> tuple[int, int]:
    """Height and width: a side that was left out is the model's, or as much of it as may be."""
    default = model.default_shape

    def fitted(side: float) -> int:
        return max(1, int(side) // model.size_multiple) * model.size_multiple

    if asked.height and asked.width:
        return asked.height, asked.width
    if asked.height:
        return asked.height, fitted(min(default.width, limits.max_pixels // asked.height))
    if asked.width:
        return fitted(min(default.height, limits.max_pixels // asked.width)), asked.width
    share = min(1.0, math.sqrt(limits.max_pixels / (default.height * default.width)))
    return fitted(default.height * share), fitted(default.width * share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The load that a new request meets, by stage, in seconds of one worker's work."""

    waiting: int
    """Requests that wait for a worker, of any stage."""
    backlog_s: Mapping[Stage, float]
    """Seconds of work that admitted requests still have to do."""
    slots: Mapping[Stage, int]
    """How many requests can run at the same time."""


def predict_s(queue: Queue, own_s: Mapping[Stage, float]) -> float | None:
    """Seconds until a new request would be done; None where a stage's cost or worker is unknown.

    The stage with the longest backlog a slot bounds the wait; the request's own work follows.

    >>> queue = Queue(waiting=3, backlog_s={s: 6.0 for s in STAGES}, slots={s: 2 for s in STAGES})
    >>> predict_s(queue, {s: 1.0 for s in STAGES})
    6.0
    """
    if any(queue.slots.get(stage, 0) < 1 or stage not in own_s for stage in STAGES):
        return None
    wait_s = max(queue.backlog_s.get(stage, 0.0) / queue.slots[stage] for stage in STAGES)
    return wait_s + math.fsum(own_s[stage] for stage in STAGES)


def check_queue(queue: Queue, max_queue: int, predicted_s: float | None) -> None:
    """Refuse what would wait behind a full queue.

    Raises:
        ExhaustedError: QUEUE_FULL, with the time in which about one place becomes free.
    """
    if queue.waiting < max_queue:
        return
    each_s = (predicted_s or 0.0) / max(1, queue.waiting)
    raise ExhaustedError(
        f"{queue.waiting} requests wait already; at most {max_queue}",
        reason="QUEUE_FULL",
        retry_after_s=_bounded(each_s),
    )


def check_lateness(asked: Asked, predicted_s: float | None, deadline_s: float | None) -> None:
    """Refuse what cannot be in time, where the caller asked to be told.

    Args:
        asked: what the caller wrote.
        predicted_s: seconds from now until it would be done; None refuses nothing.
        deadline_s: seconds from now until it should be; None refuses nothing.

    Raises:
        ExhaustedError: TOO_LATE, with the time after which it may be in time.
    """
    if not asked.refuse_late or predicted_s is None or deadline_s is None:
        return
    if predicted_s > deadline_s:
        raise ExhaustedError(
            f"it would be done in {predicted_s:.1f} s, after its deadline in {deadline_s:.1f} s",
            reason="TOO_LATE",
            retry_after_s=_bounded(predicted_s - deadline_s),
        )


def _bounded(seconds: float) -> float:
    return min(max(seconds, _SHORTEST_RETRY_S), _LONGEST_RETRY_S)
