"""Who may pass a request that cannot start: nobody, everybody, or who does not delay it (EASY).

EASY back-filling (Lifka 1995) gives the first that cannot start a *reservation*: the worker on
which enough devices should become vacant the soonest, and when (the *shadow time*). Others may
still use that worker if they should end before then, or where it has devices to spare even then.
There is one reservation for every group of kinds, so that encoders do not spend that of diffusers.

Predictions are wrong now and then. A worker that is not clear by the time that was first promised
is kept free from then on, whatever others promise: so the first in line waits until that time, and
then at most for what runs on that worker, and no longer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from math import inf

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId, RequestId, WorkerId
from tridentserve.planner.dispatch.guests import least_missed
from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.options import Option
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.roster import Kind, Roster
from tridentserve.planner.state import Journey, State


class Passing(Enum):
    """What those behind may do while somebody before them cannot start."""

    STRICT = "strict"
    """Nothing that uses a worker which it waits for: head of the line."""
    BACK_FILL = "back-fill"
    """Whatever they can, so that what needs many devices may starve."""
    RESERVATION = "reservation"
    """What does not delay it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Promise:
    """A worker that is kept for a request."""

    worker: WorkerId
    due_s: float
    """When it was expected to be clear, as it was first said."""


@dataclass(slots=True, kw_only=True)
class _Shadow:
    """A promise within one decision."""

    clear_s: float
    """When enough devices should be vacant; back-filling until then."""
    spare: int
    """Devices that it does not need even then."""


class Reservations:
    """The promises that outlast a decision."""

    def __init__(self, running: Running) -> None:
        """Nothing is promised."""
        self._running = running
        self._promises: dict[RequestId, _Promise] = {}

    def begin(self, state: State, now: float) -> "Easy":
        """The reservations of one decision."""
        return Easy(self, self._running, state, now)

    def promised(self, request: RequestId) -> _Promise | None:
        """What was promised to a request."""
        return self._promises.get(request)

    def keep(self, promises: dict[RequestId, _Promise]) -> None:
        """Take over what a decision promised; the rest was kept or is no longer needed."""
        self._promises = promises


class Turn:
    """One decision in which everybody may pass: what is common to all three."""

    def allowed(self, offer: Offer) -> Offer | None:
        """The offer without kinds that must not be used; None where none is left."""
        return offer

    def barred(self, offer: Offer) -> frozenset[WorkerId]:
        """Workers that must not be used for it."""
        return frozenset()

    def took(self, place: Place, option: Option | None) -> None:
        """Somebody starts."""

    def blocked(self, journey: Journey, choices: tuple[Offer, ...]) -> None:
        """Somebody cannot start."""

    def end(self) -> None:
        """The decision is over."""


class HeadOfLine(Turn):
    """One decision in which nobody passes."""

    def __init__(self, roster: Roster) -> None:
        """Nobody is blocked."""
        self._roster = roster
        self._kinds: set[Kind] = set()

    def allowed(self, offer: Offer) -> Offer | None:
        """Without the kinds that somebody before waits for."""
        return _without(offer, self._kinds)

    def blocked(self, journey: Journey, choices: tuple[Offer, ...]) -> None:
        """Keep all that it could use, but for what it leaves to scarcer stages."""
        self._kinds |= _awaited(self._roster, journey, choices)


