"""Memory that readers copy tensors into, kept warm.

A fresh block of 32 MB costs ten times its memcpy in page faults (measured: 13.9 against 1.3 ms).
So blocks come back here when the last view of them dies, and nobody has to say when: whoever holds
a tensor may hold it for as long as he likes.

Not a general allocator: sizes are rounded up to powers of two, and little is kept.
"""

import ctypes
import weakref
from collections import deque

_SMALLEST_BYTES = 1 << 16
_LARGEST_BYTES = 1 << 28
_KEPT_PER_SIZE = 2


class BufferPool:
    """Hands out blocks; usable from all threads."""

    def __init__(self) -> None:
        """Start empty."""
        # Deques and no lock: a finalizer may run inside of `take`, on the same thread.
        self._idle: dict[int, deque[bytearray]] = {}

    def take(self, size_bytes: int) -> memoryview:
        """A writable block of undefined content that lives as long as any view of it."""
        if not _SMALLEST_BYTES <= size_bytes <= _LARGEST_BYTES:
            return memoryview(bytearray(size_bytes))
        rounded = 1 << (size_bytes - 1).bit_length()
        idle = self._idle.setdefault(rounded, deque(maxlen=_KEPT_PER_SIZE))
        try:
            block = idle.pop()
        except IndexError:
            block = bytearray(rounded)
        # Views refer to this object, and not to the block, so its death is theirs.
        lease = (ctypes.c_ubyte * rounded).from_buffer(block)
        weakref.finalize(lease, idle.append, block).atexit = False
        return memoryview(lease).cast("B")[:size_bytes]

    def idle_bytes(self) -> int:
        """Bytes kept for the next taker."""
        return sum(rounded * len(idle) for rounded, idle in list(self._idle.items()))
