"""On how many devices a stage could run, and what each choice costs: what degree policies compare.

A cost model answers call by call; policies compare degrees for every request that waits, over and
over. So the answers are kept, for as long as the cost model has not learnt anything (`version`).

What does not fit a device's memory is left out, and what is unknown is absent: an empty tuple says
that there is nothing to compare, because nothing is known or because nothing fits (`fits` tells
them apart; `offers` puts both into words that a policy can act on).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tridentserve.domain.profiles import Estimate
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.memory import held, most
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey

EFFICIENT = 0.8
"""Share of the ideal speed-up that a degree must reach (paper section 1.5, C0)."""
_ROUNDING = 1e-9
_KEPT = 8192
"""Answers beyond which all are forgotten: callers choose the shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One degree, by the fastest strategy of as many devices."""

    strategy: Strategy
    degree: int
    mean_s: float
    q90_s: float
    device_s: float
    """Devices times seconds: what it costs the cluster."""
    efficiency: float = 1.0
    """Share of the ideal speed-up over one device: (t1 / tk) / k."""


class Options:
    """The choices of every stage and shape; kept until the cost model changes."""

    def __init__(self, cost: CostModel) -> None:
        """Ask this cost model, which others correct."""
        self._cost = cost
        self._version = cost.version
        self._kept: dict[object, tuple[Option, ...]] = {}

    @property
    def version(self) -> int:
        """Grows whenever an answer may have changed, for who keeps answers made of these."""
        return self._cost.version

    def of(
        self, kind: Kind, stage: Stage, shape: Shape, steps: int, batch: int = 1
    ) -> tuple[Option, ...]:
        """What one worker of a kind could do, by degree.

        Args:
            kind: whose strategies, devices and resident stages bound the choice.
            stage: what is to run.
            shape: of the request.
            steps: that are left to do; only diffuse looks at them.
            batch: pictures in the call.
        """
        known = self._known(key := (kind, stage, shape, steps, batch))
        if known is None:
            chosen = self._strategies(kind, stage, shape)
            call = (stage, shape, steps, kind.fraction_percent, batch)
            known = self._compare(chosen, call, held(self._cost.profile, kind.capable, stage))
            self._kept[key] = known
        return known

    def exactly(
        self, kind: Kind, stage: Stage, shape: Shape, steps: int, batch: int, strategy: Strategy
    ) -> Option | None:
        """One strategy, though another of as many devices may be faster.

        None where the kind has it not, its cost is unknown, or the memory is too small for it.
        """
        known = self._known(key := (kind, stage, shape, steps, batch, strategy))
        if known is None:
            chosen = [one for one in self._strategies(kind, stage, shape) if one == strategy]
            call = (stage, shape, steps, kind.fraction_percent, batch)
            known = self._compare(chosen, call, held(self._cost.profile, kind.capable, stage))
            self._kept[key] = known
        return known[0] if known else None

    def over(
        self, kinds: Iterable[Kind], stage: Stage, shape: Shape, steps: int, batch: int = 1
    ) -> tuple[Option, ...]:
        """What workers of any of these kinds could do, by degree."""
        kinds = tuple(kinds)
        if len(kinds) == 1:
            return self.of(kinds[0], stage, shape, steps, batch)
        known = self._known(key := (kinds, stage, shape, steps, batch))
        if known is None:
            known = _fastest(
                option for kind in kinds for option in self.of(kind, stage, shape, steps, batch)
            )
            self._kept[key] = known
        return known

    def anywhere(
        self, stage: Stage, shape: Shape, steps: int, batch: int = 1
    ) -> tuple[Option, ...]:
        """What could be done on whole devices, whoever is up: every strategy that is known of."""
        known = self._known(key := (stage, shape, steps, batch))
        if known is None:
            strategies = self._cost.strategies(stage, shape)
            call = (stage, shape, steps, 100, batch)
            known = self._compare(strategies, call, frozenset((stage,)))
            self._kept[key] = known
        return known

    def fits(self, kind: Kind, stage: Stage, shape: Shape, batch: int = 1) -> bool:
        """Whether a worker of a kind has the memory for some strategy, as far as is known."""
        if self.of(kind, stage, shape, 1, batch) or not self._strategies(kind, stage, shape):
            return True
        return self._cost.estimate(stage, shape, 1, kind.fraction_percent, batch) is None

    def most(self, kind: Kind, journey: Journey, degree: int) -> int:
        """Requests like a journey's in one call on so many devices, by memory; `slots` at most."""
        demand, stage = journey.demand, journey.stage
        if kind.slots < 2:
            return kind.slots
        batch = demand.pictures(stage)
        options = self.of(kind, stage, demand.shape, demand.steps, batch)
        option = at_degree(options, degree)
        strategy = SINGLE if option is None else option.strategy
        call = (stage, demand.shape, strategy)
        return most(self._cost, kind.capable, *call, pictures=batch, slots=kind.slots)

    def remaining_s(self, journey: Journey) -> float | None:
        """Seconds of the stages that are not done, each at its own k*; None where one is unknown.

        Hand-offs and waiting come on top; a stage that runs counts in full.
        """
        demand, total = journey.demand, 0.0
        for stage in STAGES[STAGES.index(journey.stage) :]:
            call = (stage, demand.shape, demand.steps, demand.pictures(stage))
            best = k_star(self.anywhere(*call))
            if best is None:
                return None
            total += best.mean_s
        return total

    def _known(self, key: object) -> tuple[Option, ...] | None:
        version = self._cost.version
        if version != self._version or len(self._kept) > _KEPT:
            self._kept.clear()
            self._version = version
        return self._kept.get(key)

    def _strategies(self, kind: Kind, stage: Stage, shape: Shape) -> list[Strategy]:
        """Those of a kind that something is known of."""
        known = self._cost.strategies(stage, shape)
        return [one for one in kind.strategies if one.degree <= kind.devices and one in known]

    def _compare(
        self,
        strategies: Iterable[Strategy],
        call: tuple[Stage, Shape, int, int, int],
        held: frozenset[Stage],
    ) -> tuple[Option, ...]:
        single = self._cost.estimate(*call)
        profile = self._cost.profile
        weights = sum(profile.weights(stage) for stage in held)
        found = []
        for strategy in strategies:
            estimate = self._cost.estimate(*call, strategy=strategy)
            if estimate is None or single is None:
                continue
            if not profile.usable_bytes or weights + estimate.peak_bytes <= profile.usable_bytes:
                found.append(_option(strategy, estimate, single))
        return _fastest(found)


