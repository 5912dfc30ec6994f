"""One request at a time: at which degree it starts now, and where; or that it waits.

It joins the mechanisms of `DeadlineAware` for a single request, and takes the place on the floor.
What they are for stands in their own modules. Mechanism 3 is here in a line: where workers hold
several devices, a call goes where it breaks the fewest groups that wider calls could use, also away
from its input (latents of a few megabytes; paper section 5.7). Groups are broken in time as well:
before that, it goes where it puts off the least the moment when the whole worker is vacant, so that
long calls gather, and short ones end under their cover. Where every worker holds one device there
is nothing to break, and a call stays with its input.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from tridentserve.domain.dispatch import WakeAt
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.clearing import Clearing
from tridentserve.planner.dispatch.degrees import Scene, Widest
from tridentserve.planner.dispatch.fits import fewest_blocks_broken, tightest
from tridentserve.planner.dispatch.guests import least_missed
from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.options import Option
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.dispatch.pricing import Pricing, saves_s, worth
from tridentserve.planner.dispatch.queues import Queue
from tridentserve.planner.dispatch.redecision import Redecision
from tridentserve.planner.dispatch.reservation import Drains, Reservation
from tridentserve.planner.dispatch.search import Prefer
from tridentserve.planner.dispatch.thrift import Thrift
from tridentserve.planner.dispatch.urgency import PATIENCE, Lateness, Tier, Turn
from tridentserve.planner.dispatch.water_filling import WaterFilling, raises
from tridentserve.planner.dispatch.workers import eligible
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The mechanisms of `DeadlineAware`; None or False switches one off."""

    pricing: Pricing | None = field(default_factory=Pricing)
    reservation: Reservation | None = field(default_factory=Reservation)
    defragmentation: bool = True
    nesting: bool = True
    """Whether such a call goes, before that, where it puts off the least when all is vacant."""
    water_filling: WaterFilling | None = field(default_factory=WaterFilling)
    thrift: Thrift | None = field(default_factory=Thrift)
    redecision: Redecision | None = None
    """Off by default: the router does not carry resizes out."""
    mingling: bool = True
    """Whether what is late goes before what is on time and can wait for it (`urgency`), as long as
    `pricing` says that it is not crowded: in a crowd so many are late that nobody could wait."""
    by_ratio: bool = True
    """Whether those that are late go by their response ratio, or else by what they still need."""
    patience: float = PATIENCE
    """Times its remaining seconds that a request may be late before it goes before all others."""
    store: str = "redis"
    """What hand-offs are assumed to go through."""


