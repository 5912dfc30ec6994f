"""What a request that waits still has to do, by degree of the stage it waits for.

Deadlines are about requests, degrees about stages: whether a degree is on time depends on the
stages after it as well (the published objective leaves them out, and so believes that wide classes
are on time which are not; paper section 5.3). So an outlook adds, to every degree that the fleet
offers now, the fastest that the fleet offers for what comes then, and the hand-offs between.

Uncertainty is added as that of independent errors: margins (q90 - mean) in quadrature. Waiting for
a worker of a later stage is not in it. Where any stage is unknown the whole outlook is: it then
takes no time at all, and only the deadline itself says who is first.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

from tridentserve.domain.stages import Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.options import Option, k_star
from tridentserve.planner.dispatch.queues import ClassKey
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey, State

_KEPT = 8192
"""Outlooks beyond which all are forgotten: callers choose the shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The way to the end of a request of one class."""

    offers: tuple[Offer, ...]
    """Degrees of the stage that it waits for, ascending."""
    rest_s: float = 0.0
    """Mean seconds of what comes after that stage, at its fastest."""
    rest_margin_s: float = 0.0
    """How much longer that is at its 90 % quantile."""
    best_s: float = 0.0
    """Mean seconds until it is done, alone, by the largest efficient degree (k*)."""
    is_known: bool = False
    """False where the time of some stage is unknown; all seconds are 0 then."""
    totals_s: tuple[float, ...] = ()
    """`total_s` of the offers, ascending; empty where unknown."""
    reached: tuple[tuple[Offer, ...], ...] = ((),)
    """Offers, by how many of `totals_s` there is time for: everyone that waits asks for them."""
    soonest_s: float = 0.0
    """`fastest_s` of all degrees, where some were left out."""
    thrifty: tuple[tuple[float, "Outlook"], ...] = ()
    """The same with fewer degrees, by the efficiency of the worst of them, ascending; the first
    has them all. Empty where unknown, and in these themselves."""

    def within(self, seconds: float) -> tuple[Offer, ...]:
        """Degrees by which the request is done within so long, ascending; none where unknown."""
        return self.reached[bisect_right(self.totals_s, seconds)]

    def completed(self) -> "Outlook":
        """The same with all that follows from the seconds of its degrees."""
        whole = self._offering(self.offers)
        whole = replace(whole, soonest_s=whole.fastest_s)
        efficiencies = sorted({_efficiency(one) for one in self.offers})
        thrifty = [
            (least, whole._offering([one for one in self.offers if _efficiency(one) >= least]))
            for least in efficiencies
        ]
        return replace(whole, thrifty=tuple(thrifty))

    def _offering(self, offers: Sequence[Offer]) -> "Outlook":
        seconds = [(self.total_s(one.option), one) for one in offers]
        totals_s = sorted(total_s for total_s, _ in seconds)
        reached = [tuple(one for s, one in seconds if s <= total_s) for total_s in totals_s]
        return replace(self, offers=tuple(offers), totals_s=tuple(totals_s), reached=((), *reached))

    def by_efficiency(self, least: float) -> "Outlook":
        """The same without degrees of a lower efficiency; the most efficient one stays."""
        if not self.thrifty:
            return self
        enough = (outlook for efficiency, outlook in self.thrifty if efficiency >= least)
        return next(enough, self.thrifty[-1][1])

    def total_s(self, option: Option | None) -> float:
        """Seconds until the request is done, at the 90 % quantile, if it starts at this degree."""
        if option is None or not self.is_known:
            return 0.0
        margin_s = hypot(option.q90_s - option.mean_s, self.rest_margin_s)
        return option.mean_s + self.rest_s + margin_s

    @property
    def fastest_s(self) -> float:
        """Seconds until it is done by its fastest degree, at the 90 % quantile."""
        return self.totals_s[0] if self.totals_s else 0.0


def _efficiency(offer: Offer) -> float:
    assert offer.option is not None, "known outlooks have known options"
    return offer.option.efficiency


class Outlooks:
    """Outlooks by class; all are forgotten when other kinds are there, or costs change."""

    def __init__(self, cost: CostModel, offers: Offers, store: str) -> None:
        """Nothing is known yet.

        Args:
            cost: says what hand-offs take.
            offers: what the fleet can do.
            store: that hand-offs are assumed to go through.
        """
        self._cost, self._offers, self._store = cost, offers, store
        self._version = offers.options.version
        self._kinds: tuple[tuple[Kind, ...], ...] = ()
        self._kept: dict[ClassKey, Outlook] = {}

    def of(self, state: State, key: ClassKey, journey: Journey) -> Outlook:
        """The outlook of a class, of which `journey` is a member."""
        kinds, version = state.roster.kinds_by_stage, self._offers.options.version
        if kinds is not self._kinds or version != self._version or len(self._kept) > _KEPT:
            self._kept.clear()
            self._kinds, self._version = kinds, version
        known = None if key.excluded else self._kept.get(key)
        if known is None:
            known = self._kept[key] = self._look(state, journey)
        return known

    def _look(self, state: State, journey: Journey) -> Outlook:
        offers = self._offers.of(state, journey)
        if not offers or any(offer.option is None for offer in offers):
            return Outlook(offers=offers)
        rest_s, margin_s, stage = 0.0, 0.0, journey.stage
        while (following := stage.next) is not None:
            fastest = self._fastest(state, journey, following)
            if fastest is None:
                return Outlook(offers=offers)
            rest_s += fastest.mean_s + self._handoff_s(journey, stage)
            margin_s = hypot(margin_s, fastest.q90_s - fastest.mean_s)
            stage = following
        best = k_star(tuple(offer.option for offer in offers if offer.option is not None))
        outlook = Outlook(
            offers=offers,
            rest_s=rest_s,
            rest_margin_s=margin_s,
            best_s=rest_s + (best.mean_s if best is not None else 0.0),
            is_known=True,
        )
        return outlook.completed()

    def _fastest(self, state: State, journey: Journey, stage: Stage) -> Option | None:
        """A later stage at its fastest; None where nobody hosts it, or its time is unknown."""
        later = replace(journey, stage=stage, excluded=frozenset())
        options = [offer.option for offer in self._offers.of(state, later)]
        known = [option for option in options if option is not None]
        return min(known, key=lambda one: one.q90_s) if len(known) == len(options) > 0 else None

    def _handoff_s(self, journey: Journey, stage: Stage) -> float:
        demand = journey.demand
        nbytes = self._cost.profile.handoff_bytes(stage, demand.shape) * demand.pictures(stage)
        return self._cost.handoff_s(self._store, nbytes) if nbytes else 0.0
