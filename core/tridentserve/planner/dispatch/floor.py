"""Which worker and which devices run a request's stage: what every dispatch planner asks.

A worker can take a request when it hosts the stage for the request's pipeline, holds the content
that the journey began on, does not drain, and has as many devices on which nobody runs as the call
needs. Of those that can, the best is the one that was reserved, then the one that made the input,
then one that shares memory with it, then the fastest, then the one that fits best; names break
ties, so equal states give equal answers.

`Floor` is what of this is still free while one decision is being made: the state only changes when
the driver carries the decision out.

Batches: a worker with several slots a device runs one work key at a time on the same devices, and
the batch closes when the call begins. So a request joins only what is started in the same
decision: several of one key are started together, and one that comes later waits for the next
call rather than inside the worker, where it could not be given to another one any more.
"""

from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import chain, islice

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId, PipelineName, WorkerId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.fits import Fit, tightest
from tridentserve.planner.dispatch.workers import eligible, share_memory, suits
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey, State

_Key = tuple[Stage, Shape, int, float]
_Question = tuple[
    Stage, PipelineName | None, str | None, frozenset[WorkerId], tuple[Kind, ...] | None
]
_Rank = tuple[int, float, int, WorkerId]

_CONSUMERS = 64
"""Workers that are compared as consumers; beyond that only the emptiest are."""


@dataclass(slots=True, kw_only=True)
class Place:
    """Devices of one worker that a request can start on."""

    worker: Worker
    devices: tuple[DeviceId, ...]
    vacant: int
    """Devices that the worker has to spare, these included."""
    kind: Kind
    key: _Key | None = None
    """Of the batch that it joins; None where it is the first."""
    seats: int = 0
    """How many more may join."""


