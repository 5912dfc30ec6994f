"""The stores of one worker: where to put for a given reader, and where a reference is read.

A worker has at most one local store, whose memory domain it advertises, and at most one network
store. Which of them an output goes to, and what comes next where one is full, is decided here.

| preferred reader's domain | local store | goes to |
| --- | --- | --- |
| this worker's own | has room | local |
| this worker's own | full | network, if there is one; else `ExhaustedError` |
| another, or unknown | any | network, if there is one; else `UnavailableError` |
"""

from collections.abc import Mapping
from pathlib import Path

from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import TensorMissingError, UnavailableError
from tridentserve.store.base import TensorStore

GIB = 1 << 30


class Stores:
    """A worker's local and network store behind one face."""

    def __init__(self, *, local: TensorStore | None, network: TensorStore | None) -> None:
        """Take over both; `close` closes them."""
        self._local = local
        self._network = network

    @property
    def domain(self) -> MemoryDomain | None:
        """The memory domain to advertise; None without a local store."""
        return self._local.domain if self._local else None

    @property
    def names(self) -> tuple[str, ...]:
        """Words in `TensorRef.store` that `get` can read and `export` can write."""
        return tuple(store.name for store in (self._local, self._network) if store)

    def targets(self, reader: MemoryDomain | None) -> tuple[TensorStore, ...]:
        """Where to put for workers of the domain `reader` (None: anybody), best first.

        Who puts falls back to the next where one is full; `ref.store` says where it went.

        Raises:
            UnavailableError: no store that the reader can read.
        """
        found = [self._network] if self._network else []
        if self._local and reader == self._local.domain:
            found.insert(0, self._local)
        if not found:
            raise UnavailableError(
                "the next stage does not share memory with this worker, and there is no network"
                " store: set TRIDENTSERVE_REDIS_URL"
            )
        return tuple(found)

    def get(self, ref: TensorRef) -> Mapping[str, Tensor]:
        """Read a set from the store that the reference names.

        Raises:
            TensorMissingError: gone, or in a store that this worker cannot read.
            TensorCorruptedError: not what the reference promises.
            UnavailableError: the store cannot be reached.
        """
        return self._named(ref.store).get(ref)

    def export(self, ref: TensorRef, store: str, *, ttl_s: float, now: float) -> TensorRef:
        """Copy a set into the store of that name; the first reference stays valid.

        Raises:
            TensorMissingError: gone.
            TensorCorruptedError: not what the reference promises.
            ExhaustedError: no room.
            UnavailableError: this worker has no such store, or it cannot be reached.
        """
        target = next((s for s in (self._local, self._network) if s and s.name == store), None)
        if target is None:
            raise UnavailableError(f"this worker has no {store!r} store to export to")
        return target.put(self.get(ref), ttl_s=ttl_s, now=now)

    def delete(self, ref: TensorRef) -> None:
        """Forget a set that this worker put; nothing happens where it is another's or gone.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        for store in (self._local, self._network):
            if store and store.name == ref.store:
                store.delete(ref)

    def discard(self, ref: TensorRef) -> None:
        """Forget a set whose owner died, as far as its store does not find that by itself.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        for store in (self._local, self._network):
            if store and store.name == ref.store:
                store.discard(ref)

    def reap(self, *, now: float) -> None:
        """Forget what has expired, and clean up after dead owners; call it every few seconds."""
        for store in (self._local, self._network):
            if store:
                store.reap(now=now)

    def close(self) -> None:
        """Delete what is left of this worker's, and give every resource back."""
        for store in (self._local, self._network):
            if store:
                store.close()

    def _named(self, name: str) -> TensorStore:
        for store in (self._local, self._network):
            if store and store.name == name:
                return store
        raise TensorMissingError(f"this worker cannot read the {name!r} store")


def open_stores(
    *,
    shm_dir: Path | None = None,
    shm_capacity_bytes: int = 4 * GIB,
    redis_url: str | None = None,
    redis_prefix: str = "tridentserve",
    redis_timeout_s: float = 5.0,
) -> Stores:
    """Open the stores that a worker's settings name.

    Redis is not contacted yet: a worker may start before it. Give each pipeline a prefix of its
    own, such as `tridentserve/namespace/name`.

    Raises:
        UnavailableError: the shared directory cannot be used, and why.
        InvalidFieldError: the Redis URL is none.
    """
    # Here, so that a worker without one of them needs neither its library nor its directory.
    local: TensorStore | None = None
    network: TensorStore | None = None
    if redis_url:
        from tridentserve.store.redis import RedisStore

        network = RedisStore(redis_url, prefix=redis_prefix, timeout_s=redis_timeout_s)
    if shm_dir:
        from tridentserve.store.shm import SharedMemoryStore

        local = SharedMemoryStore(shm_dir, capacity_bytes=shm_capacity_bytes)
    return Stores(local=local, network=network)
