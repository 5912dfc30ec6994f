"""A named set of tensors as one run of bytes, and back: a header and raw data, no pickle.

    offset 0   8 bytes   magic
           8   4 bytes   length of the header, little-endian
          12   8 bytes   length of everything, little-endian
          20   header    JSON [[name, dtype, [size, ...]], ...], UTF-8
               zeros up to a multiple of 64, then each tensor's bytes, each begun at such a multiple

There is one spelling for each set: offsets follow from types and shapes, and padding is zero. A
reader knows from the reference which tensors it wants, so it never parses the header: it spells it
itself, and refuses whatever differs by one byte. Nothing that lies in a store is trusted.

Alignment of 64 lets readers use the bytes in place. Nothing here reads or writes anything.

>>> data = bytes(8)
>>> tensor = Tensor(dtype="float32", shape=(2,), data=memoryview(data))
>>> layout = plan({"latents": tensor})
>>> layout.size_bytes, layout.offsets
(72, (64,))
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

from tridentserve.domain.tensors import ITEM_BYTES, Tensor, TensorInfo
from tridentserve.errors import TensorCorruptedError

_MAGIC = b"TRDTNSR1"
_PREFIX = struct.Struct("<8sIQ")
_ALIGNMENT = 64
_MAX_HEADER_BYTES = 1 << 16
_MAX_TENSORS = 256
_MAX_DIMENSIONS = 16
_MAX_SET_BYTES = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything lies in the run of bytes."""

    infos: tuple[TensorInfo, ...]
    head: bytes
    """Prefix, header and padding, up to the first tensor."""
    offsets: tuple[int, ...]
    """Where each tensor begins."""
    size_bytes: int


def plan(tensors: Mapping[str, Tensor]) -> Layout:
    """Lay out a set that is to be written.

    Raises:
        ValueError: more tensors, dimensions or letters of names than a reader would take.
    """
    return _lay_out(
        tuple(
            TensorInfo(name=name, dtype=tensor.dtype, shape=tensor.shape)
            for name, tensor in tensors.items()
        )
    )


def pieces(layout: Layout, tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    """The run of bytes, in order, without copying a tensor."""
    yield memoryview(layout.head)
    position = len(layout.head)
    for offset, tensor in zip(layout.offsets, tensors.values(), strict=True):
        if offset > position:
            yield memoryview(bytes(offset - position))
        yield tensor.data
        position = offset + tensor.data.nbytes


def write(layout: Layout, tensors: Mapping[str, Tensor], target: memoryview) -> None:
    """Copy the run of bytes into the beginning of `target`, which must be long enough."""
    position = 0
    for piece in pieces(layout, tensors):
        target[position : position + piece.nbytes] = piece
        position += piece.nbytes


def read(data: memoryview, expected: Sequence[TensorInfo]) -> dict[str, Tensor]:
    """These tensors in a run of bytes, as views of it.

    Raises:
        TensorCorruptedError: not the run that `plan` and `write` make of such tensors.
    """
    try:
        layout = _lay_out(tuple(expected))
    except ValueError as error:
        raise TensorCorruptedError(f"the reference makes no sense: {error}") from None
    if layout.size_bytes != data.nbytes:
        raise TensorCorruptedError(
            f"{data.nbytes} bytes are stored, where {layout.size_bytes} were promised"
        )
    if data[: len(layout.head)] != layout.head:
        raise TensorCorruptedError("the header is not that of the promised tensors")
    tensors: dict[str, Tensor] = {}
    position = len(layout.head)
    for info, offset in zip(layout.infos, layout.offsets, strict=True):
        if any(data[position:offset]):
            raise TensorCorruptedError("the padding is not empty")
        position = offset + _data_bytes(info)
        tensors[info.name] = Tensor(dtype=info.dtype, shape=info.shape, data=data[offset:position])
    return tensors


# Requests of one shape make the same header again and again, and JSON is half of what reading a
# small set would cost.
@lru_cache(maxsize=256)
def _lay_out(infos: tuple[TensorInfo, ...]) -> Layout:
    if len(infos) > _MAX_TENSORS:
        raise ValueError(f"{len(infos)} tensors; at most {_MAX_TENSORS} travel together")
    if any(len(info.shape) > _MAX_DIMENSIONS for info in infos):
        raise ValueError(f"a tensor has more than {_MAX_DIMENSIONS} dimensions")
    if len({info.name for info in infos}) != len(infos):
        raise ValueError("two tensors have one name")
    header = json.dumps(
        [[info.name, info.dtype, list(info.shape)] for info in infos], separators=(",", ":")
    ).encode()
    if len(header) > _MAX_HEADER_BYTES:
        raise ValueError(f"the header takes more than {_MAX_HEADER_BYTES} bytes")
    head_bytes = _align(_PREFIX.size + len(header))
    offsets: list[int] = []
    position = head_bytes
    for info in infos:
        position = _align(position)
        offsets.append(position)
        position += _data_bytes(info)
    if position > _MAX_SET_BYTES:
        raise ValueError(f"{position} bytes; at most {_MAX_SET_BYTES} travel together")
    prefix = _PREFIX.pack(_MAGIC, len(header), position)
    return Layout(
        infos=infos,
        head=(prefix + header).ljust(head_bytes, b"\0"),
        offsets=tuple(offsets),
        size_bytes=position,
    )


def _data_bytes(info: TensorInfo) -> int:
    # References come over the network: types and sizes may be anything.
    if info.dtype not in ITEM_BYTES:
        raise ValueError(f"unknown dtype {info.dtype!r}")
    if any(type(size) is not int or size < 0 for size in info.shape):
        raise ValueError(f"sizes {info.shape}")
    return prod(info.shape) * ITEM_BYTES[info.dtype]


def _align(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT
