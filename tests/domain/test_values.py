"""The shared values: ids that stay equal, names that stay valid, and what is refused."""

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.domain.ids import ContentDigest, PipelineName, RequestId
from tridentserve.domain.load import UNKNOWN, Load, StageTime
from tridentserve.domain.names import bounded_name, pool_name, router_name
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape, Reason
from tridentserve.domain.shapes import Shape, shape_class
from tridentserve.domain.stages import STAGES, Stage, parse_stages_label, stages_label
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.domain.tensors import ITEM_BYTES, Tensor
from tridentserve.domain.work import Generation, Request

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def pool(stage: Stage, workers: int, fraction: int = 100, devices: int = 0) -> PoolPlan:
    shape = PoolShape(stages=(stage,), devices=devices, fraction_percent=fraction)
    return PoolPlan(shape=shape, workers=workers)


def test_stages_follow_one_another() -> None:
    assert [stage.next for stage in STAGES] == [Stage.DIFFUSE, Stage.DECODE, None]
    assert [stage.previous for stage in STAGES] == [None, Stage.ENCODE, Stage.DIFFUSE]


@given(stages=st.sets(st.sampled_from(STAGES), min_size=1))
def test_a_stages_label_reads_back(stages: set[Stage]) -> None:
    assert parse_stages_label(stages_label(stages)) == stages
    assert re.fullmatch(r"[a-z.]{1,63}", stages_label(stages))


@pytest.mark.parametrize("value", ["", "encoder", "encode,decode", "encode."])
def test_a_label_that_names_no_stage_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a valid Stage"):
        parse_stages_label(value)


@settings(max_examples=300)
@given(name=st.text(max_size=300), limit=st.integers(20, 63))
def test_every_name_becomes_a_valid_dns_label(name: str, limit: int) -> None:
    bounded = bounded_name(name, limit)

    assert len(bounded) <= limit
    assert DNS_LABEL.fullmatch(bounded)


def test_a_pipeline_that_begins_with_a_digit_has_a_router_that_does_not() -> None:
    assert router_name("3d-art").startswith("x3d-art-router-")
    assert router_name("3d-art") != router_name("x3d-art")


@given(names=st.lists(st.text(max_size=80), min_size=2, max_size=2, unique=True))
def test_different_names_stay_different(names: list[str]) -> None:
    assert bounded_name(names[0], 46) != bounded_name(names[1], 46)


def test_pools_of_one_long_pipeline_have_names_of_their_own() -> None:
    long = "p" * 253
    names = {
        pool_name(long, stage, fraction, revision)
        for stage, fraction, revision in product(STAGES, (25, 50, 100), ("a1b2c3", "d4e5f6"))
    }

    assert len(names) == 18
    assert all(len(name) <= 46 for name in {*names, router_name(long)})


def test_equal_pools_have_one_plan_id_in_any_order_and_for_any_reason() -> None:
    pools = (pool(Stage.ENCODE, 1), pool(Stage.DIFFUSE, 3))
    one = PlacementPlan(pools=pools, reasons=())
    other = PlacementPlan(
        pools=pools[::-1], reasons=(Reason(code="Test", message="other"),), limited=True
    )

    assert one.id == other.id


@pytest.mark.parametrize(
    "changed",
    [pool(Stage.DIFFUSE, 2), pool(Stage.DIFFUSE, 3, 50), pool(Stage.DIFFUSE, 3, devices=2)],
)
def test_another_pool_is_another_plan_id(changed: PoolPlan) -> None:
    encode = pool(Stage.ENCODE, 1)
    before = PlacementPlan(pools=(encode, pool(Stage.DIFFUSE, 3)), reasons=())

    assert PlacementPlan(pools=(encode, changed), reasons=()).id != before.id


def test_workers_of_a_stage_are_counted_over_all_pools_that_host_it() -> None:
    together = PoolShape(stages=(Stage.DECODE, Stage.ENCODE), devices=0, fraction_percent=100)
    plan = PlacementPlan(
        pools=(pool(Stage.DECODE, 2), PoolPlan(shape=together, workers=3)), reasons=()
    )

    assert [plan.workers(stage) for stage in STAGES] == [3, 0, 5]


