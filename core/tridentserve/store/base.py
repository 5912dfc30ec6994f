"""The protocol of tensor stores, with what every implementation promises.

- Ownership: the store that put a tensor owns it until `delete` or expiry. Readers never delete, and
  deleting what another owner put does nothing; `discard` is for owners that are known to be dead.
- Capacity: bounded. A `put` beyond it raises `ExhaustedError`, and never drops an older tensor.
- Lifetime: until `delete`; `ttl_s` is the last resort for owners that died.
- Memory: what `get` returns is the caller's own: valid as long as it is referenced, whatever the
  producer does meanwhile, and never changed by anybody else.
- Integrity: `get` returns exactly what was put, or raises `TensorUnavailableError` (missing or
  corrupted).
- Order: tensors come back in the order and under the names they were put.
- Idempotence: deleting what is gone is no error, closing twice neither.
- Threads: every method may be called from any thread, at the same time.
"""

from collections.abc import Mapping
from typing import Protocol

from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.tensors import Tensor, TensorRef


class TensorStore(Protocol):
    """One place for tensors. Methods block; a service calls them in threads."""

    @property
    def name(self) -> str:
        """The word in `TensorRef.store`."""
        ...

    @property
    def domain(self) -> MemoryDomain | None:
        """The memory domain whose members can read it; None for a store on the network."""
        ...

    def put(self, tensors: Mapping[str, Tensor], *, ttl_s: float, now: float) -> TensorRef:
        """Store a named set of tensors.

        Raises:
            ExhaustedError: no room.
            UnavailableError: the store cannot be reached, or is closed.
        """
        ...

    def get(self, ref: TensorRef) -> Mapping[str, Tensor]:
        """Read a set back into memory of the caller's own.

        Raises:
            TensorMissingError: deleted, expired, never there, or of another store or domain.
            TensorCorruptedError: not what the reference promises.
            UnavailableError: the store cannot be reached, or is closed.
        """
        ...

    def delete(self, ref: TensorRef) -> None:
        """Forget a set; no error where it is gone already.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        ...

    def discard(self, ref: TensorRef) -> None:
        """Forget a set whose owner died; nothing happens where `reap` finds such sets by itself.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        ...

    def reap(self, *, now: float) -> None:
        """Forget what has expired, and clean up after owners that died; call it now and then."""
        ...

    def close(self) -> None:
        """Give back every resource; tensors of this owner that are left are deleted."""
        ...
