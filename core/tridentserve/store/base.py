"""The protocol of tensor stores, with what every implementation promises.

| promise | |
| --- | --- |
| ownership | the producer's store owns it until `delete` or expiry; readers never delete |
| capacity | bounded; `put` beyond it raises `ExhaustedError`, and never drops an older tensor |
| lifetime | until `delete`; `ttl_s` is the last resort for owners that died |
| integrity | `get` returns exactly what was put, or raises `TensorMissingError` or `TensorCorruptedError` |
| order | tensors come back in the order and under the names they were put |
| idempotence | deleting what is gone is no error |
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
            UnavailableError: the store cannot be reached.
        """
        ...

    def get(self, ref: TensorRef) -> Mapping[str, Tensor]:
        """Read a set back; the data may be mapped, so it is valid while the store is open.

        Raises:
            TensorMissingError: deleted, expired, never there, or of another store or domain.
            TensorCorruptedError: not what the reference promises.
            UnavailableError: the store cannot be reached.
        """
        ...

    def delete(self, ref: TensorRef) -> None:
        """Forget a set; no error where it is gone already.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        ...

    def close(self) -> None:
        """Give back every resource; tensors of this owner that are left are deleted."""
        ...
