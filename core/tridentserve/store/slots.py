"""Slot files: what one tensor set lies in, written by its owner and read by others.

    offset 0   8 bytes   magic
           8   8 bytes   generation of the set inside, 0 for none; never used twice by an owner
          16   8 bytes   length of the set
          64             the set

A slot is mapped once and used again and again, since making a file costs several times the copy
into it. What keeps a reader from getting the next tenant's bytes:

- the owner writes under an exclusive flock of the slot, and takes another one if it is refused;
- a reader copies under a shared flock, and only if the generation is the one it was told.

So a slot is never written while it is read; the kernel drops the lock of a reader that dies. Space
is allocated when the file is made: a write to a mapped page that a full tmpfs cannot provide would
kill the process with SIGBUS. An idle slot keeps that space from everybody else, so `trim` gives
back what a burst left.
"""

import errno
import fcntl
import mmap
import os
import struct
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tridentserve.errors import (
    ExhaustedError,
    TensorCorruptedError,
    TensorMissingError,
    UnavailableError,
)
from tridentserve.store.buffers import BufferPool

_HEADER = struct.Struct("<8sQQ")
_MAGIC = b"TRDSLOT1"
_DATA_OFFSET = 64
_SMALLEST_BYTES = 1 << 16
_MAPPINGS_KEPT = 64
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""No such file, no folder of the owner's, or a link, which is not followed. Everything else that
opening says is the reader's own trouble, and no reason to draw the tensor again."""


@dataclass(slots=True, eq=False)
class Slot:
    """One file of the owner's, mapped."""

    number: int
    path: Path
    capacity_bytes: int
    descriptor: int
    view: memoryview
    rested: bool = False
    """Idle since the last `trim`."""

    def try_lock(self) -> bool:
        """Take it for writing; False while somebody reads it."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Let readers in."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def data(self, size_bytes: int) -> memoryview:
        """Where the set goes."""
        return self.view[_DATA_OFFSET : _DATA_OFFSET + size_bytes]

    def label(self, generation: int, size_bytes: int) -> None:
        """Say what is inside."""
        _HEADER.pack_into(self.view, 0, _MAGIC, generation, size_bytes)

    def clear(self) -> None:
        """Say that nothing is inside; allowed while somebody reads."""
        # One store of eight bytes, so that no reader sees half of it: struct writes byte by byte.
        self.view[8:16].cast("Q")[0] = 0

    def discard(self) -> None:
        """Remove the file; who reads it now keeps its pages until he is done."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)
        self.view.release()


class SlotPool:
    """The slots of one owner. The caller holds a lock around every method."""

    def __init__(self, folder: Path, capacity_bytes: int) -> None:
        """Start without a slot."""
        self._folder = folder
        self._capacity_bytes = capacity_bytes
        self._idle: list[Slot] = []
        self._made = 0
        self._total_bytes = 0

    def take(self, size_bytes: int) -> Slot:
        """A slot for so many bytes, locked for writing.

        Raises:
            ExhaustedError: the bound, or the file system, does not allow one more.
        """
        wanted = _rounded(size_bytes + _DATA_OFFSET)
        for slot in sorted(self._idle, key=lambda slot: slot.capacity_bytes):
            # Twice as large at most: small sets must not sit on the slots of large ones.
            if wanted <= slot.capacity_bytes <= 2 * wanted and slot.try_lock():
                self._idle.remove(slot)
                return slot
        while self._idle and self._total_bytes + wanted > self._capacity_bytes:
            self._discard(self._idle.pop())
        if self._total_bytes + wanted > self._capacity_bytes:
            raise ExhaustedError(
                f"{wanted} bytes do not fit beside {self._total_bytes} of {self._capacity_bytes}"
            )
        slot = _make(self._folder, self._made, wanted)
        self._made += 1
        self._total_bytes += wanted
        slot.try_lock()
        return slot

    def give_back(self, slot: Slot) -> None:
        """Empty a slot; readers in the middle of it finish undisturbed."""
        slot.clear()
        slot.rested = False
        # In front, to be the next one used: in turn, all slots of a burst would be in use for ever.
        self._idle.insert(0, slot)

    def trim(self) -> None:
        """Remove what has been idle since the call before; what was used in between stays."""
        for slot in [slot for slot in self._idle if slot.rested]:
            self._idle.remove(slot)
            self._discard(slot)
        for slot in self._idle:
            slot.rested = True

    def discard(self, slots: list[Slot]) -> None:
        """Remove these and every idle one."""
        for slot in slots + self._idle:
            self._discard(slot)
        self._idle = []

    def _discard(self, slot: Slot) -> None:
        self._total_bytes -= slot.capacity_bytes
        slot.discard()


