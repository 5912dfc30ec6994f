"""Which degrees the workers offer a request, and which kinds of workers offer each.

`options` compares seconds; this adds who could do it. Kinds that the memory of the shape rules out
are left out. Where nothing is known of the cost, a kind offers its widest strategy, without an
estimate: that is how the first measurements come about.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tridentserve.domain.dispatch import Demand
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.dispatch.options import Option, Options, at_degree
from tridentserve.planner.dispatch.workers import eligible
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey, State

_KEPT = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One degree for one request's stage."""

    degree: int
    kinds: tuple[Kind, ...]
    """Those that offer it."""
    option: Option | None
    """The fastest of these kinds; None where the cost is unknown."""
    strategy: Strategy | None = None
    """The only one that may be used; None leaves it to each kind's fastest of this degree."""
    is_least: bool = False
    """Whether the request fits on no fewer devices."""


class Offers:
    """What workers offer, whether they are free or not; kept until fleet or costs change."""

    def __init__(self, options: Options) -> None:
        """Compare by these options."""
        self.options = options
        self._version = options.version
        self._kept: dict[object, tuple[Offer, ...]] = {}

    def of(self, state: State, journey: Journey) -> tuple[Offer, ...]:
        """Degrees that some worker could run the journey's stage on, ascending.

        Empty where no worker hosts the stage for it, or none has the memory.
        """
        demand, excluded = journey.demand, journey.excluded
        stage = self._stage(journey)
        kinds = state.roster.kinds(stage)
        # Who must not be used changes with the size of kinds, which is not part of the key. Who can
        # finish what has not begun depends on workers of other stages.
        content = state.roster.complete if journey.digest is None else journey.digest
        call = (stage, demand.shape, demand.steps, demand.pictures(stage))
        key = (kinds, demand.pipeline, content, call)
        if self._version != self.options.version or len(self._kept) > _KEPT:
            self._kept.clear()
            self._version = self.options.version
        known = None if excluded else self._kept.get(key)
        if known is None:
            fitting = (kind for kind in kinds if self._fits(kind, stage, demand))
            chosen, _ = eligible(state.roster, journey, fitting)
            known = self.among(chosen, *call)
            if not excluded:
                self._kept[key] = known
        return known

    def _stage(self, journey: Journey) -> Stage:
        """The stage whose degrees are offered."""
        return journey.stage

    def _fits(self, kind: Kind, stage: Stage, demand: Demand) -> bool:
        """Whether a kind may offer anything."""
        return self.options.fits(kind, stage, demand.shape, demand.pictures(stage))

    def among(
        self, kinds: Iterable[Kind], stage: Stage, shape: Shape, steps: int, batch: int = 1
    ) -> tuple[Offer, ...]:
        """Degrees that these kinds offer, ascending."""
        found: dict[int, list[tuple[Kind, Option | None]]] = {}
        for kind in kinds:
            if not self.options.fits(kind, stage, shape, batch):
                continue
            options = self.options.of(kind, stage, shape, steps, batch)
            for option in options:
                found.setdefault(option.degree, []).append((kind, option))
            if not options:
                found.setdefault(kind.widest.degree, []).append((kind, None))
        ascending = [_offer(degree, found[degree]) for degree in sorted(found)]
        return (replace(ascending[0], is_least=True), *ascending[1:]) if ascending else ()

    def strategy(self, kind: Kind, journey: Journey, degree: int) -> Strategy:
        """How a worker of a kind would use so many devices; its first strategy where unknown."""
        demand, stage = journey.demand, journey.stage
        batch = demand.pictures(stage)
        options = self.options.of(kind, stage, demand.shape, demand.steps, batch)
        option = at_degree(options, degree)
        if option is not None:
            return option.strategy
        return next((one for one in kind.strategies if one.degree == degree), kind.widest)


class WholeOffers(Offers):
    """The degrees of diffuse for all three stages, by workers that host them all (section 2.5).

    For pipelines that run as one block: encode and decode hold as many devices as diffuse though
    they gain nothing by it, and a request of which one stage does not fit in memory never starts.
    """

    def _stage(self, journey: Journey) -> Stage:
        return Stage.DIFFUSE

    def _fits(self, kind: Kind, stage: Stage, demand: Demand) -> bool:
        fits = super()._fits
        return kind.capable.issuperset(STAGES) and all(fits(kind, one, demand) for one in STAGES)


def _offer(degree: int, found: list[tuple[Kind, Option | None]]) -> Offer:
    options = [option for _, option in found if option is not None]
    return Offer(
        degree=degree,
        kinds=tuple(kind for kind, _ in found),
        option=min(options, key=lambda one: one.mean_s, default=None),
    )
