"""A model without a model: waits as long as its profile says, and proves every hand-off.

Hundreds of such workers fit on two cores, and the picture tells whether each read the right bytes.

A folder with a `synthetic.json` is such a model:

    {"family": "synthetic",
     "seconds": {"encode": 0.02, "diffusePerStep": 0.01, "decode": 0.05},
     "handoffBytes": {"encode": 65536, "diffuse": 131072},
     "default": {"height": 64, "width": 64, "steps": 4, "guidance": 5.0},
     "sizeMultiple": 16,
     "scaleWithPixels": false}

Seconds hold at 100 % of a device; a fraction f takes 100 / f times as long. With `scaleWithPixels`
they grow with the pixels of the request against those of the default size. A batch takes as long
as one: synthetic work batches perfectly, which real work does not.

Every stage hashes all that it was given into what it hands off, so the picture is a function of
prompt, seed, size, steps, guidance and every byte that travelled. `picture` computes it directly.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tridentserve.domain.model import ModelInfo
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.domain.tensors import Tensor
from tridentserve.domain.work import Generation
from tridentserve.errors import InvalidFieldError, StageFailedError
from tridentserve.families.digest import content_digest
from tridentserve.stage.png import encode_blocks
from tridentserve.stage.runner import Media, Output, Progress, Task

FILE = "synthetic.json"
FORMAT = "image/png"

_BLOCKS = 8
"""Squares a side of the picture; each has a colour out of the hash."""

Sleep = Callable[[float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticModel:
    """What `synthetic.json` says."""

    info: ModelInfo
    seconds: Mapping[Stage, float]
    """Of encode, of one step of diffuse, of decode."""
    handoff_bytes: Mapping[Stage, int]
    scale_with_pixels: bool

    def duration_s(self, stage: Stage, shape: Shape, fraction_percent: int) -> float:
        """Seconds of one call, or of one step of diffuse."""
        scale = shape.volume / self.info.default_shape.volume if self.scale_with_pixels else 1.0
        return self.seconds[stage] * scale * 100.0 / fraction_percent


def read_model(folder: Path) -> SyntheticModel:
    """Read a folder's `synthetic.json`; what it leaves out is as in the example above.

    Raises:
        InvalidFieldError: a value is wrong; `field` is its path in the file.
    """
    try:
        values = json.loads((folder / FILE).read_bytes())
    except ValueError as error:
        raise InvalidFieldError(FILE, f"is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise InvalidFieldError(FILE, "must be an object")
    return SyntheticModel(
        info=_info(folder, values),
        seconds={
            Stage.ENCODE: _number(values, ("seconds", "encode"), 0.02, 0),
            Stage.DIFFUSE: _number(values, ("seconds", "diffusePerStep"), 0.01, 0),
            Stage.DECODE: _number(values, ("seconds", "decode"), 0.05, 0),
        },
        handoff_bytes={
            Stage.ENCODE: int(_number(values, ("handoffBytes", "encode"), 65_536, 1)),
            Stage.DIFFUSE: int(_number(values, ("handoffBytes", "diffuse"), 131_072, 1)),
        },
        scale_with_pixels=bool(values.get("scaleWithPixels", False)),
    )


def _info(folder: Path, values: dict[str, object]) -> ModelInfo:
    def default(name: str, otherwise: float, least: float) -> float:
        return _number(values, ("default", name), otherwise, least)

    return ModelInfo(
        family=str(values.get("family", "synthetic")),
        digest=content_digest(folder),
        default_shape=Shape(
            height=int(default("height", 64, 1)), width=int(default("width", 64, 1))
        ),
        default_steps=int(default("steps", 4, 1)),
        default_guidance=default("guidance", 5.0, 0),
        size_multiple=int(_number(values, ("sizeMultiple",), 16, 1)),
        negative_prompt=True,
    )


def _number(values: object, path: tuple[str, ...], default: float, least: float) -> float:
    for name in path:
        values = values.get(name) if isinstance(values, dict) else None
    value = default if values is None else values
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidFieldError(f"{FILE}: {'.'.join(path)}", f"{value!r} is no number")
    if value < least:
        raise InvalidFieldError(f"{FILE}: {'.'.join(path)}", f"{value} is below {least}")
    return value


class SyntheticRunner:
    """One stage of a synthetic model; see `StageRunner`."""

    def __init__(
        self,
        stage: Stage,
        model: SyntheticModel,
        *,
        fraction_percent: int = 100,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Prepare; `sleep` may return early when the call is cancelled."""
        self._stage, self._model = stage, model
        self._fraction_percent, self._sleep = fraction_percent, sleep

    @property
    def stage(self) -> Stage:
        """The stage that it runs."""
        return self._stage

    @property
    def model(self) -> ModelInfo:
        """The model it belongs to."""
        return self._model.info

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """One device only."""
        return (SINGLE,)

    def check(self) -> None:
        """There is none that could break."""

    def run(self, tasks: Sequence[Task], strategy: Strategy, progress: Progress) -> list[Output]:
        """Wait, then hash; see `StageRunner.run`."""
        shape, steps = tasks[0].generation.shape, tasks[0].generation.steps
        seconds = self._model.duration_s(self._stage, shape, self._fraction_percent)
        if self._stage is Stage.DIFFUSE:
            for step in range(steps):
                self._sleep(seconds)
                progress(step + 1, steps)
        else:
            self._sleep(seconds)
        return [run_stage(self._model, self._stage, task) for task in tasks]


