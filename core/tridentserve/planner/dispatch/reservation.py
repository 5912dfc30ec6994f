"""Mechanism 2: nodes are drained for requests that need many devices to be on time.

Small work fills every gap, so a request that needs four devices or a whole node never finds them
together. When one that can only be on time by `degree` devices or more cannot start, the node that
should have as many vacant the soonest is kept for it: others use it only if they should end before
then (at their 90 % quantile), or on devices that will be to spare even then. At most `nodes` are
kept at a time, for the most urgent; they are chosen anew in every decision, and as a node that
drains gets emptier, the same one comes out again (paper section 5.7; back-filling as in EASY).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from math import inf

from tridentserve.domain.ids import WorkerId
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.options import Option
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """How much may be kept, and for whom."""

    nodes: int = 4
    """Workers that are drained at the same time."""
    degree: int = 4
    """Devices from which on a request counts as wide."""
    looked_at: int = 16
    """Workers that are compared, the emptiest first: what bounds the cost of a decision."""


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A worker that drains."""

    clear_s: float
    """When it should have the devices."""
    spare: int
    """Devices that are not needed even then."""


class Drains:
    """The nodes that are kept, within one decision."""

    def __init__(
        self, settings: Reservation, state: State, floor: Floor, running: Running, now: float
    ) -> None:
        """Nothing is kept yet."""
        self._settings, self._state, self._floor = settings, state, floor
        self._running, self._now = running, now
        self._kept: dict[WorkerId, _Kept] = {}
        self._started: dict[WorkerId, list[float]] = {}
        self._asked: list[Offer] = []
        """Who is to have a node that was not looked for yet."""
        self._known: dict[WorkerId, list[float]] = {}
        """When devices of workers should be vacant, where that was asked."""

    def barred(self, offer: Offer) -> frozenset[WorkerId]:
        """Workers that this must leave alone."""
        # Looking for nodes is most of a decision's cost, and often nobody comes after who could
        # use one. Nothing was taken since it was asked for, as places are looked for by `barred`.
        for wide in self._asked:
            self._choose(wide)
        self._asked.clear()
        return frozenset(
            name
            for name, kept in self._kept.items()
            if offer.degree > kept.spare and not self._ends_before(offer.option, kept)
        )

    def took(self, place: Place, option: Option | None) -> None:
        """Somebody starts."""
        ends_s = inf if option is None else self._now + option.mean_s
        self._known.pop(place.worker.id, None)
        self._started.setdefault(place.worker.id, []).extend([ends_s] * len(place.devices))
        kept = self._kept.get(place.worker.id)
        if kept is not None and not self._ends_before(option, kept):
            kept.spare -= len(place.devices)

    def keep(self, offer: Offer) -> None:
        """Keep a node for a request that cannot start, if it is wide enough to need one."""
        left = self._settings.nodes - len(self._kept) - len(self._asked)
        if left > 0 and offer.degree >= self._settings.degree:
            self._asked.append(offer)

    def _choose(self, offer: Offer) -> None:
        best: tuple[float, int, WorkerId] | None = None
        for name in self._candidates(offer.kinds):
            vacant_s = self._vacant_s(name)
            if name in self._kept or len(vacant_s) < offer.degree:
                continue
            clear_s = vacant_s[offer.degree - 1]
            spare = sum(moment <= clear_s for moment in vacant_s) - offer.degree
            best = min(best or (inf, 0, name), (clear_s, spare, name))
        if best is not None and best[0] < inf:
            self._kept[best[2]] = _Kept(clear_s=best[0], spare=best[1])

    def _ends_before(self, option: Option | None, kept: _Kept) -> bool:
        return option is not None and self._now + option.q90_s <= kept.clear_s

    def _candidates(self, kinds: Iterable[Kind]) -> Iterable[WorkerId]:
        for kind in kinds:
            names = (name for room in reversed(kind.rooms) for name in room)
            yield from islice(names, self._settings.looked_at)

    def _vacant_s(self, name: WorkerId) -> list[float]:
        """When each device of a worker should be vacant, the soonest first.

        Devices that another worker leases are left out: nobody here knows their end.
        """
        known = self._known.get(name)
        if known is not None:
            return known
        worker = self._state.workers[name]
        moments = [self._now] * len(self._floor.vacant_devices(worker))
        moments += self._started.get(name, [])
        for segment in self._state.running(name):
            remaining_s = self._running.remaining_s(self._state, segment, self._now)
            ends_s = inf if remaining_s is None else self._now + remaining_s
            moments += [ends_s] * len(segment.devices)
        moments.sort()
        self._known[name] = moments
        return moments