class Desk:
    """Degrees and places, within one decision."""

    def __init__(
        self, settings: Settings, scene: Scene, clearing: Clearing, waiting: int, now: float
    ) -> None:
        """Nothing is taken yet.

        Args:
            settings: which mechanisms are on.
            scene: what is there.
            clearing: when its devices clear.
            waiting: how many requests wait, of any stage.
            now: Unix time.
        """
        self._settings, self._scene, self._clearing, self._now = settings, scene, clearing, now
        kinds = scene.state.roster.kinds(Stage.DIFFUSE)
        self._drains: Drains | None = None
        if settings.reservation is not None:
            workers = sum(kind.size for kind in kinds)
            self._drains = Drains(settings.reservation, clearing, now, workers)
        devices = sum(kind.size * kind.devices for kind in kinds)
        self.waiting = waiting
        """Requests that have no place yet."""
        self.urgent: Offer | None = None
        """The least degree of the most urgent request that soon is late and has no place."""
        self._failed: set[tuple[Queue, int]] = set()
        """Degrees that a class found no place for: nothing becomes free within a decision."""
        self._closed: dict[tuple[tuple[Kind, ...], int], float] = {}
        """Of kinds and degrees, the least seconds for which `_is_closed`: longer calls fit nowhere
        either, nor will they later in this decision."""
        self._patient_s = self._held_s = inf
        """When the request at hand would take a smaller degree; the first of those held back."""
        self._price, self._hurries = _pressure(settings.pricing, scene.state, devices)
        self.lateness = Lateness(
            patience=settings.patience,
            mingling=settings.mingling and self._hurries,
            by_ratio=settings.by_ratio,
        )
        """What becomes of those that are late, for now."""
        others = scene.state.queue_length(Stage.DIFFUSE) - 1
        self.thrift = (
            0.0 if settings.thrift is None else settings.thrift.efficiency(others, devices)
        )
        """The least efficiency of a degree, for now."""
        self._forgets = settings.redecision is None and not self._hurries
        """Whether who has no place leaves nothing behind but a node that is kept for it."""

    def place(self, journey: Journey, turn: Turn) -> tuple[Place, Offer] | None:
        """Where a request starts and at which degree; the place is taken.

        Args:
            journey: waits.
            turn: its own.
        """
        self._patient_s = inf
        offers, on_time = turn.outlook.offers, turn.outlook.within(turn.due_s - self._now)
        passed_over = self._forgets and turn.outlook.is_known
        if passed_over and self._is_hopeless(turn.queue, on_time or offers):
            self._blocked(journey, turn, on_time)
            return None
        for offer in self._choices(journey, turn, on_time):
            attempt = (turn.queue, offer.degree)
            place = None if attempt in self._failed else self._find(journey, offer)
            if place is not None:
                break
            self._failed.add(attempt)
        else:
            self._blocked(journey, turn, on_time)
            self._held_s = min(self._held_s, self._patient_s)
            return None
        # Nobody else waits, so idle devices are of no other use.
        is_last = self.waiting == 1
        if is_last and turn.outlook.is_known and self._settings.water_filling is not None:
            for larger in raises(offers, offer, self._settings.water_filling):
                wider = self._find(journey, larger)
                if wider is None:
                    break
                place, offer = wider, larger
        self._scene.floor.take(place, journey)
        self.waiting -= 1
        self._clearing.took(place, offer.option)
        if self._drains is not None:
            self._drains.took(place, offer.option)
        return place, offer

    def held(self) -> Iterator[WakeAt]:
        """When the first that is held back will have waited long enough, if anybody is."""
        if self._held_s < inf:
            yield WakeAt(at_s=self._held_s, reason="DeadlineAware: takes fewer devices then")

    def is_vain(self, turn: Turn, more: int) -> bool:
        """Whether nobody after this one, which has no place, can be given anything in its class.

        Either every degree was looked for in vain, and those after it have more time, so that a
        node that is not kept for this one is not kept for them. Or nobody is held back, and neither
        a place nor a node is left for what the last of those that would be tried can take.

        Args:
            turn: of a class whose members choose.
            more: how many more of them would be tried.
        """
        queue, outlook = turn.queue, turn.outlook
        if all((queue, one.degree) in self._failed for one in outlook.offers):
            on_time = outlook.within(turn.due_s - self._now)
            return self._drains is None or not on_time or not self._drains.would_keep(on_time[0])
        if not self._forgets:
            return False
        on_time = outlook.within(turn.due_after_s(more) - self._now)
        if not self._is_hopeless(queue, on_time):
            return False
        return self._drains is None or not any(self._drains.would_keep(one) for one in on_time)

    def _is_hopeless(self, queue: Queue, offers: Sequence[Offer]) -> bool:
        """Whether there are degrees and none can have a place, as far as is cheap to see."""
        for one in offers:
            if (queue, one.degree) not in self._failed and not self._is_closed(one):
                return False
        return bool(offers)

    def _blocked(self, journey: Journey, turn: Turn, on_time: Sequence[Offer]) -> None:
        least = on_time or (turn.outlook.offers if turn.tier is Tier.AGED else ())
        if least:
            self._keep(journey, least[0], has_aged=not on_time)
        if not on_time:
            return
        redecision = self._settings.redecision
        if redecision is not None and self.urgent is None:
            left_s = turn.due_s - self._now - turn.outlook.fastest_s
            if left_s < redecision.urgent_s:
                self.urgent = on_time[0]

    def _keep(self, journey: Journey, offer: Offer, *, has_aged: bool) -> None:
        """Have a node drained that it may use, and will not have to leave to a scarcer stage."""
        if self._drains is None or not self._drains.would_keep(offer, has_aged=has_aged):
            return
        roster, kinds, excluded = self._scene.state.roster, offer.kinds, journey.excluded
        if excluded:
            kinds, excluded = eligible(roster, journey, kinds)
        kinds = least_missed(roster, kinds, journey.stage)
        self._drains.keep(offer if kinds == offer.kinds else replace(offer, kinds=kinds), excluded)

    def _choices(self, journey: Journey, turn: Turn, on_time: Sequence[Offer]) -> Sequence[Offer]:
        """Degrees that it takes, the best first."""
        if not turn.outlook.is_known:
            return Widest().choices(journey, self._scene)
        pricing = self._settings.pricing
        if on_time and turn.tier is not Tier.AGED:
            best = worth(self._prompt(journey, turn, on_time), pricing, self._price)
            return [best, *self._smaller(journey, best, on_time)]
        # Late anyway: whatever fits, so that it does not wait for a width that helps nobody. Its
        # price is no reason to make it later still, as long as devices are used well.
        offers = turn.outlook.offers
        first = worth(offers, None, self._price)
        return [first, *(one for one in reversed(offers) if one.degree < first.degree)]

    def _smaller(self, journey: Journey, best: Offer, on_time: Sequence[Offer]) -> list[Offer]:
        """Degrees that it takes where its best one has no place, the largest first.

        None while it has waited for less than the best one saves; all in a crowd, where devices
        that it leaves idle are what others wait for.
        """
        pricing, found = self._settings.pricing, []
        if pricing is None:
            return []
        patience = pricing.patience if self._hurries else 0.0
        for one in reversed(on_time):
            if one.degree < best.degree:
                until_s = journey.demand.arrived_s + patience * saves_s(one, best)
                if until_s <= self._now:
                    found.append(one)
                else:
                    self._patient_s = min(self._patient_s, until_s)
        return found

    def _prompt(self, journey: Journey, turn: Turn, on_time: Sequence[Offer]) -> Sequence[Offer]:
        """Those by which it is done in good time; all, where none is."""
        if self._settings.pricing is None or not self._hurries:
            return on_time
        stretched_s = self._settings.pricing.stretch * turn.outlook.best_s
        until_s = min(turn.due_s, journey.demand.arrived_s + stretched_s)
        return turn.outlook.within(until_s - self._now) or on_time

    def _find(self, journey: Journey, offer: Offer) -> Place | None:
        if self._is_closed(offer):
            return None
        option = offer.option
        spread = self._settings.defragmentation and any(one.devices > 1 for one in offer.kinds)
        spread = spread and option is not None
        return self._scene.floor.choose(
            journey,
            offer.degree,
            fit=fewest_blocks_broken if spread else tightest,
            near=not spread,
            prefer=self._covered(option) if spread and option is not None else None,
            barred=self._barred(offer),
            among=offer.kinds,
        )

    def _covered(self, option: Option) -> Prefer | None:
        """Where a call ends under the cover of others, the least sticking out first."""
        if not self._settings.nesting:
            return None
        return lambda name: self._clearing.puts_off_s(name, option)

    def _barred(self, offer: Offer) -> frozenset[WorkerId]:
        """Workers that are kept from it."""
        return frozenset() if self._drains is None else self._drains.barred(offer)

    def _is_closed(self, offer: Offer) -> bool:
        """Whether no worker that is not kept from it has the room; False may be wrong.

        Where calls have seats for others, or devices several holders, the floor has to look.
        """
        key = (offer.kinds, offer.degree)
        seconds = inf if offer.option is None else offer.option.q90_s
        least_s = self._closed.get(key)
        if least_s is not None and seconds >= least_s:
            return True
        if self._scene.state.roster.is_shared or any(kind.slots > 1 for kind in offer.kinds):
            return False
        if not any(any(kind.rooms[offer.degree :]) for kind in offer.kinds):
            self._closed[key] = 0.0
            return True
        if self._scene.floor.has_room(*key, self._barred(offer)):
            return False
        self._closed[key] = seconds
        return True


def _pressure(pricing: Pricing | None, state: State, devices: int) -> tuple[float, bool]:
    """The price of a device, and whether so few ask that the late are hurried as well."""
    if pricing is None:
        return 0.0, False
    requests = len(state.journeys) * pricing.scarcity(state.plan)
    return pricing.price(requests, devices), not pricing.is_crowded(requests, devices)