def run_stage(model: SyntheticModel, stage: Stage, task: Task) -> Output:
    """What a stage makes of a task, at once.

    Raises:
        StageFailedError: the inputs are not what the stage before hands off.
        InvalidFieldError: another output format than PNG.
    """
    generation, content = task.generation, _content(model, stage, task)
    if stage is not Stage.DECODE:
        size = model.handoff_bytes[stage]
        data = memoryview(hashlib.shake_256(content).digest(size))
        return Output(tensors={stage: Tensor(dtype="uint8", shape=(size,), data=data)})
    if generation.output_format not in ("", FORMAT):
        raise InvalidFieldError("output_format", f"{generation.output_format!r}; use {FORMAT}")
    return Output(
        tensors={},
        media=tuple(
            Media(mime_type=FORMAT, data=_draw(content, index, generation.shape))
            for index in range(generation.count)
        ),
    )


def picture(model: SyntheticModel, generation: Generation) -> tuple[Media, ...]:
    """The media that the three stages of a model make together, without waiting."""
    output = Output(tensors={})
    for stage in STAGES:
        output = run_stage(model, stage, Task(generation=generation, inputs=output.tensors))
    return output.media


def _content(model: SyntheticModel, stage: Stage, task: Task) -> bytes:
    generation, shape = task.generation, task.generation.shape
    # The seed joins at diffuse, as in a real pipeline: equal prompts encode to equal bytes.
    known: list[object] = [model.info.digest, generation.prompt, generation.negative_prompt]
    if stage is not Stage.ENCODE:
        known += [generation.seed, generation.steps, generation.guidance, generation.count]
        known += [shape.height, shape.width, shape.frames]
    digest = hashlib.sha256(json.dumps([stage, *known]).encode())
    if stage.previous is not None:
        if set(task.inputs) != {stage.previous}:
            raise StageFailedError(
                f"{stage} was given {sorted(task.inputs)} instead of [{stage.previous}]"
            )
        digest.update(task.inputs[stage.previous].data)
    return digest.digest()


def _draw(content: bytes, index: int, shape: Shape) -> bytes:
    colours = hashlib.shake_256(content + index.to_bytes(4, "big")).digest(3 * _BLOCKS * _BLOCKS)
    return encode_blocks(colours, _BLOCKS, height=shape.height, width=shape.width)
