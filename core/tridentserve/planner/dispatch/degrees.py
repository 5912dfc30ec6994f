"""On how many devices a request's stage runs: rules that do not look at deadlines.

A rule answers with offers, the one to try first in front: the first that has a place is taken, and
a request for which none has one waits. What is unknown is offered at a kind's widest strategy only,
so every rule takes that.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.options import EFFICIENT, Option, efficient
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a rule may look at during one decision."""

    state: State
    floor: Floor
    offers: Offers

    @staticmethod
    def of(state: State, offers: Offers) -> "Scene":
        """As a decision begins: nothing is taken yet, and batches are bounded by memory."""
        return Scene(state=state, floor=Floor(state, offers.options.most), offers=offers)


class DegreeRule(Protocol):
    """Which offers a request takes."""

    def choices(self, journey: Journey, scene: Scene) -> tuple[Offer, ...]:
        """Those that it takes, the best first; empty where it cannot run at all."""
        ...


@dataclass(frozen=True, slots=True)
class Widest:
    """All that a worker allows: the most devices of each kind, and never fewer."""

    def choices(self, journey: Journey, scene: Scene) -> tuple[Offer, ...]:
        """Each kind at its largest degree, the larger first."""
        seen: set[Kind] = set()
        found = []
        for offer in reversed(scene.offers.of(scene.state, journey)):
            kinds = tuple(kind for kind in offer.kinds if kind not in seen)
            seen.update(kinds)
            if kinds:
                found.append(replace(offer, kinds=kinds))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Fixed:
    """One degree for every request: the nearest below where it is not offered, else the least."""

    degree: int

    def choices(self, journey: Journey, scene: Scene) -> tuple[Offer, ...]:
        """That one."""
        offers = scene.offers.of(scene.state, journey)
        below = [offer for offer in offers if offer.degree <= self.degree]
        return tuple(below[-1:]) or offers[:1]


@dataclass(frozen=True, slots=True)
class KStar:
    """k*: the largest degree that is still efficient (paper section 1.5), waited for if need be."""

    threshold: float = EFFICIENT

    def choices(self, journey: Journey, scene: Scene) -> tuple[Offer, ...]:
        """That one."""
        return _efficient(scene.offers.of(scene.state, journey), self.threshold)[:1]


@dataclass(frozen=True, slots=True)
class LargestEfficientThatFits:
    """As many devices as are vacant and still efficient: nobody waits for more (section 5.3)."""

    threshold: float = EFFICIENT

    def choices(self, journey: Journey, scene: Scene) -> tuple[Offer, ...]:
        """The efficient ones, the largest first."""
        return _efficient(scene.offers.of(scene.state, journey), self.threshold)


def _efficient(offers: tuple[Offer, ...], threshold: float) -> tuple[Offer, ...]:
    """Efficient offers, the largest first; those of unknown cost last."""
    options = tuple(offer.option for offer in offers if offer.option is not None)
    chosen: set[Option] = set(efficient(options, threshold))
    known = [offer for offer in reversed(offers) if offer.option in chosen]
    return (*known, *(offer for offer in reversed(offers) if offer.option is None))
