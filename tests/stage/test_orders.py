"""Every wrong value of a RunRequest is refused by the name of its field."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tridentserve.domain.ids import DeviceId
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.errors import DigestMismatchError, InvalidFieldError
from tridentserve.rpc.v1 import common_pb2, stage_pb2, tensor_pb2
from tridentserve.stage import orders
from tridentserve.stage.fakes import FAKE_MODEL, FakeRunner
from tridentserve.stage.runner import StageRunner

Change = Callable[[stage_pb2.RunRequest], object]

RUNNERS: dict[Stage, StageRunner] = {
    stage: FakeRunner(stage) for stage in (Stage.ENCODE, Stage.DIFFUSE)
}
DEVICES = (DeviceId("node/gpu-0"), DeviceId("node/gpu-1"))
REF = tensor_pb2.TensorRef(store="redis", key="k")


def _good(stage: "common_pb2.Stage.ValueType" = common_pb2.STAGE_DIFFUSE) -> stage_pb2.RunRequest:
    item = stage_pb2.SegmentItem(
        request_id="r1",
        generation=common_pb2.Generation(
            prompt="a fox",
            shape=common_pb2.Shape(height=64, width=128),
            steps=4,
            guidance=5.0,
            seed=-1,
            count=1,
        ),
        inputs=[] if stage == common_pb2.STAGE_ENCODE else [REF],
    )
    return stage_pb2.RunRequest(segment_id="r1/diffuse/1", epoch=1, stage=stage, items=[item])


def _generation(request: stage_pb2.RunRequest) -> common_pb2.Generation:
    return request.items[0].generation


GENERATION = "items[0].generation"
BAD: list[tuple[str, Change]] = [
    ("segment_id", lambda r: r.ClearField("segment_id")),
    ("epoch", lambda r: setattr(r, "epoch", -1)),
    ("stage", lambda r: r.ClearField("stage")),
    ("stage", lambda r: setattr(r, "stage", 9)),
    ("stage", lambda r: setattr(r, "stage", common_pb2.STAGE_DECODE)),
    ("items", lambda r: r.ClearField("items")),
    ("items", lambda r: r.items.append(r.items[0])),
    ("items[0].request_id", lambda r: r.items[0].ClearField("request_id")),
    ("items[0].first_step", lambda r: setattr(r.items[0], "first_step", 2)),
    ("items[0].inputs", lambda r: r.items[0].ClearField("inputs")),
    ("items[0].inputs", lambda r: r.items[0].inputs.append(REF)),
    ("items[0].inputs[0]", lambda r: r.items[0].inputs[0].ClearField("key")),
    (
        "items[0].inputs[0].tensors[0].dtype",
        lambda r: r.items[0].inputs[0].tensors.add(name="x", dtype="pickle"),
    ),
    (
        "items[0].inputs[0].tensors[0].shape",
        lambda r: r.items[0].inputs[0].tensors.add(name="x", dtype="float32", shape=[-1]),
    ),
    (GENERATION, lambda r: r.items[0].ClearField("generation")),
    (f"{GENERATION}.shape.height", lambda r: _generation(r).ClearField("shape")),
    (f"{GENERATION}.shape.height", lambda r: setattr(_generation(r).shape, "height", 65)),
    (f"{GENERATION}.shape.width", lambda r: setattr(_generation(r).shape, "width", -16)),
    (f"{GENERATION}.shape.frames", lambda r: setattr(_generation(r).shape, "frames", -1)),
    (f"{GENERATION}.steps", lambda r: setattr(_generation(r), "steps", 0)),
    (f"{GENERATION}.count", lambda r: setattr(_generation(r), "count", 0)),
    (f"{GENERATION}.guidance", lambda r: setattr(_generation(r), "guidance", float("nan"))),
    (f"{GENERATION}.guidance", lambda r: setattr(_generation(r), "guidance", float("inf"))),
    (f"{GENERATION}.guidance", lambda r: setattr(_generation(r), "guidance", -1.0)),
    (f"{GENERATION}.negative_prompt", lambda r: setattr(_generation(r), "negative_prompt", "x")),
    ("strategy", lambda r: setattr(r.strategy, "ulysses", 2)),
    ("device_ids", lambda r: r.device_ids.append("node/gpu-7")),
    ("tensor_ttl_seconds", lambda r: setattr(r, "tensor_ttl_seconds", -1.0)),
    ("tensor_ttl_seconds", lambda r: setattr(r, "tensor_ttl_seconds", float("nan"))),
]


@pytest.mark.parametrize(("field", "change"), BAD, ids=[f"{n}-{b[0]}" for n, b in enumerate(BAD)])
def test_a_wrong_value_is_refused_by_its_name(field: str, change: Change) -> None:
    request = _good()
    change(request)

    with pytest.raises(InvalidFieldError) as caught:
        orders.read(request, RUNNERS, DEVICES)

    assert caught.value.field == field


def test_encode_takes_no_input() -> None:
    request = _good(common_pb2.STAGE_ENCODE)
    assert orders.read(request, RUNNERS, DEVICES).input is None

    request.items[0].inputs.append(REF)
    with pytest.raises(InvalidFieldError, match=r"items\[0\]\.inputs"):
        orders.read(request, RUNNERS, DEVICES)


def test_another_digest_is_no_invalid_field() -> None:
    request = _good()
    request.digest = "another"

    with pytest.raises(DigestMismatchError, match=r"another.*fake-digest"):
        orders.read(request, RUNNERS, DEVICES)


def test_what_is_left_out_has_a_meaning() -> None:
    order = orders.read(_good(), RUNNERS, DEVICES)

    assert order.generation.shape.frames == 1
    assert order.key.strategy == Strategy()
    assert order.key.work.digest == FAKE_MODEL.digest
    assert (order.reader, order.ttl_s) == (None, 0.0)


def test_own_devices_may_be_named_and_a_negative_prompt_given_where_the_model_has_one() -> None:
    model = replace(FAKE_MODEL, negative_prompt=True)
    runners: dict[Stage, StageRunner] = {Stage.DIFFUSE: FakeRunner(Stage.DIFFUSE, model=model)}
    request = _good()
    request.device_ids.extend(DEVICES)
    _generation(request).negative_prompt = "blurry"

    order = orders.read(request, runners, DEVICES)

    assert order.generation.negative_prompt == "blurry"


def test_equal_work_has_equal_keys_and_the_prompt_and_seed_are_no_part_of_it() -> None:
    first, second = _good(), _good()
    _generation(second).prompt, _generation(second).seed = "a hare", 7
    other = _good()
    _generation(other).steps = 5

    keys = [orders.read(request, RUNNERS, DEVICES).key for request in (first, second, other)]

    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