def test_zero_load_is_not_unknown_load() -> None:
    assert UNKNOWN.arrivals_per_s is None
    assert Load(arrivals_per_s=0.0) != UNKNOWN


def test_seconds_are_those_of_the_very_fraction() -> None:
    load = Load(
        arrivals_per_s=1.0,
        seconds=(StageTime(stage=Stage.DECODE, fraction_percent=50, seconds=0.3),),
    )

    assert load.seconds_at(Stage.DECODE, 50) == 0.3
    assert load.seconds_at(Stage.DECODE, 100) is None
    assert load.seconds_at(Stage.ENCODE, 50) is None


@given(height=st.integers(1, 10**6), width=st.integers(1, 10**6), frames=st.integers(1, 10**5))
def test_labels_of_shapes_are_few_whatever_users_ask_for(
    height: int, width: int, frames: int
) -> None:
    label = shape_class(Shape(height=height, width=width, frames=frames))

    assert re.fullmatch(r"(64|128|256|384|512|768|1024|1536|2048|4096)px(-(17|33|65|129)f)?", label)


def test_a_larger_shape_never_has_a_smaller_label() -> None:
    labels = [int(shape_class(Shape(height=side, width=side))[:-2]) for side in range(1, 5000, 7)]

    assert labels == sorted(labels)


def test_the_degree_is_the_product_of_the_ways_of_splitting() -> None:
    assert SINGLE.degree == 1
    assert Strategy(cfg=2, ulysses=2, ring=2).degree == 8


@pytest.mark.parametrize("dtype", list(ITEM_BYTES))
def test_a_tensor_is_exactly_as_long_as_its_type_and_shape_say(dtype: str) -> None:
    size = ITEM_BYTES[dtype] * 6
    right = Tensor(dtype=dtype, shape=(2, 3), data=memoryview(bytes(size)))

    assert right.data.nbytes == size
    for wrong in (size - 1, size + 1, 0):
        with pytest.raises(ValueError, match="bytes given for"):
            Tensor(dtype=dtype, shape=(2, 3), data=memoryview(bytes(wrong)))


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [("object", (1,), "unknown dtype"), ("float32", (-1, -4), "negative size")],
)
def test_a_tensor_that_could_be_misread_is_refused(
    dtype: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Tensor(dtype=dtype, shape=shape, data=memoryview(bytes(16)))


def test_the_data_of_a_tensor_must_be_plain_contiguous_bytes() -> None:
    strided = memoryview(bytes(32))[::2]
    signed = memoryview(bytes(16)).cast("b")
    square = memoryview(bytes(16)).cast("B", (4, 4))

    for data in (strided, signed, square):
        with pytest.raises(ValueError, match="contiguous"):
            Tensor(dtype="float32", shape=(4,), data=data)


def request(**options: object) -> Request:
    values = {
        "prompt": "a cat", "negative_prompt": "", "shape": Shape(height=64, width=64), "steps": 4,
        "guidance": 5.0, "seed": 1, "count": 1, "output_format": "image/png",
    } | options  # fmt: skip
    return Request(
        id=RequestId("r"),
        pipeline=PipelineName("default/flux"),
        generation=Generation(**values),  # type: ignore[arg-type]
        arrived_s=0.0,
        deadline_s=None,
    )


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"prompt": "a dog", "seed": 2, "steps": 20, "count": 3}, True),
        ({"guidance": 1.0}, False),
        ({"shape": Shape(height=128, width=64)}, False),
    ],
)
def test_what_may_run_together_is_shape_and_guidance_of_one_content(
    options: dict[str, object], same: bool
) -> None:
    digest = ContentDigest("d")

    assert (request().work_key(digest) == request(**options).work_key(digest)) is same
    assert request().work_key(digest) != request().work_key(ContentDigest("e"))
