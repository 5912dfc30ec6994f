"""Tensors in files of a directory that several processes have mapped: one copy in, one copy out.

The directory lies on a tmpfs and is named by a setting. Who may share it, and how the files of a
dead producer go away, stands in `tridentserve.store.owners`; how a reader is kept from another
set's bytes, in `tridentserve.store.slots`.

It computes no checksum: a CRC-32 of 4 MB takes several times as long as copying them, and memory of
one machine is no network. Everybody who can write the directory is trusted.

Nothing of `multiprocessing.shared_memory` is used: before Python 3.13 its resource tracker removes
what a process merely attached to when that process ends.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import ExhaustedError, TensorMissingError, UnavailableError
from tridentserve.store import codec, owners
from tridentserve.store.slots import Slot, SlotPool, SlotReader

# Keys come over the network and become paths: nothing but these letters may get there.
_KEY = re.compile(r"([0-9a-f]{32})/([0-9]{1,9})/([0-9]{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    slot: Slot
    expires_s: float


class SharedMemoryStore:
    """One worker's share of the directory, and its window on everybody else's."""

    def __init__(self, directory: Path, *, capacity_bytes: int) -> None:
        """Join the directory's domain; `capacity_bytes` bounds what this worker has there.

        Raises:
            UnavailableError: the directory cannot be used, and why.
        """
        self._directory = directory
        self._domain = owners.read_domain(directory)
        owners.reap(directory)
        self._owner = owners.Owner(directory)
        self._lock = threading.Lock()
        self._pool = SlotPool(self._owner.folder, capacity_bytes)
        self._held: dict[int, _Held] = {}
        self._generations = count(1)
        self._reader = SlotReader()
        self._closed = False

    @property
    def name(self) -> str:
        """`shm`."""
        return "shm"

    @property
    def domain(self) -> MemoryDomain:
        """The UUID of the directory."""
        return self._domain

    def put(self, tensors: Mapping[str, Tensor], *, ttl_s: float, now: float) -> TensorRef:
        """Store a set; see `TensorStore.put`."""
        layout = codec.plan(tensors)
        slot, generation = self._take(layout.size_bytes, now)
        written = False
        try:
            codec.write(layout, tensors, slot.data(layout.size_bytes))
            slot.label(generation, layout.size_bytes)
            written = True
        finally:
            slot.unlock()
            if not written:
                with self._lock:
                    self._pool.give_back(slot)
        expires_s = now + ttl_s
        with self._lock:
            if self._closed:
                # close() came in between, and could not know of this slot.
                self._pool.discard([slot])
                raise UnavailableError("the store is closed")
            self._held[generation] = _Held(slot=slot, expires_s=expires_s)
        return TensorRef(
            store=self.name,
            key=f"{self._owner.id}/{slot.number}/{generation}",
            tensors=layout.infos,
            size_bytes=layout.size_bytes,
            checksum=None,
            expires_s=expires_s,
            domain=self._domain,
        )

    def get(self, ref: TensorRef) -> Mapping[str, Tensor]:
        """Read a set; see `TensorStore.get`."""
        if self._closed:
            raise UnavailableError("the store is closed")
        owner_id, number, generation = self._parse(ref)
        path = owners.slot_path(self._directory, owner_id, number)
        data = self._reader.copy(path, generation, ref.size_bytes)
        return codec.read(data, ref.tensors)

    def delete(self, ref: TensorRef) -> None:
        """Empty a slot of this worker's; see `TensorStore.delete`."""
        try:
            owner_id, number, generation = self._parse(ref)
        except TensorMissingError:
            return
        with self._lock:
            held = self._held.get(generation)
            if owner_id == self._owner.id and held and held.slot.number == number:
                del self._held[generation]
                self._pool.give_back(held.slot)

    def discard(self, ref: TensorRef) -> None:
        """Nothing: `reap` sees the lease of a dead owner free."""

    def reap(self, *, now: float) -> None:
        """Empty expired slots, remove unused ones and folders of the dead, unmap what is gone."""
        with self._lock:
            self._expire(now)
            self._pool.trim()
        self._reader.forget_removed()
        owners.reap(self._directory)

    def close(self) -> None:
        """Remove this worker's folder; whoever reads from it finishes undisturbed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._pool.discard([held.slot for held in self._held.values()])
            self._held.clear()
        self._reader.close()
        self._owner.close()

    def _take(self, size_bytes: int, now: float) -> tuple[Slot, int]:
        with self._lock:
            if self._closed:
                raise UnavailableError("the store is closed")
            self._expire(now)
            try:
                return self._pool.take(size_bytes), next(self._generations)
            except ExhaustedError:
                # What is full may be the file system: with the files of the dead, with idle slots,
                # or with removed ones whose pages our own reader still has mapped.
                owners.reap(self._directory)
                self._pool.discard([])
                self._reader.forget_removed()
                return self._pool.take(size_bytes), next(self._generations)

    def _expire(self, now: float) -> None:
        for generation in [g for g, held in self._held.items() if held.expires_s <= now]:
            self._pool.give_back(self._held.pop(generation).slot)

    def _parse(self, ref: TensorRef) -> tuple[str, int, int]:
        match = _KEY.fullmatch(ref.key)
        if ref.store != self.name or ref.domain != self._domain or match is None:
            raise TensorMissingError(f"{ref.key} is not in this domain")
        return match[1], int(match[2]), int(match[3])
