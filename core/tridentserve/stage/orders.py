"""What a `RunRequest` asks for, checked: everything wrong is refused by the name of its field.

Pure. The router checks what users send; this checks what the router sends, since a worker that
runs into a wrong value half way has wasted a device's time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from tridentserve.domain.ids import DeviceId, Epoch, MemoryDomain, RequestId, SegmentId
from tridentserve.domain.model import ModelInfo
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.domain.tensors import TensorRef
from tridentserve.domain.work import Generation, WorkKey
from tridentserve.errors import DigestMismatchError, InvalidFieldError
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import stage_pb2
from tridentserve.stage.batching import BatchKey
from tridentserve.stage.runner import StageRunner

_ITEM = "items[0]"
_GENERATION = f"{_ITEM}.generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request's part in one stage, as this worker is to run it."""

    segment: SegmentId
    request: RequestId
    epoch: Epoch
    key: BatchKey
    generation: Generation
    input: TensorRef | None
    """None for encode."""
    reader: MemoryDomain | None
    """Domain of the preferred consumer."""
    ttl_s: float
    """0 is the worker's default."""

    @property
    def stage(self) -> Stage:
        """The stage to run."""
        return self.key.stage


def read(
    message: stage_pb2.RunRequest,
    runners: Mapping[Stage, StageRunner],
    devices: Sequence[DeviceId],
) -> Order:
    """Read what a router sent.

    Raises:
        InvalidFieldError: a value is missing or wrong, or nothing that this worker does.
        DigestMismatchError: the journey began with another model.
    """
    _require(message.segment_id != "", "segment_id", "must not be empty")
    _require(message.epoch >= 0, "epoch", f"{message.epoch} is negative")
    runner = _runner(convert.stage_from(message.stage), runners)
    item = _only_item(message)
    _check_digest(message.digest, runner.model)
    _check_devices(message.device_ids, devices)
    _require(
        isfinite(message.tensor_ttl_seconds) and message.tensor_ttl_seconds >= 0,
        "tensor_ttl_seconds",
        f"{message.tensor_ttl_seconds} is no time",
    )
    generation = _generation(item, runner.model)
    work = WorkKey(digest=runner.model.digest, shape=generation.shape, guidance=generation.guidance)
    return Order(
        segment=SegmentId(message.segment_id),
        request=RequestId(item.request_id),
        epoch=Epoch(message.epoch),
        key=BatchKey(
            stage=runner.stage,
            work=work,
            steps=generation.steps,
            strategy=_strategy(message, runner),
        ),
        generation=generation,
        input=_input(item, runner.stage),
        reader=MemoryDomain(message.output_domain) if message.output_domain else None,
        ttl_s=message.tensor_ttl_seconds,
    )


def _only_item(message: stage_pb2.RunRequest) -> stage_pb2.SegmentItem:
    _require(
        len(message.items) == 1,
        "items",
        f"{len(message.items)} given; one each, workers batch Runs of equal work keys themselves",
    )
    item = message.items[0]
    _require(item.request_id != "", f"{_ITEM}.request_id", "must not be empty")
    _require(item.first_step == 0, f"{_ITEM}.first_step", "whole stages only: must be 0")
    return item


def _check_digest(given: str, model: ModelInfo) -> None:
    if given and given != model.digest:
        raise DigestMismatchError(
            f"the journey began with model {given}, this worker holds {model.digest}"
        )


def _require(holds: bool, field: str, problem: str) -> None:
    if not holds:
        raise InvalidFieldError(field, problem)


def _runner(stage: Stage, runners: Mapping[Stage, StageRunner]) -> StageRunner:
    if stage not in runners:
        raise InvalidFieldError(
            "stage", f"{stage} is not hosted here; this worker hosts {', '.join(runners)}"
        )
    return runners[stage]


def _strategy(message: stage_pb2.RunRequest, runner: StageRunner) -> Strategy:
    strategy = convert.strategy_from(message.strategy)
    _require(
        strategy in runner.strategies,
        "strategy",
        f"{strategy} cannot be run here; use one that Describe lists",
    )
    return strategy


def _check_devices(given: Sequence[str], own: Sequence[DeviceId]) -> None:
    foreign = sorted(set(given) - set(own))
    _require(
        not foreign, "device_ids", f"{', '.join(foreign)} not held here; held: {', '.join(own)}"
    )


def _generation(item: stage_pb2.SegmentItem, model: ModelInfo) -> Generation:
    _require(item.HasField("generation"), _GENERATION, "is missing")
    generation = convert.generation_from(item.generation)
    for side in ("height", "width"):
        pixels = getattr(generation.shape, side)
        _require(
            pixels > 0 and pixels % model.size_multiple == 0,
            f"{_GENERATION}.shape.{side}",
            f"{pixels} is no positive multiple of {model.size_multiple}",
        )
    for field, value in (
        ("shape.frames", generation.shape.frames),
        ("steps", generation.steps),
        ("count", generation.count),
    ):
        _require(value > 0, f"{_GENERATION}.{field}", f"{value} is not positive")
    _require(
        isfinite(generation.guidance) and generation.guidance >= 0,
        f"{_GENERATION}.guidance",
        f"{generation.guidance} is no guidance scale",
    )
    _require(
        model.negative_prompt or not generation.negative_prompt,
        f"{_GENERATION}.negative_prompt",
        f"{model.family} has none; leave it empty",
    )
    return generation


def _input(item: stage_pb2.SegmentItem, stage: Stage) -> TensorRef | None:
    field, given = f"{_ITEM}.inputs", len(item.inputs)
    if stage is Stage.ENCODE:
        _require(given == 0, field, "encode reads nothing: leave it empty")
        return None
    _require(given == 1, field, f"{given} given; {stage} reads one reference from {stage.previous}")
    return convert.tensor_ref_from(item.inputs[0], f"{field}[0]")
