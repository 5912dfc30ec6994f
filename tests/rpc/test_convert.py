"""Messages and domain values say the same, both ways; what cannot be a value names its field."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tridentserve.domain.ids import ContentDigest, MemoryDomain
from tridentserve.domain.model import ModelInfo
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.domain.tensors import ITEM_BYTES, TensorInfo, TensorRef
from tridentserve.domain.work import Generation
from tridentserve.errors import InvalidFieldError
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import common_pb2, tensor_pb2

counts = some.integers(1, 2**31 - 1)
shapes = some.builds(Shape, height=counts, width=counts, frames=counts)
refs = some.builds(
    TensorRef,
    store=some.text(min_size=1),
    key=some.text(min_size=1),
    tensors=some.lists(
        some.builds(
            TensorInfo,
            name=some.text(),
            dtype=some.sampled_from(sorted(ITEM_BYTES)),
            shape=some.lists(some.integers(0, 2**40)).map(tuple),
        )
    ).map(tuple),
    size_bytes=some.integers(0, 2**50),
    checksum=some.none() | some.integers(0, 2**32 - 1),
    expires_s=some.floats(0, 1e12),
    domain=some.none() | some.text(min_size=1).map(MemoryDomain),
)
generations = some.builds(
    Generation,
    prompt=some.text(),
    negative_prompt=some.text(),
    shape=shapes,
    steps=counts,
    guidance=some.floats(0, 100),
    seed=some.integers(0, 2**63 - 1),
    count=counts,
    output_format=some.text(),
)


@given(refs)
def test_a_tensor_reference_survives(ref: TensorRef) -> None:
    wire = tensor_pb2.TensorRef.FromString(convert.tensor_ref_to(ref).SerializeToString())

    assert convert.tensor_ref_from(wire) == ref


@given(generations)
def test_a_generation_survives(generation: Generation) -> None:
    assert convert.generation_from(convert.generation_to(generation)) == generation


def test_stages_strategies_and_models_survive() -> None:
    strategy = Strategy(cfg=2, ulysses=4, ring=1, vae_tiles=1)
    model = ModelInfo(
        family="sd3",
        digest=ContentDigest("d"),
        default_shape=Shape(height=64, width=32),
        default_steps=4,
        default_guidance=5.5,
        size_multiple=16,
        negative_prompt=True,
    )

    assert [convert.stage_from(convert.stage_to(stage)) for stage in STAGES] == list(STAGES)
    assert convert.strategy_from(convert.strategy_to(strategy)) == strategy
    assert convert.model_from(convert.model_to(model)) == model


def test_what_a_message_leaves_out_means_one() -> None:
    assert convert.strategy_from(common_pb2.Strategy()) == SINGLE
    assert convert.shape_from(common_pb2.Shape(height=8, width=8)).frames == 1


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (tensor_pb2.TensorRef(key="k"), "inputs[0]"),
        (tensor_pb2.TensorRef(store="shm"), "inputs[0]"),
        (
            tensor_pb2.TensorRef(
                store="shm", key="k", tensors=[tensor_pb2.TensorInfo(dtype="float8")]
            ),
            "inputs[0].tensors[0].dtype",
        ),
        (
            tensor_pb2.TensorRef(
                store="shm", key="k", tensors=[tensor_pb2.TensorInfo(dtype="int8", shape=[-1])]
            ),
            "inputs[0].tensors[0].shape",
        ),
    ],
)
def test_a_reference_that_cannot_be_one_names_its_field(
    message: tensor_pb2.TensorRef, field: str
) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        convert.tensor_ref_from(message, "inputs[0]")

    assert caught.value.field == field


@pytest.mark.parametrize("number", [0, 4, 99])
def test_a_number_that_is_no_stage_is_refused(number: int) -> None:
    with pytest.raises(InvalidFieldError, match="stage: "):
        convert.stage_from(number)  # type: ignore[arg-type]
