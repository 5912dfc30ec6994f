"""What a caller asks for and hears, as values; messages become these and back here only."""

from collections.abc import Mapping
from dataclasses import dataclass

from tridentserve.domain.ids import (
    ContentDigest,
    NodeId,
    PipelineName,
    PlanId,
    RequestId,
    Revision,
    WorkerId,
)
from tridentserve.domain.pipeline import Limits
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import common_pb2, generation_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to make; None leaves a value to the model, or to the pipeline."""

    prompt: str
    negative_prompt: str = ""
    height: int | None = None
    """Pixels; a multiple of what `Description` says."""
    width: int | None = None
    frames: int | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    """None draws one, which `Finished` tells."""
    count: int = 1
    deadline_s: float | None = None
    """From now, soft: late work is finished; None: the pipeline's SLO."""
    refuse_late: bool = False
    """Fail at once with ExhaustedError where the deadline cannot be met."""
    idempotency_key: str = ""
    output_format: str = ""
    """Mime type; empty: the pipeline's default."""

    def to_message(self) -> generation_pb2.GenerateRequest:
        """The message of it.

        Raises:
            InvalidFieldError: a value that no message can hold; names the field.
        """
        values = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "height": self.height,
            "width": self.width,
            "frames": self.frames,
            "steps": self.steps,
            "guidance": self.guidance,
            "seed": self.seed,
            "count": self.count,
            "deadline_seconds": self.deadline_s,
            "refuse_late": self.refuse_late,
            "idempotency_key": self.idempotency_key,
            "output_format": self.output_format,
        }
        message = generation_pb2.GenerateRequest()
        for field, value in values.items():
            try:
                if value is not None:
                    setattr(message, field, value)
            except (ValueError, TypeError) as error:  # too large, or text that is no Unicode
                raise InvalidFieldError(field, f"cannot be sent: {error}") from None
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The request is in; it can be cancelled by its id from now on."""

    request: RequestId
    predicted_s: float | None
    """From now; None where nothing is known yet."""
    deadline_s: float | None
    """Unix time; likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage begins, or begins again: steps and media of an earlier attempt are void."""

    stage: Stage | None
    """None for one that this client is too old to know."""
    worker: WorkerId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step is done."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPiece:
    """A part of one picture or clip; parts come in order."""

    index: int
    mime_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTiming:
    """Where the seconds of one stage went; see `StageTiming` in the protocol."""

    stage: Stage
    worker: WorkerId
    node: NodeId
    wait_s: float
    queue_s: float
    fetch_s: float
    run_s: float
    put_s: float
    input_store: str
    """Store of the hop that led here; empty for encode."""
    input_bytes: int
    batch: int
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Everything is out."""

    mime_type: str
    seed: int
    revision: Revision
    digest: ContentDigest
    plan: PlanId
    timings: tuple[StageTiming, ...]
    total_s: float
    deadline_met: bool


Event = Accepted | StageStarted | Step | MediaPiece | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Finished media, by index, and how they were made."""

    media: tuple[bytes, ...]
    finished: Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a pipeline serves, and within which limits."""

    pipeline: PipelineName
    family: str
    """Empty before a worker was ever there; so are the defaults."""
    limits: Limits
    size_multiple: int
    workers: Mapping[Stage, int]
    """That can be given work."""
    default_shape: Shape
    default_steps: int
    default_guidance: float
    output_formats: tuple[str, ...]


def read_event(message: generation_pb2.GenerateEvent) -> Event | None:
    """The event of a message; None where this client is too old to know it."""
    match message.WhichOneof("event"):
        case "accepted":
            return Accepted(
                request=RequestId(message.accepted.request_id),
                predicted_s=message.accepted.predicted_seconds or None,
                deadline_s=message.accepted.deadline_unix_seconds or None,
            )
        case "stage_start":
            start = message.stage_start
            return StageStarted(
                stage=convert.known_stage(start.stage),
                worker=WorkerId(start.worker),
                attempt=start.attempt,
            )
        case "step":
            return Step(step=message.step.step, steps=message.step.steps)
        case "media":
            chunk = message.media
            return MediaPiece(index=chunk.index, mime_type=chunk.mime_type, data=chunk.data)
        case "finished":
            return _finished(message.finished)
        case _:
            return None


def _finished(message: generation_pb2.GenerateFinished) -> Finished:
    return Finished(
        mime_type=message.mime_type,
        seed=message.seed,
        revision=Revision(message.revision),
        digest=ContentDigest(message.digest),
        plan=PlanId(message.plan_id),
        timings=tuple(
            _timing(stage, timing)
            for timing in message.timings
            if (stage := convert.known_stage(timing.stage))
        ),
        total_s=message.total_seconds,
        deadline_met=message.deadline_met,
    )


def _timing(stage: Stage, message: common_pb2.StageTiming) -> StageTiming:
    return StageTiming(
        stage=stage,
        worker=WorkerId(message.worker),
        node=NodeId(message.node),
        wait_s=message.wait_seconds,
        queue_s=message.queue_seconds,
        fetch_s=message.fetch_seconds,
        run_s=message.run_seconds,
        put_s=message.put_seconds,
        input_store=message.input_store,
        input_bytes=message.input_bytes,
        batch=message.batch,
        attempts=message.attempts,
    )


def read_description(message: generation_pb2.DescribeGenerationResponse) -> Description:
    """The description of a message."""
    limits = message.limits
    return Description(
        pipeline=PipelineName(message.pipeline),
        family=message.family,
        limits=Limits(
            max_pixels=limits.max_pixels,
            max_frames=limits.max_frames,
            max_steps=limits.max_steps,
            max_images=limits.max_images,
            max_prompt_characters=limits.max_prompt_characters,
        ),
        size_multiple=limits.size_multiple,
        workers={convert.stage_from(one.stage): one.workers for one in message.stages},
        default_shape=convert.shape_from(message.default_shape),
        default_steps=message.default_steps,
        default_guidance=message.default_guidance,
        output_formats=tuple(message.output_formats),
    )
