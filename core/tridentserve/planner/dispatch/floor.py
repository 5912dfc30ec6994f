"""Which worker and which devices run a request's stage: what every dispatch planner asks.

A worker can take a request when it hosts the stage for the request's pipeline, holds the content
that the journey began on, does not drain, and has as many devices on which nobody runs as the call
needs. Of those that can, the best is the one that other stages miss the least (`guests`), then the
one that was reserved, then the one that made the input, then one that shares memory with it, then
the fastest, then the one that fits best; names break ties, so equal states give equal answers.

`Floor` is what of this is still free while one decision is being made: the state only changes when
the driver carries the decision out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Set

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId, PipelineName, WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.batches import Batches, Most
from tridentserve.planner.dispatch.consumers import Consumers
from tridentserve.planner.dispatch.fits import Fit, tightest
from tridentserve.planner.dispatch.guests import Guests
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.dispatch.search import Prefer, Search
from tridentserve.planner.dispatch.vacancies import Vacancies
from tridentserve.planner.dispatch.workers import eligible
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey, State

_Question = tuple[
    Stage, PipelineName | None, str | None, frozenset[WorkerId], tuple[Kind, ...] | None
]

_PREFERRED = 4
"""Workers with equally many vacant devices that are compared where some are preferred."""


class Floor:
    """Devices that are still free within one decision."""

    def __init__(self, state: State, most: Most | None = None) -> None:
        """Nothing is taken yet; `most` bounds batches by memory."""
        self._state, self._roster = state, state.roster
        self._vacancies = Vacancies(state)
        self._guests = Guests(state, self._vacancies)
        self._batches = Batches(most)
        self._consumers = Consumers(state)
        self._eligible: dict[_Question, tuple[tuple[Kind, ...], frozenset[WorkerId]]] = {}
        self._full: set[tuple[tuple[Kind, ...], int | None, frozenset[WorkerId]]] = set()
        """Kinds, degree and who was skipped, where nobody had the room: nor will they later."""

    def open(self, stage: Stage) -> bool:
        """Whether any worker of a stage can take anything more."""
        return any(
            kind.slots and self._vacancies.any_of(kind) for kind in self._roster.kinds(stage)
        ) or self._batches.any_open(stage)

    def taken(self) -> Iterable[Place]:
        """Places that were taken in this decision, a batch once."""
        return self._batches

    def vacancies(self, stage: Stage) -> Counter[int]:
        """Workers of a stage by how many vacant devices they have left, those with none too."""
        return self._vacancies.counts(stage)

    def vacant_devices(self, worker: Worker) -> tuple[DeviceId, ...]:
        """Devices of a worker that nobody runs on or has taken in this decision."""
        return self._vacancies.devices(worker)

    def vacant(self, name: WorkerId) -> int:
        """How many `vacant_devices` a worker has."""
        return self._vacancies.count(name)

    def has_room(self, kinds: Iterable[Kind], degree: int, barred: frozenset[WorkerId]) -> bool:
        """Whether any worker of these kinds has as many vacant devices, some apart.

        A seat in a call that begins is no room, and a worker has room that a request may not use.
        """
        return any(True for kind in kinds for _ in self._vacancies.candidates(kind, degree, barred))

    def choose(
        self,
        journey: Journey,
        degree: int | None = None,
        *,
        fit: Fit = tightest,
        near: bool = True,
        prefer: Prefer | None = None,
        barred: Set[WorkerId] = frozenset(),
        among: tuple[Kind, ...] | None = None,
    ) -> Place | None:
        """The best place to start the journey's stage now; None leaves it waiting.

        Args:
            journey: waits for its stage.
            degree: how many devices; None takes the widest strategy of the worker.
            fit: decides between workers that are alike but for their room.
            near: whether to stay with the input, where that costs no scarcer stage its worker;
                without it only kind and fit count.
            prefer: what is said against a worker, which counts before the fit; of those with as
                much room, the first few are compared.
            barred: workers that are not to be used.
            among: the kinds to look at, those that offer the degree; None looks at all.

        A journey that only a device lease keeps waiting holds that device: whoever comes after it
        in this decision cannot take it, so a stream of small work does not starve large work.
        """
        search = self._search(journey, degree, fit, prefer, barred, among)
        wanted = (search.kinds, degree, search.skipped)
        best = None if wanted in self._full else self._best(search, near)
        if best is not None:
            return best
        joined = self._batches.joinable(search)
        if joined is None and self._roster.is_shared:
            self._hold_leased(search)
        return joined

    def take(self, place: Place, journey: Journey) -> None:
        """Use the devices of a place, or a seat in its batch."""
        self._guests.started(journey)
        if place.key is not None:
            place.seats -= 1
            return
        self._batches.begin(place, journey)
        self._vacancies.take(place.devices, place.worker.id)

    def consumer(self, journey: Journey, producer: Worker) -> Worker | None:
        """The worker to prefer for the stage after the journey's, given who runs this one."""
        return self._consumers.choose(journey, producer)

    # --- the search for a place -------------------------------------------------------------------

    def _search(
        self,
        journey: Journey,
        degree: int | None,
        fit: Fit,
        prefer: Prefer | None,
        barred: Set[WorkerId],
        among: tuple[Kind, ...] | None,
    ) -> Search:
        demand = journey.demand
        question = (journey.stage, demand.pipeline, journey.digest, journey.excluded, among)
        if question not in self._eligible:
            kinds = self._roster.kinds(journey.stage) if among is None else among
            self._eligible[question] = eligible(self._roster, journey, kinds)
        kinds, excluded = self._eligible[question]
        return Search(
            journey=journey,
            degree=degree,
            fit=fit,
            kinds=kinds,
            excluded=excluded,
            skipped=excluded | barred,
            prefer=prefer,
        )

    def _best(self, search: Search, near: bool) -> Place | None:
        """The place where the stage is missed the least, the nearest of such, else the best."""
        stage = search.journey.stage
        places: list[Place] = []
        for close in self._close(search) if near else ():
            if not self._roster.scarcer(close.kind, stage):
                return close
            places.append(close)
        firsts = [place for kind in search.kinds if (place := self._first(search, kind))]
        places += sorted(firsts, key=search.rank)
        if not places:
            self._full.add((search.kinds, search.degree, search.skipped))
            return None
        allowed = (place for place in places if not self._guests.leaves(search, place))
        return min(allowed, key=lambda one: self._roster.loss(one.kind, stage), default=None)

    def _at(self, search: Search, name: WorkerId | None) -> Place | None:
        """The place on one worker, as far as it has room."""
        kind = None if name is None else self._roster.kind(name)
        if name is None or kind is None or kind not in search.kinds or name in search.skipped:
            return None
        width = search.width(kind)
        worker = self._state.workers[name]
        left = self._vacancies.devices(worker)
        if len(left) < width or not kind.slots:
            return None
        return Place(worker=worker, devices=left[:width], vacant=len(left), kind=kind)

    def _close(self, search: Search) -> Iterator[Place]:
        """Where the input is: the worker that was reserved, its producer, who shares memory."""
        journey = search.journey
        if journey.preferred_stage is journey.stage and (
            place := self._at(search, journey.preferred)
        ):
            yield place
        if place := self._at(search, journey.producer):
            yield place
        producer = self._state.workers.get(journey.producer) if journey.producer else None
        if producer is None or producer.domain is None:
            return
        mates = (self._at(search, name) for name in self._roster.in_domain(producer.domain))
        yield from sorted(filter(None, mates), key=search.rank)

    def _first(self, search: Search, kind: Kind) -> Place | None:
        """The best place of one kind."""
        if not kind.slots:
            return None
        width = search.width(kind)
        each = 1 if search.prefer is None else _PREFERRED
        found = [
            (search.against(name), search.fit(vacant, width), name)
            for vacant, name in self._vacancies.candidates(kind, width, search.skipped, each)
        ]
        return self._at(search, min(found)[2]) if found else None

    def _hold_leased(self, search: Search) -> None:
        """Keep the devices that only the lease of another worker denies for who waits for them."""
        workers = [
            worker
            for worker in self._roster.capable(search.journey.stage)
            if self._roster.kind(worker.id) in search.kinds
            and worker.id not in search.skipped
            and not self._batches.has(worker.id)
            and worker.slots > 0
            and self._state.is_idle(worker.id)
        ]
        best = min(
            workers, key=lambda one: (-one.fraction_percent, -one.slots, one.id), default=None
        )
        if best is not None:
            kind = self._roster.kind(best.id)
            assert kind is not None
            self._vacancies.hold(best.devices[: search.width(kind)], best.id)
