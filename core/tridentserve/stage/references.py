"""The tensors that this worker made and has not been told to forget.

Only what stands here is ever exported or deleted, so that a confused caller cannot delete another
worker's. An exported copy belongs to its original and goes with it: a router that asked for a copy
and died before it heard of it leaks nothing.

Bookkeeping only; `handoff` moves the bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tridentserve.domain.ids import SegmentId
from tridentserve.domain.tensors import TensorRef


@dataclass(slots=True, kw_only=True)
class _Entry:
    ref: TensorRef
    segment: SegmentId
    copies: list[TensorRef] = field(default_factory=list)


def _name(ref: TensorRef) -> tuple[str, str]:
    return ref.store, ref.key


class References:
    """Originals by name, each with its copies."""

    def __init__(self) -> None:
        """Begin with none."""
        self._originals: dict[tuple[str, str], _Entry] = {}
        self._owners: dict[tuple[str, str], tuple[str, str]] = {}

    def __len__(self) -> int:
        """How many originals somebody may still need."""
        return len(self._originals)

    def add(self, ref: TensorRef, segment: SegmentId) -> None:
        """Note what a segment made."""
        self._originals[_name(ref)] = _Entry(ref=ref, segment=segment)
        self._owners[_name(ref)] = _name(ref)

    def add_copy(self, original: TensorRef, copy: TensorRef) -> bool:
        """Note a copy; False where the original was released meanwhile, so that nobody owns it."""
        owner = self._owners.get(_name(original))
        if owner is None:
            return False
        self._originals[owner].copies.append(copy)
        self._owners[_name(copy)] = owner
        return True

    def find(self, ref: TensorRef) -> TensorRef | None:
        """What was noted under this name: the caller's own fields are not to be trusted."""
        owner = self._owners.get(_name(ref))
        if owner is None:
            return None
        entry = self._originals[owner]
        return next(own for own in (entry.ref, *entry.copies) if _name(own) == _name(ref))

    def copy_in(self, ref: TensorRef, store: str) -> TensorRef | None:
        """The original or its copy that lies in this store already."""
        owner = self._owners.get(_name(ref))
        if owner is None:
            return None
        entry = self._originals[owner]
        return next((own for own in (entry.ref, *entry.copies) if own.store == store), None)

    def of_segment(self, segment: SegmentId) -> list[TensorRef]:
        """Originals that a segment made."""
        return [entry.ref for entry in self._originals.values() if entry.segment == segment]

    def pop(self, refs: Iterable[TensorRef]) -> list[TensorRef]:
        """Take out the originals behind these names, with all their copies, to be deleted."""
        taken: list[TensorRef] = []
        for ref in refs:
            owner = self._owners.get(_name(ref))
            if owner is not None:
                entry = self._originals.pop(owner)
                for own in (entry.ref, *entry.copies):
                    del self._owners[_name(own)]
                    taken.append(own)
        return taken

    def pop_expired(self, now: float) -> list[TensorRef]:
        """Take out what is past its time (Unix); copies go with their originals."""
        return self.pop(
            [entry.ref for entry in self._originals.values() if entry.ref.expires_s <= now]
        )

    def pop_all(self) -> list[TensorRef]:
        """Take out everything."""
        return self.pop([entry.ref for entry in self._originals.values()])
