"""Mechanism 2: nodes are drained for requests that need many devices to be on time.

Small work fills every gap, so a request that needs four devices or a whole node never finds them
together. When one that can only be on time by `degree` devices or more cannot start, the node that
should have as many vacant the soonest is kept for it: others use it only if they should end before
then (at their 90 % quantile), or on devices that will be to spare even then. At most `nodes` are
kept at a time, and no more than `share` of those that could be, for the most urgent: what drains
idles, and a small fleet that drains half of itself serves nobody well. They are chosen anew in
every decision, and as a node that drains gets emptier, the same one comes out again (paper section
5.7; back-filling as in EASY).

Where one node is all that there is, it is kept for those alone that fit on nothing less: while it
drains, nobody else is served. Who fits on several devices only would starve behind small work once
it is late, so a node is kept for it too, however many there are, as soon as it has aged.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from itertools import islice
from math import inf

from tridentserve.domain.ids import WorkerId
from tridentserve.planner.dispatch.clearing import Clearing
from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.options import Option
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.roster import Kind

_SEVERAL = 2
"""Devices that small work hardly ever leaves vacant together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """How much may be kept, and for whom."""

    nodes: int = 4
    """Workers that are drained at the same time, at most."""
    share: float = 0.25
    """Of the workers that have the devices; one at least, but for the last paragraph above."""
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

    def __init__(self, settings: Reservation, clearing: Clearing, now: float, workers: int) -> None:
        """Nothing is kept yet; `workers` is how many there are for the wide stage, diffuse."""
        self._settings, self._clearing, self._now = settings, clearing, now
        self._workers = workers
        self._kept: dict[WorkerId, _Kept] = {}
        self._asked: list[tuple[Offer, Set[WorkerId]]] = []
        """Who is to have a node that was not looked for yet, and on which it must not run."""
        self._compared: dict[tuple[tuple[Kind, ...], int], list[tuple[float, int, WorkerId]]] = {}
        """What `_compare` found, until somebody takes devices."""

    def barred(self, offer: Offer) -> frozenset[WorkerId]:
        """Workers that this must leave alone."""
        # Looking for nodes is most of a decision's cost, and often nobody comes after who could
        # use one. Nothing was taken since it was asked for, as places are looked for by `barred`.
        self._choose_asked()
        ends_s = self._ends_s(offer.option)
        return frozenset(
            name
            for name, kept in self._kept.items()
            if offer.degree > kept.spare and ends_s > kept.clear_s
        )

    def took(self, place: Place, option: Option | None) -> None:
        """Somebody starts; the clearing has been told."""
        self._compared.clear()
        kept = self._kept.get(place.worker.id)
        if kept is not None and self._ends_s(option) > kept.clear_s:
            kept.spare -= len(place.devices)

    def keep(self, offer: Offer, excluded: Set[WorkerId]) -> None:
        """Keep a node, as `would_keep` allows, for a request that cannot start.

        Args:
            offer: of the least degree that would do.
            excluded: workers that must not run it.
        """
        self._asked.append((offer, excluded))

    def would_keep(self, offer: Offer, *, has_aged: bool = False) -> bool:
        """Whether another node would be kept for a request of this least degree."""
        if offer.degree < (_SEVERAL if has_aged else self._settings.degree):
            return False
        size = sum(kind.size for kind in offer.kinds)
        least = int(offer.is_least or self._workers > 1)
        most = min(self._settings.nodes, max(least, int(self._settings.share * size)))
        if self._asked and len(self._kept) + len(self._asked) >= most:
            # Who asked for what no node will have takes nobody's turn.
            self._choose_asked()
        return len(self._kept) + len(self._asked) < most

    def _ends_s(self, option: Option | None) -> float:
        """When a call that starts now should have ended, at its 90 % quantile."""
        return inf if option is None else self._now + option.q90_s

    def _choose_asked(self) -> None:
        for wide, excluded in self._asked:
            self._choose(wide, excluded)
        self._asked.clear()

    def _choose(self, offer: Offer, excluded: Set[WorkerId]) -> None:
        for clear_s, spare, name in self._compare(offer):
            if name not in self._kept and name not in excluded:
                self._kept[name] = _Kept(clear_s=clear_s, spare=spare)
                return

    def _compare(self, offer: Offer) -> list[tuple[float, int, WorkerId]]:
        """The workers looked at that should ever have the devices, the one to keep first."""
        known = self._compared.get(key := (offer.kinds, offer.degree))
        if known is None:
            known = [
                (*clears, name)
                for name in self._candidates(offer.kinds)
                if (clears := self._clearing.clears(name, offer.degree)) and clears[0] < inf
            ]
            known.sort()
            self._compared[key] = known
        return known

    def _candidates(self, kinds: Iterable[Kind]) -> Iterable[WorkerId]:
        for kind in kinds:
            names = (name for room in reversed(kind.rooms) for name in room)
            yield from islice(names, self._settings.looked_at)
