"""A named set of tensors as one run of bytes, and back: a header and raw data, no pickle.

    offset 0   8 bytes   magic
           8   4 bytes   length of the header, little-endian
          12   8 bytes   length of everything, little-endian
          20   header    JSON [[name, dtype, [size, ...]], ...], UTF-8
               zeros up to a multiple of 64, then each tensor's bytes, each begun at such a multiple

There is one spelling for each set: offsets follow from types and shapes, and padding is zero. So a
reader need not think of every way in which a header may lie (overlaps, gaps, escapes, sizes that
wrap): it reads the infos, lays them out itself, and refuses whatever differs by one byte.

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
        [
            TensorInfo(name=name, dtype=tensor.dtype, shape=tensor.shape)
            for name, tensor in tensors.items()
        ]
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
    """The tensors in a run of bytes, as views of it.

    Raises:
        TensorCorruptedError: not a run that `plan` and `write` make, or not of these tensors.
    """
    infos = _read_infos(data)
    try:
        layout = _lay_out(infos)
    except ValueError as error:
        raise TensorCorruptedError(f"the header makes no sense: {error}") from None
    if layout.size_bytes != data.nbytes:
        raise TensorCorruptedError(
            f"{data.nbytes} bytes, but the header describes {layout.size_bytes}"
        )
    if bytes(data[: len(layout.head)]) != layout.head:
        raise TensorCorruptedError("the header is not spelled as it should be")
    if layout.infos != tuple(expected):
        raise TensorCorruptedError("other tensors than the reference promises")
    tensors: dict[str, Tensor] = {}
    position = len(layout.head)
    for info, offset in zip(layout.infos, layout.offsets, strict=True):
        if any(data[position:offset]):
            raise TensorCorruptedError("the padding is not empty")
        position = offset + _data_bytes(info)
        tensors[info.name] = Tensor(dtype=info.dtype, shape=info.shape, data=data[offset:position])
    return tensors


def _lay_out(infos: Sequence[TensorInfo]) -> Layout:
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
        infos=tuple(infos),
        head=(prefix + header).ljust(head_bytes, b"\0"),
        offsets=tuple(offsets),
        size_bytes=position,
    )


def _read_infos(data: memoryview) -> list[TensorInfo]:
    if data.nbytes < _PREFIX.size:
        raise TensorCorruptedError(f"{data.nbytes} bytes are too few for a header")
    magic, header_bytes, size_bytes = _PREFIX.unpack_from(data)
    if magic != _MAGIC:
        raise TensorCorruptedError("does not begin like a set of tensors")
    if size_bytes != data.nbytes:
        raise TensorCorruptedError(f"{data.nbytes} bytes, where {size_bytes} were written")
    if header_bytes > min(_MAX_HEADER_BYTES, data.nbytes - _PREFIX.size):
        raise TensorCorruptedError(f"a header of {header_bytes} bytes")
    try:
        rows = json.loads(bytes(data[_PREFIX.size : _PREFIX.size + header_bytes]))
        # RecursionError: thousands of brackets are valid JSON of a kind.
    except (ValueError, RecursionError):
        raise TensorCorruptedError("the header cannot be parsed") from None
    if not isinstance(rows, list):
        raise TensorCorruptedError("the header is not a list")
    return [_read_info(row) for row in rows]


def _read_info(row: object) -> TensorInfo:
    match row:
        case [str(name), str(dtype), list(sizes)] if dtype in ITEM_BYTES:
            # type() and not isinstance: `true` is an int to Python.
            if all(type(size) is int and 0 <= size <= _MAX_SET_BYTES for size in sizes):
                return TensorInfo(name=name, dtype=dtype, shape=tuple(sizes))
    raise TensorCorruptedError("the header describes something that is not a tensor")


def _data_bytes(info: TensorInfo) -> int:
    return prod(info.shape) * ITEM_BYTES[info.dtype]


def _align(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT
