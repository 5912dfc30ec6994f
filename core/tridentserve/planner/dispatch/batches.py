"""Calls that a decision starts, and who may join one.

A worker with several slots a device runs one work key at a time on the same devices, and the batch
closes when the call begins. So a request joins only what is started in the same decision: several
of one key are started together, and one that comes later waits for the next call rather than inside
the worker, where it could not be given to another one any more. Nor does it join where the memory
is too small for one request more.
"""

from collections.abc import Callable, Iterator

from tridentserve.domain.ids import DeviceId, WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.places import Place, work_key
from tridentserve.planner.dispatch.search import Search
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey

Most = Callable[[Kind, Journey, int], int]
"""How many requests like a journey's a call on so many devices has the memory for."""


class Batches:
    """Every call of one decision, by worker."""

    def __init__(self, most: Most | None = None) -> None:
        """Nothing starts yet; without `most` only slots count."""
        self._most = most
        self._by_worker: dict[WorkerId, list[Place]] = {}
        self._users: dict[DeviceId, WorkerId] = {}

    def __iter__(self) -> Iterator[Place]:
        """Places that were taken in this decision, a batch once."""
        for places in self._by_worker.values():
            yield from places

    def has(self, worker: WorkerId) -> bool:
        """Whether a worker starts anything."""
        return worker in self._by_worker

    def any_open(self, stage: Stage) -> bool:
        """Whether a call of a stage has a seat left."""
        return any(one.seats and one.key is not None and one.key[0] is stage for one in self)

    def begin(self, place: Place, journey: Journey) -> None:
        """A call starts; its other seats are free."""
        place.key = work_key(journey)
        place.seats = place.kind.slots - 1
        if place.seats and self._most is not None:
            place.seats = self._most(place.kind, journey, len(place.devices)) - 1
        self._by_worker.setdefault(place.worker.id, []).append(place)
        self._users.update(dict.fromkeys(place.devices, place.worker.id))

    def joinable(self, search: Search) -> Place | None:
        """A call with a seat left, of the same work key and on as many devices."""
        seats = [place for place in self if place.seats]
        if not seats:
            return None
        key = work_key(search.journey)
        places = [
            place
            for place in seats
            if place.key == key
            and place.kind in search.kinds
            and len(place.devices) == search.width(place.kind)
            and place.worker.id not in search.skipped
            and (place.worker.isolated or self._is_sole_user(place))
        ]
        return min(places, key=lambda place: (-place.seats, place.worker.id), default=None)

    def _is_sole_user(self, place: Place) -> bool:
        """Whether nobody whom the sharing mode isolates came to its devices after it."""
        return all(self._users[device] == place.worker.id for device in place.devices)
