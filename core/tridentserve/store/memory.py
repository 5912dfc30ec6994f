"""A store inside of one process: for tests, and for several stages in one worker.

It keeps the encoded bytes and not the caller's buffers, so that a producer which reuses its memory
cannot change what was put: the same promise as that of the stores which leave the process.
"""

import threading
import uuid
from collections.abc import Mapping

from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import ExhaustedError, TensorMissingError, UnavailableError
from tridentserve.store import codec


class MemoryStore:
    """Tensors in a dictionary. Every user of one object shares it; it is its only owner."""

    def __init__(
        self,
        *,
        capacity_bytes: int = 1 << 30,
        name: str = "memory",
        domain: MemoryDomain | None = None,
        network: bool = False,
    ) -> None:
        """Set the bound; `network=True` stands in for a store that everybody can read.

        `domain` defaults to one that nobody else has.
        """
        self._name = name
        self._domain = None if network else domain or MemoryDomain(str(uuid.uuid4()))
        self._capacity_bytes = capacity_bytes
        self._lock = threading.Lock()
        self._sets: dict[str, tuple[bytes, float]] = {}
        self._closed = False

    @property
    def name(self) -> str:
        """The word in `TensorRef.store`."""
        return self._name

    @property
    def domain(self) -> MemoryDomain | None:
        """A domain of one process; None where it stands in for a network store."""
        return self._domain

    @property
    def used_bytes(self) -> int:
        """Bytes held now."""
        with self._lock:
            return sum(len(data) for data, _ in self._sets.values())

    def put(self, tensors: Mapping[str, Tensor], *, ttl_s: float, now: float) -> TensorRef:
        """Store a copy; see `TensorStore.put`."""
        self.reap(now=now)
        layout = codec.plan(tensors)
        key = uuid.uuid4().hex
        with self._lock:
            if self._closed:
                raise UnavailableError("the store is closed")
            used = sum(len(data) for data, _ in self._sets.values())
            if used + layout.size_bytes > self._capacity_bytes:
                raise ExhaustedError(
                    f"{layout.size_bytes} bytes do not fit beside {used} of {self._capacity_bytes}"
                )
            self._sets[key] = (b"".join(codec.pieces(layout, tensors)), now + ttl_s)
        return TensorRef(
            store=self._name,
            key=key,
            tensors=layout.infos,
            size_bytes=layout.size_bytes,
            checksum=None,
            expires_s=now + ttl_s,
            domain=self._domain,
        )

    def get(self, ref: TensorRef) -> Mapping[str, Tensor]:
        """Read a copy; see `TensorStore.get`."""
        with self._lock:
            if self._closed:
                raise UnavailableError("the store is closed")
            found = self._sets.get(ref.key)
        if found is None or (ref.store, ref.domain) != (self._name, self._domain):
            raise TensorMissingError(f"{ref.key} is not in this store")
        return codec.read(memoryview(bytearray(found[0])), ref.tensors)

    def delete(self, ref: TensorRef) -> None:
        """Forget a set; see `TensorStore.delete`."""
        if (ref.store, ref.domain) == (self._name, self._domain):
            with self._lock:
                self._sets.pop(ref.key, None)

    def discard(self, ref: TensorRef) -> None:
        """Forget a set; owners of one process are not told apart."""
        self.delete(ref)

    def reap(self, *, now: float) -> None:
        """Forget what has expired."""
        with self._lock:
            self._sets = {k: entry for k, entry in self._sets.items() if entry[1] > now}

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._sets.clear()
