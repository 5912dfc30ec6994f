"""One request at a time: at which degree it starts now, and where; or that it waits.

It joins the mechanisms of `DeadlineAware` for a single request, and takes the place on the floor.
What they are for stands in their own modules. Mechanism 3 is here in a line: where workers hold
several devices, a call goes where it breaks the fewest groups that wider calls could use, also away
from its input (latents of a few megabytes; paper section 5.7). Where every worker holds one device
there is nothing to break, and a call stays with its input.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.degrees import Scene, Widest
from tridentserve.planner.dispatch.fits import fewest_blocks_broken, tightest
from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.dispatch.pricing import Pricing, worth
from tridentserve.planner.dispatch.queues import ClassKey
from tridentserve.planner.dispatch.redecision import Redecision
from tridentserve.planner.dispatch.reservation import Drains, Reservation
from tridentserve.planner.dispatch.urgency import PATIENCE, Tier, Turn
from tridentserve.planner.dispatch.water_filling import WaterFilling, raises
from tridentserve.planner.state import Journey


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The mechanisms of `DeadlineAware`; None or False switches one off."""

    pricing: Pricing | None = field(default_factory=Pricing)
    reservation: Reservation | None = field(default_factory=Reservation)
    defragmentation: bool = True
    water_filling: WaterFilling | None = field(default_factory=WaterFilling)
    redecision: Redecision | None = None
    """Off by default: the router does not carry resizes out."""
    patience: float = PATIENCE
    """Times its remaining seconds that a request may be late before it goes before all others."""
    store: str = "redis"
    """What hand-offs are assumed to go through."""


class Desk:
    """Degrees and places, within one decision."""

    def __init__(
        self, settings: Settings, scene: Scene, drains: Drains | None, waiting: int, now: float
    ) -> None:
        """Nothing is taken yet.

        Args:
            settings: which mechanisms are on.
            scene: what is there.
            drains: the nodes that are kept; None where none ever is.
            waiting: how many requests wait, of any stage.
            now: Unix time.
        """
        self._settings, self._scene, self._drains, self._now = settings, scene, drains, now
        kinds = scene.state.roster.kinds(Stage.DIFFUSE)
        devices = sum(kind.size * kind.devices for kind in kinds)
        self.waiting = waiting
        """Requests that have no place yet."""
        self.urgent: Offer | None = None
        """The least degree of the most urgent request that soon is late and has no place."""
        self._failed: set[tuple[ClassKey, int]] = set()
        """Degrees that a class found no place for: nothing becomes free within a decision."""
        self._price = 0.0
        self._hurries = False
        if settings.pricing is not None:
            requests = len(scene.state.journeys)
            self._price = settings.pricing.price(requests, devices)
            self._hurries = not settings.pricing.is_crowded(requests, devices)

    def place(self, journey: Journey, turn: Turn) -> tuple[Place, Offer] | None:
        """Where a request starts and at which degree; the place is taken.

        Args:
            journey: waits.
            turn: its own.
        """
        offers, on_time = turn.outlook.offers, self._on_time(turn)
        for offer in self._choices(journey, turn, on_time):
            attempt = (turn.queue.key, offer.degree)
            place = None if attempt in self._failed else self._find(journey, offer)
            if place is not None:
                break
            self._failed.add(attempt)
        else:
            self._blocked(turn, on_time)
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
        if self._drains is not None:
            self._drains.took(place, offer.option)
        return place, offer

    def _blocked(self, turn: Turn, on_time: Sequence[Offer]) -> None:
        if not on_time:
            return
        if self._drains is not None:
            self._drains.keep(on_time[0])
        redecision = self._settings.redecision
        if redecision is not None and self.urgent is None:
            left_s = turn.due_s - self._now - turn.fastest_s
            if left_s < redecision.urgent_s:
                self.urgent = on_time[0]

    def _on_time(self, turn: Turn) -> list[Offer]:
        if not turn.outlook.is_known:
            return []
        left_s = turn.due_s - self._now
        return [one for one in turn.outlook.offers if turn.outlook.total_s(one.option) <= left_s]

    def _choices(self, journey: Journey, turn: Turn, on_time: Sequence[Offer]) -> Sequence[Offer]:
        """Degrees that it takes, the best first."""
        if not turn.outlook.is_known:
            return Widest().choices(journey, self._scene)
        pricing = self._settings.pricing
        if on_time and turn.tier is not Tier.AGED:
            return [worth(self._prompt(journey, turn, on_time), pricing, self._price)]
        # Late anyway: whatever fits, so that it does not wait for a width that helps nobody.
        offers = turn.outlook.offers
        first = worth(offers, pricing, self._price)
        return [first, *(one for one in reversed(offers) if one.degree < first.degree)]

    def _prompt(self, journey: Journey, turn: Turn, on_time: Sequence[Offer]) -> Sequence[Offer]:
        """Those by which it is done in good time; all, where none is."""
        if self._settings.pricing is None or not self._hurries:
            return on_time
        stretched_s = self._settings.pricing.stretch * turn.outlook.best_s
        left_s = journey.demand.arrived_s + stretched_s - self._now
        return [one for one in on_time if turn.outlook.total_s(one.option) <= left_s] or on_time

    def _find(self, journey: Journey, offer: Offer) -> Place | None:
        if self._is_full(offer):
            return None
        spread = self._settings.defragmentation and any(one.devices > 1 for one in offer.kinds)
        spread = spread and offer.option is not None
        return self._scene.floor.choose(
            journey,
            offer.degree,
            fit=fewest_blocks_broken if spread else tightest,
            near=not spread,
            barred=self._drains.barred(offer) if self._drains is not None else frozenset(),
            among=offer.kinds,
        )

    def _is_full(self, offer: Offer) -> bool:
        """Whether no worker has as many devices, which is cheap to see; False may be wrong.

        Where calls have seats for others, or devices several holders, the floor has to look.
        """
        if self._scene.state.roster.is_shared or any(kind.slots > 1 for kind in offer.kinds):
            return False
        return not any(any(kind.rooms[offer.degree :]) for kind in offer.kinds)
