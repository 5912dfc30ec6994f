"""A tensor outside of torch, and the reference that travels in its place.

numpy has no bfloat16 and core does not import torch, so a tensor is a type word, a shape and bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from tridentserve.domain.ids import MemoryDomain

ITEM_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "float64": 8,
        "float32": 4,
        "float16": 2,
        "bfloat16": 2,
        "int64": 8,
        "int32": 4,
        "int16": 2,
        "int8": 1,
        "uint8": 1,
        "bool": 1,
    }
)
"""Bytes of one element, by the type words that may travel; any other word is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Raw little-endian bytes in row-major order, with what they mean."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview
    """Contiguous, of format `B`; exactly as long as `dtype` and `shape` say."""

    def __post_init__(self) -> None:
        """Refuse what could be misread later.

        Raises:
            ValueError: an unknown type word, a negative size, data of another length, or a view
                that is not plain bytes in a row.
        """
        if self.dtype not in ITEM_BYTES:
            raise ValueError(f"unknown dtype {self.dtype!r}; known are {', '.join(ITEM_BYTES)}")
        if any(size < 0 for size in self.shape):
            raise ValueError(f"negative size in shape {self.shape}")
        if not (self.data.c_contiguous and self.data.ndim == 1 and self.data.format == "B"):
            raise ValueError("the data is not one contiguous row of bytes (format B)")
        expected = prod(self.shape) * ITEM_BYTES[self.dtype]
        if self.data.nbytes != expected:
            raise ValueError(
                f"{self.data.nbytes} bytes given for {self.dtype}{list(self.shape)},"
                f" which takes {expected}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Name, type and shape of one tensor behind a reference."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRef:
    """Where a named set of tensors lies; travels through the router in the tensors' place."""

    store: str
    """`memory`, `shm` or `redis`."""
    key: str
    """Name inside of the store; opaque to everybody but the store."""
    tensors: tuple[TensorInfo, ...]
    size_bytes: int
    """Bytes as stored, header included."""
    checksum: int | None
    """CRC-32 of the stored bytes, where the store crosses a network; None where it does not."""
    expires_s: float
    """Unix time after which the store may forget it: the last resort, not the usual end."""
    domain: MemoryDomain | None
    """Who can read it: workers of this memory domain; None for everybody with the store."""