class Floor:
    """Devices that are still free within one decision."""

    def __init__(self, state: State) -> None:
        """Nothing is taken yet."""
        self._state = state
        self._roster = state.roster
        self._left: dict[WorkerId, tuple[DeviceId, ...]] = {}
        self._batches: dict[WorkerId, list[Place]] = {}
        self._users: dict[DeviceId, WorkerId] = {}
        self._reserved: Counter[WorkerId] = Counter()
        self._eligible: dict[_Question, tuple[tuple[Kind, ...], frozenset[WorkerId]]] = {}

    # --- what is free -----------------------------------------------------------------------------

    def open(self, stage: Stage) -> bool:
        """Whether any worker of a stage can take anything more."""
        return any(kind.slots and self._largest(kind) for kind in self._roster.kinds(stage)) or any(
            place.seats and place.key is not None and place.key[0] is stage
            for place in self.taken()
        )

    def taken(self) -> Iterable[Place]:
        """Places that were taken in this decision, a batch once."""
        return chain.from_iterable(self._batches.values())

    def vacancies(self, stage: Stage) -> Counter[int]:
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

    def _largest(self, kind: Kind) -> int:
        """The most vacant devices that one worker of a kind has left."""
        most = max(
            (len(left) for name, left in self._left.items() if self._roster.kind(name) is kind),
            default=0,
        )
        for vacant in range(kind.devices, most, -1):
            if any(name not in self._left for name in kind.rooms[vacant]):
                return vacant
        return most

    def vacant_devices(self, worker: Worker) -> tuple[DeviceId, ...]:
        """Devices of a worker that nobody runs on or has taken in this decision."""
        left = self._left.get(worker.id)
        return self._roster.vacant_devices(worker) if left is None else left

    # --- who can start ----------------------------------------------------------------------------

    def choose(
        self,
        journey: Journey,
        degree: int | None = None,
        *,
        fit: Fit = tightest,
        near: bool = True,
        barred: Set[WorkerId] = frozenset(),
        among: tuple[Kind, ...] | None = None,
    ) -> Place | None:
        """The best place to start the journey's stage now; None leaves it waiting.

        Args:
            journey: waits for its stage.
            degree: how many devices; None takes the widest strategy of the worker.
            fit: decides between workers that are alike but for their room.
            near: whether to stay with the input; without it only kind and fit count.
            barred: workers that are not to be used.
            among: the kinds to look at, those that offer the degree; None looks at all.

        A journey that only a device lease keeps waiting holds that device: whoever comes after it
        in this decision cannot take it, so a stream of small work does not starve large work.
        """
        search = self._search(journey, degree, fit, barred, among)
        if near and (close := self._close(search)) is not None:
            return close
        places = [place for kind in search.kinds if (place := self._first(search, kind))]
        if places:
            return min(places, key=search.rank)
        joined = self._joinable(search)
        if joined is None and self._roster.is_shared:
            self._hold_leased(search)
        return joined

    def take(self, place: Place, journey: Journey) -> None:
        """Use the devices of a place, or a seat in its batch."""
        if place.key is not None:
            place.seats -= 1
            return
        place.key = _key(journey)
        place.seats = place.kind.slots - 1
        self._batches.setdefault(place.worker.id, []).append(place)
        self._users.update(dict.fromkeys(place.devices, place.worker.id))
        self._withhold(place.devices, place.worker.id, itself=True)

    def consumer(self, journey: Journey, producer: Worker) -> Worker | None:
        """The worker to prefer for the stage after the journey's, given who runs this one.

        The producer itself, one that shares memory with it, then the one with the least to do.
        """
        following = journey.stage.next
        if following is None:
            return None
        if following in producer.capable and not producer.draining:
            return producer
        best = min(
            self._consumers(journey, producer, following),
            key=lambda worker: (
                not share_memory(worker, producer),
                self._busy(worker),
                -worker.fraction_percent,
                worker.id,
            ),
            default=None,
        )
        if best is not None:
            self._reserved[best.id] += 1
        return best

    # --- the search for a place -------------------------------------------------------------------

    def _search(
        self,
        journey: Journey,
        degree: int | None,
        fit: Fit,
        barred: Set[WorkerId],
        among: tuple[Kind, ...] | None,
    ) -> "_Search":
        demand = journey.demand
        question = (journey.stage, demand.pipeline, journey.digest, journey.excluded, among)
        if question not in self._eligible:
            kinds = self._roster.kinds(journey.stage) if among is None else among
            self._eligible[question] = eligible(self._roster, journey, kinds)
        kinds, excluded = self._eligible[question]
        return _Search(
            journey=journey, degree=degree, fit=fit, kinds=kinds, skipped=excluded | barred
        )

    def _at(self, search: "_Search", name: WorkerId | None) -> Place | None:
        """The place on one worker, as far as it has room."""
        kind = None if name is None else self._roster.kind(name)
        if name is None or kind is None or kind not in search.kinds or name in search.skipped:
            return None
        width = search.width(kind)
        worker = self._state.workers[name]
        left = self.vacant_devices(worker)
        if len(left) < width or not kind.slots:
            return None
        return Place(worker=worker, devices=left[:width], vacant=len(left), kind=kind)

    def _close(self, search: "_Search") -> Place | None:
        """Where the input is: the worker that was reserved, its producer, who shares memory."""
        journey = search.journey
        if journey.preferred_stage is journey.stage and (
            place := self._at(search, journey.preferred)
        ):
            return place
        if place := self._at(search, journey.producer):
            return place
        producer = self._state.workers.get(journey.producer) if journey.producer else None
        if producer is None or producer.domain is None:
            return None
        mates = (self._at(search, name) for name in self._roster.in_domain(producer.domain))
        return min(filter(None, mates), key=search.rank, default=None)

    def _first(self, search: "_Search", kind: Kind) -> Place | None:
        """The best place of one kind."""
        width = search.width(kind)
        if not kind.slots:
            return None
        found: list[tuple[float, WorkerId]] = []
        for vacant in range(width, kind.devices + 1):
            for name in kind.rooms[vacant]:
                if name not in self._left and name not in search.skipped:
                    found.append((search.fit(vacant, width), name))
                    break
        for name, left in self._left.items():
            if (
                len(left) >= width
                and name not in search.skipped
                and self._roster.kind(name) is kind
            ):
                found.append((search.fit(len(left), width), name))
        return self._at(search, min(found)[1]) if found else None

    def _joinable(self, search: "_Search") -> Place | None:
        """A batch of this decision with a seat left, of the same work key and as many devices."""
        key = _key(search.journey)
        places = [
            place
            for name, places in self._batches.items()
            for place in places
            if place.seats
            and place.key == key
            and place.kind in search.kinds
            and len(place.devices) == search.width(place.kind)
            and name not in search.skipped
            and (place.worker.isolated or self._is_sole_user(place))
        ]
        return min(places, key=lambda place: (-place.seats, place.worker.id), default=None)

    def _is_sole_user(self, place: Place) -> bool:
        """Whether nobody whom the sharing mode isolates came to its devices after it."""
        return all(self._users[device] == place.worker.id for device in place.devices)

    def _hold_leased(self, search: "_Search") -> None:
        """Keep the devices that only the lease of another worker denies for who waits for them."""
        workers = [
            worker
            for worker in self._roster.capable(search.journey.stage)
            if self._roster.kind(worker.id) in search.kinds
            and worker.id not in search.skipped
            and worker.id not in self._batches
            and worker.slots > 0
            and self._state.is_idle(worker.id)
        ]
        best = min(
            workers, key=lambda one: (-one.fraction_percent, -one.slots, one.id), default=None
        )
        if best is not None:
            kind = self._roster.kind(best.id)
            assert kind is not None
            self._withhold(best.devices[: search.width(kind)], best.id, itself=False)

    def _withhold(self, devices: tuple[DeviceId, ...], owner: WorkerId, *, itself: bool) -> None:
        """Take devices away from all who hold them, the owner too where it uses them."""
        for device in devices:
            for holder in self._roster.holders(device):
                worker = self._state.workers[holder]
                if (holder == owner and not itself) or (holder != owner and worker.isolated):
                    continue
                left = self.vacant_devices(worker)
                self._left[holder] = tuple(one for one in left if one != device)
        if itself and not self._state.workers[owner].concurrent:
            self._left[owner] = ()

    # --- consumers --------------------------------------------------------------------------------

    def _consumers(self, journey: Journey, producer: Worker, following: Stage) -> Iterable[Worker]:
        """Workers to compare: all of a small fleet, of a large one those with the most room."""
        kinds = [
            kind
            for kind in self._roster.kinds(following)
            if suits(kind, journey.demand, producer.digest) and kind.pipeline == producer.pipeline
        ]
        names: list[WorkerId] = []
        for kind in kinds:
            emptiest_first = chain.from_iterable(reversed(kind.rooms))
            names += islice(emptiest_first, _CONSUMERS)
        if producer.domain is not None:
            names += self._roster.in_domain(producer.domain)
        for name in names:
            if self._roster.kind(name) in kinds:
                yield self._state.workers[name]

    def _busy(self, worker: Worker) -> float:
        """Requests that a worker runs or is preferred by, by slot."""
        running = 0
        if not self._state.is_idle(worker.id):
            running = sum(len(segment.requests) for segment in self._state.running(worker.id))
        waiting = self._state.reserved(worker.id) + self._reserved[worker.id]
        return (running + waiting) / max(1, worker.seats)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What a place is looked for."""

    journey: Journey
    degree: int | None
    fit: Fit
    kinds: tuple[Kind, ...]
    skipped: frozenset[WorkerId]

    def width(self, kind: Kind) -> int:
        """Devices that the call would use on a worker of a kind."""
        return kind.widest.degree if self.degree is None else self.degree

    def rank(self, place: Place) -> _Rank:
        """The least wins."""
        return (
            -place.kind.fraction_percent,
            self.fit(place.vacant, len(place.devices)),
            -place.kind.slots,
            place.worker.id,
        )


def _key(journey: Journey) -> _Key:
    """What must be equal to run in one call, beside the worker's own content."""
    demand = journey.demand
    return (journey.stage, demand.shape, demand.steps, demand.guidance)
