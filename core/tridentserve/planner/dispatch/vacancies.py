"""Devices that are still vacant within one decision.

The roster knows who is vacant as of the last change that was carried out; a decision takes devices
one request after the other before any of it is. What is kept here is only the difference, by the
workers that a decision touched, so that it costs as much as was decided.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId, WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import State


class Vacancies:
    """The roster's vacant devices, less those that a decision takes."""

    def __init__(self, state: State) -> None:
        """Nothing is taken yet."""
        self._state, self._roster = state, state.roster
        self._left: dict[WorkerId, tuple[DeviceId, ...]] = {}
        """Of the workers that were touched."""

    def devices(self, worker: Worker) -> tuple[DeviceId, ...]:
        """Devices of a worker that nobody runs on or has taken in this decision."""
        left = self._left.get(worker.id)
        return self._roster.vacant_devices(worker) if left is None else left

    def count(self, name: WorkerId) -> int:
        """How many `devices` of a worker there are; 0 for one that drains or is gone."""
        left = self._left.get(name)
        return self._roster.vacant(name) if left is None else len(left)

    def any_of(self, kind: Kind, *, besides: WorkerId | None = None) -> bool:
        """Whether a worker of a kind has any device left, one worker apart."""
        for names in kind.rooms[1:]:
            for name in names:
                if name not in self._left and name != besides:
                    return True
        return any(
            left and name != besides and self._roster.kind(name) is kind
            for name, left in self._left.items()
        )

    def counts(self, stage: Stage) -> Counter[int]:
        """Workers of a stage by how many vacant devices they have left, those with none too."""
        counts: Counter[int] = Counter()
        for kind in self._roster.kinds(stage):
            for vacant, names in enumerate(kind.rooms):
                counts[vacant] += len(names)
        for name, left in self._left.items():
            known = self._roster.kind(name)
            if known is not None and stage in known.capable:
                counts[self._roster.vacant(name)] -= 1
                counts[len(left)] += 1
        return counts

    def candidates(
        self, kind: Kind, width: int, skipped: frozenset[WorkerId], each: int = 1
    ) -> Iterator[tuple[int, WorkerId]]:
        """Workers of a kind with room for so many devices, and how much they have.

        Of those that were not touched, only the first `each` by name of each room.
        """
        for vacant in range(width, kind.devices + 1):
            if not kind.rooms[vacant]:
                continue  # as most are on a busy fleet, where this is asked most
            usable = (
                name
                for name in kind.rooms[vacant]
                if name not in self._left and name not in skipped
            )
            for name in islice(usable, each):
                yield vacant, name
        for name, left in self._left.items():
            if len(left) >= width and name not in skipped and self._roster.kind(name) is kind:
                yield len(left), name

    def take(self, devices: tuple[DeviceId, ...], owner: WorkerId) -> None:
        """A worker starts a call on devices."""
        self._withhold(devices, owner, itself=True)
        if not self._state.workers[owner].concurrent:
            self._left[owner] = ()

    def hold(self, devices: tuple[DeviceId, ...], owner: WorkerId) -> None:
        """Devices are kept for a worker, which cannot use them yet."""
        self._withhold(devices, owner, itself=False)

    def _withhold(self, devices: tuple[DeviceId, ...], owner: WorkerId, *, itself: bool) -> None:
        """Take devices away from all who hold them, the owner too where it uses them."""
        for device in devices:
            for holder in self._roster.holders(device):
                worker = self._state.workers[holder]
                if (holder == owner and not itself) or (holder != owner and worker.isolated):
                    continue
                left = self.devices(worker)
                self._left[holder] = tuple(one for one in left if one != device)