def _make(folder: Path, number: int, capacity_bytes: int) -> Slot:
    path = folder / str(number)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        # A slot takes two descriptors, so a process runs out of them long before a large memory.
        raise ExhaustedError(f"{folder.parent} takes no other file: {error.strerror}") from error
    try:
        os.posix_fallocate(descriptor, 0, capacity_bytes)
        mapping = mmap.mmap(
            descriptor, capacity_bytes, flags=mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        )
    except OSError as error:
        path.unlink()
        os.close(descriptor)
        raise ExhaustedError(
            f"{folder.parent} has no room for {capacity_bytes} bytes: {error.strerror}"
        ) from error
    view = memoryview(mapping)
    return Slot(
        number=number,
        path=path,
        capacity_bytes=capacity_bytes,
        descriptor=descriptor,
        view=view,
    )


def _rounded(size_bytes: int) -> int:
    """Up to one of four sizes a doubling, so that slots fit again and waste a quarter at most.

    >>> [_rounded(n) for n in (1, 65537, 100_000, 4_194_368)]
    [65536, 81920, 114688, 5242880]
    """
    if size_bytes <= _SMALLEST_BYTES:
        return _SMALLEST_BYTES
    step = 1 << ((size_bytes - 1).bit_length() - 3)
    return -(-size_bytes // step) * step


class SlotReader:
    """Reads slots of any owner; keeps what it has mapped. Usable from all threads."""

    def __init__(self) -> None:
        """Start without a mapping."""
        self._lock = threading.Lock()
        self._mappings: OrderedDict[str, tuple[int, memoryview]] = OrderedDict()
        self._buffers = BufferPool()

    def copy(self, path: str, generation: int, size_bytes: int) -> memoryview:
        """The set of that generation and of exactly that length, in memory of the caller's own.

        Raises:
            TensorMissingError: gone, or another set by now.
            TensorCorruptedError: not a slot, or a set of another length.
            UnavailableError: this process cannot read it, as without descriptors or memory left.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno not in _GONE:
                raise UnavailableError(f"{path} cannot be opened: {error.strerror}") from error
            self._forget(path)
            raise TensorMissingError(f"{path} is gone: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            view = self._mapping(path, descriptor)
            # Before memory is taken: sizes come over the network, and may be absurd.
            _check(view, generation, size_bytes)
            target = self._buffers.take(size_bytes)
            target[:] = view[_DATA_OFFSET : _DATA_OFFSET + size_bytes]
            return target
        except BlockingIOError:
            raise TensorMissingError("the slot is being written for somebody else") from None
        except OSError as error:
            raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error
        finally:
            # Closing alone would not unlock: a mapping keeps a duplicate of its descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def forget_removed(self) -> None:
        """Unmap files that are gone: their pages stay in memory for as long as they are mapped."""
        with self._lock:
            for path in [path for path in self._mappings if not os.path.exists(path)]:
                del self._mappings[path]

    def close(self) -> None:
        """Unmap everything."""
        with self._lock:
            self._mappings.clear()

    def _mapping(self, path: str, descriptor: int) -> memoryview:
        status = os.fstat(descriptor)
        with self._lock:
            found = self._mappings.get(path)
            if found and found[0] == status.st_ino and found[1].nbytes == status.st_size:
                self._mappings.move_to_end(path)
                return found[1]
            if status.st_size < _DATA_OFFSET:
                raise TensorCorruptedError(f"{path} is too short to be a slot")
            mapping = mmap.mmap(descriptor, status.st_size, prot=mmap.PROT_READ)
            self._mappings[path] = (status.st_ino, memoryview(mapping))
            while len(self._mappings) > _MAPPINGS_KEPT:
                self._mappings.popitem(last=False)
            return self._mappings[path][1]

    def _forget(self, path: str) -> None:
        with self._lock, suppress(KeyError):
            del self._mappings[path]


def _check(view: memoryview, generation: int, size_bytes: int) -> None:
    magic, found, length = _HEADER.unpack_from(view)
    if magic != _MAGIC:
        raise TensorCorruptedError("the file is not a slot")
    if found != generation:
        raise TensorMissingError("the slot is empty or holds another set by now")
    if length != size_bytes or _DATA_OFFSET + length > view.nbytes:
        raise TensorCorruptedError(f"{length} bytes are stored, where {size_bytes} were promised")