def efficient(options: tuple[Option, ...], threshold: float = EFFICIENT) -> tuple[Option, ...]:
    """Those that reach so much of the ideal speed-up; where none does, the least degree.

    That is (t1 / tk) / k >= threshold (paper section 1.5). The answer is empty only where
    `options` is: filters that leave nothing starve whole classes (section 3.6).
    """
    found = tuple(one for one in options if one.efficiency >= threshold - _ROUNDING)
    return found or options[:1]


def k_star(options: tuple[Option, ...], threshold: float = EFFICIENT) -> Option | None:
    """The largest degree that is still efficient; None where there is nothing to choose from."""
    return max(efficient(options, threshold), key=lambda one: one.degree, default=None)


def at_degree(options: tuple[Option, ...], degree: int) -> Option | None:
    """The option of exactly so many devices."""
    return next((option for option in options if option.degree == degree), None)


def _option(strategy: Strategy, estimate: Estimate, single: Estimate) -> Option:
    device_s = strategy.degree * estimate.mean_s
    return Option(
        strategy=strategy,
        degree=strategy.degree,
        mean_s=estimate.mean_s,
        q90_s=estimate.q90_s,
        device_s=device_s,
        efficiency=single.mean_s / device_s if device_s > 0 else 1.0,
    )


def _fastest(options: Iterable[Option]) -> tuple[Option, ...]:
    """The fastest of each degree, by degree; the first of equals."""
    best: dict[int, Option] = {}
    for option in options:
        known = best.get(option.degree)
        if known is None or option.mean_s < known.mean_s:
            best[option.degree] = option
    return tuple(best[degree] for degree in sorted(best))
