"""Messages to domain values and back; no I/O.

What comes from outside is checked here: a message that cannot be a domain value raises
`InvalidFieldError` naming the field by its path in the message.
"""

from tridentserve.domain.ids import ContentDigest, MemoryDomain
from tridentserve.domain.model import ModelInfo
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.domain.tensors import ITEM_BYTES, TensorInfo, TensorRef
from tridentserve.domain.work import Generation
from tridentserve.errors import InvalidFieldError
from tridentserve.rpc.v1 import common_pb2, stage_pb2, tensor_pb2

_TO_STAGE = {
    common_pb2.STAGE_ENCODE: Stage.ENCODE,
    common_pb2.STAGE_DIFFUSE: Stage.DIFFUSE,
    common_pb2.STAGE_DECODE: Stage.DECODE,
}
_FROM_STAGE = {stage: number for number, stage in _TO_STAGE.items()}


def stage_from(number: common_pb2.Stage.ValueType, field: str = "stage") -> Stage:
    """The stage of a message.

    Raises:
        InvalidFieldError: unspecified, or a number that this version does not know.
    """
    stage = known_stage(number)
    if stage is None:
        raise InvalidFieldError(field, f"{number} is no stage; use encode, diffuse or decode")
    return stage


def known_stage(number: common_pb2.Stage.ValueType) -> Stage | None:
    """The stage of a message; None where this version does not know it."""
    return _TO_STAGE.get(number)


def stage_to(stage: Stage) -> common_pb2.Stage.ValueType:
    """The number of a stage."""
    return _FROM_STAGE[stage]


def shape_from(message: common_pb2.Shape) -> Shape:
    """A shape; frames of 0 mean 1."""
    return Shape(height=message.height, width=message.width, frames=message.frames or 1)


def shape_to(shape: Shape) -> common_pb2.Shape:
    """The message of a shape."""
    return common_pb2.Shape(height=shape.height, width=shape.width, frames=shape.frames)


def strategy_from(message: common_pb2.Strategy) -> Strategy:
    """A strategy; factors of 0 mean 1."""
    return Strategy(
        cfg=message.cfg or 1,
        ulysses=message.ulysses or 1,
        ring=message.ring or 1,
        vae_tiles=message.vae_tiles or 1,
    )


def strategy_to(strategy: Strategy) -> common_pb2.Strategy:
    """The message of a strategy."""
    return common_pb2.Strategy(
        cfg=strategy.cfg,
        ulysses=strategy.ulysses,
        ring=strategy.ring,
        vae_tiles=strategy.vae_tiles,
    )


def generation_from(message: common_pb2.Generation) -> Generation:
    """What a user asks for, as the router passed it on."""
    return Generation(
        prompt=message.prompt,
        negative_prompt=message.negative_prompt,
        shape=shape_from(message.shape),
        steps=message.steps,
        guidance=message.guidance,
        seed=message.seed,
        count=message.count,
        output_format=message.output_format,
    )


def generation_to(generation: Generation) -> common_pb2.Generation:
    """The message of a generation."""
    return common_pb2.Generation(
        prompt=generation.prompt,
        negative_prompt=generation.negative_prompt,
        shape=shape_to(generation.shape),
        steps=generation.steps,
        guidance=generation.guidance,
        seed=generation.seed,
        count=generation.count,
        output_format=generation.output_format,
    )


def tensor_ref_from(message: tensor_pb2.TensorRef, field: str = "ref") -> TensorRef:
    """A tensor reference.

    Raises:
        InvalidFieldError: no store or key, an unknown type word, or a negative size.
    """
    if not message.store or not message.key:
        raise InvalidFieldError(field, "a tensor reference needs a store and a key")
    for index, info in enumerate(message.tensors):
        if info.dtype not in ITEM_BYTES:
            raise InvalidFieldError(f"{field}.tensors[{index}].dtype", f"unknown: {info.dtype!r}")
        if any(size < 0 for size in info.shape):
            raise InvalidFieldError(f"{field}.tensors[{index}].shape", "negative size")
    return TensorRef(
        store=message.store,
        key=message.key,
        tensors=tuple(
            TensorInfo(name=info.name, dtype=info.dtype, shape=tuple(info.shape))
            for info in message.tensors
        ),
        size_bytes=message.size_bytes,
        checksum=message.checksum if message.HasField("checksum") else None,
        expires_s=message.expires_unix_seconds,
        domain=MemoryDomain(message.domain) if message.domain else None,
    )


def tensor_ref_to(ref: TensorRef) -> tensor_pb2.TensorRef:
    """The message of a tensor reference."""
    return tensor_pb2.TensorRef(
        store=ref.store,
        key=ref.key,
        tensors=[
            tensor_pb2.TensorInfo(name=info.name, dtype=info.dtype, shape=info.shape)
            for info in ref.tensors
        ],
        size_bytes=ref.size_bytes,
        checksum=ref.checksum,
        expires_unix_seconds=ref.expires_s,
        domain=ref.domain or "",
    )


def model_from(message: stage_pb2.ModelInfo) -> ModelInfo:
    """The model that a worker describes."""
    return ModelInfo(
        family=message.family,
        digest=ContentDigest(message.digest),
        default_shape=shape_from(message.default_shape),
        default_steps=message.default_steps,
        default_guidance=message.default_guidance,
        size_multiple=message.size_multiple,
        negative_prompt=message.negative_prompt,
    )


def model_to(model: ModelInfo) -> stage_pb2.ModelInfo:
    """The message of a model."""
    return stage_pb2.ModelInfo(
        family=model.family,
        digest=model.digest,
        default_shape=shape_to(model.default_shape),
        default_steps=model.default_steps,
        default_guidance=model.default_guidance,
        size_multiple=model.size_multiple,
        negative_prompt=model.negative_prompt,
    )