class Easy(Turn):
    """One decision in which those may pass who delay nobody's reservation."""

    def __init__(
        self, reservations: Reservations, running: Running, state: State, now: float
    ) -> None:
        """Nobody is blocked yet."""
        self._reservations, self._running = reservations, running
        self._state, self._now = state, now
        self._shadows: dict[WorkerId, _Shadow] = {}
        self._covered: set[Kind] = set()
        self._promises: dict[RequestId, _Promise] = {}
        self._ends: dict[WorkerId, list[tuple[float, int]]] = {}

    def barred(self, offer: Offer) -> frozenset[WorkerId]:
        """Reserved workers on which it would not end in time, nor has room beside."""
        return frozenset(
            name for name, shadow in self._shadows.items() if not self._passes(offer, shadow)
        )

    def _passes(self, offer: Offer, shadow: _Shadow) -> bool:
        return offer.degree <= shadow.spare or self._ends_before(offer.option, shadow)

    def _ends_before(self, option: Option | None, shadow: _Shadow) -> bool:
        return option is not None and self._now + option.q90_s <= shadow.clear_s

    def took(self, place: Place, option: Option | None) -> None:
        """Its devices become vacant when it ends; those to spare are fewer by it."""
        end_s = inf if option is None else self._now + option.mean_s
        self._ends.setdefault(place.worker.id, []).append((end_s, len(place.devices)))
        shadow = self._shadows.get(place.worker.id)
        if shadow is not None and not self._ends_before(option, shadow):
            shadow.spare -= len(place.devices)

    def blocked(self, journey: Journey, choices: tuple[Offer, ...]) -> None:
        """Reserve for it, unless one before it in line waits for the same kinds."""
        kinds = _awaited(self._state.roster, journey, choices)
        if not choices or kinds & self._covered:
            return
        self._covered |= kinds
        least = min(choices, key=lambda offer: offer.degree)
        worker, vacant_s = self._best(journey, least)
        clear_s = vacant_s[least.degree - 1]
        known = self._reservations.promised(journey.demand.id)
        due_s = known.due_s if known is not None and known.worker == worker.id else clear_s
        self._promises[journey.demand.id] = _Promise(worker=worker.id, due_s=min(due_s, clear_s))
        if clear_s == inf or self._now > due_s:
            # Nothing can be promised, or a promise was broken: let it drain.
            self._shadows[worker.id] = _Shadow(clear_s=-inf, spare=0)
            return
        vacant = sum(moment <= clear_s for moment in vacant_s)
        self._shadows[worker.id] = _Shadow(clear_s=clear_s, spare=vacant - least.degree)

    def end(self) -> None:
        """Keep the promises."""
        self._reservations.keep(self._promises)

    def _best(self, journey: Journey, offer: Offer) -> tuple[Worker, list[float]]:
        """Who was promised, else who should be clear first; and when each of its devices is."""
        roster, workers = self._state.roster, self._state.workers
        promise = self._reservations.promised(journey.demand.id)
        if promise is not None and roster.kind(promise.worker) in offer.kinds:
            return workers[promise.worker], self._vacant_s(workers[promise.worker])
        found = [
            (workers[name], self._vacant_s(workers[name])) for name in self._usable(journey, offer)
        ]
        return min(
            found,
            key=lambda one: (one[1][offer.degree - 1], sum(map(self._later, one[1])), one[0].id),
        )

    def _usable(self, journey: Journey, offer: Offer) -> list[WorkerId]:
        """Workers that may run it; of kinds that scarcer stages need only where there is no other.

        A guest may have to leave what was promised to it, and would wait for ever (`guests`).
        """
        names: list[WorkerId] = []
        for kinds in (least_missed(self._state.roster, offer.kinds, journey.stage), offer.kinds):
            names = [name for kind in kinds for room in kind.rooms for name in room]
            if others := [name for name in names if name not in journey.excluded]:
                return others
        return names

    def _later(self, moment: float) -> bool:
        return moment > self._now

    def _vacant_s(self, worker: Worker) -> list[float]:
        """When each device of a worker should be vacant, the soonest first."""
        moments = [self._device_s(worker, device) for device in worker.devices]
        started = self._ends.get(worker.id, [])
        moments.sort()
        for end_s, degree in started:
            moments[:degree] = [end_s] * degree
            moments.sort()
        if not worker.concurrent:
            moments = [max(moments, default=self._now)] * len(moments)
        return moments

    def _device_s(self, worker: Worker, device: DeviceId) -> float:
        lessees = self._state.lessees(device)
        if worker.isolated:
            lessees &= {worker.id}
        ends = (
            max(self._now, self._running.ends(self._state, one, self._now).get(device, self._now))
            for one in lessees
        )
        return max(ends, default=self._now)


def _awaited(roster: Roster, journey: Journey, choices: tuple[Offer, ...]) -> set[Kind]:
    """Kinds that a request waits for: a guest has no claim to those that scarcer stages need."""
    return {kind for offer in choices for kind in least_missed(roster, offer.kinds, journey.stage)}


def _without(offer: Offer, kinds: Iterable[Kind]) -> Offer | None:
    left = tuple(kind for kind in offer.kinds if kind not in kinds)
    if not left:
        return None
    return replace(offer, kinds=left)
