"""On how many devices a stage could run, and what each choice costs: what degree policies compare.

A cost model answers call by call; policies compare degrees for every request that waits, over and
over. So the answers are kept, for as long as the cost model has not learnt anything (`version`).

What is unknown is absent: an empty tuple says that nothing is known, and whoever asked must do
without an estimate (one device, or the widest strategy). Nothing here is ever guessed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from tridentserve.domain.profiles import Estimate
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey

EFFICIENT = 0.8
"""Share of the ideal speed-up that a degree must reach (paper section 1.5, C0)."""
_ROUNDING = 1e-9
_KEPT = 8192
"""Answers beyond which all are forgotten: callers choose the shapes."""


class Costs(Protocol):
    """What is asked of a cost model."""

    @property
    def version(self) -> int:
        """Grows whenever an answer may have changed."""
        ...

    def estimate(
        self,
        stage: Stage,
        shape: Shape,
        steps: int,
        fraction_percent: int,
        batch: int = 1,
        *,
        strategy: Strategy = SINGLE,
    ) -> Estimate | None:
        """Seconds of one call; None where nothing is known."""
        ...

    def strategies(self, stage: Stage, shape: Shape) -> Iterable[Strategy]:
        """Strategies that something is known of."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One degree, by the fastest strategy of as many devices."""

    strategy: Strategy
    degree: int
    mean_s: float
    q90_s: float
    device_s: float
    """Devices times seconds: what it costs the cluster."""


class Options:
    """The choices of every stage and shape; kept until the cost model changes."""

    def __init__(self, cost: Costs) -> None:
        """Ask this cost model, which others correct."""
        self._cost = cost
        self._version = cost.version
        self._kept: dict[object, tuple[Option, ...]] = {}

    def of(
        self, kind: Kind, stage: Stage, shape: Shape, steps: int, batch: int = 1
    ) -> tuple[Option, ...]:
        """What one worker of a kind could do, by degree; empty where nothing is known.

        Args:
            kind: whose strategies and devices bound the choice.
            stage: what is to run.
            shape: of the request.
            steps: that are left to do; only diffuse looks at them.
            batch: requests in the call.
        """
        known = self._known(key := (kind, stage, shape, steps, batch))
        if known is None:
            fitting = (one for one in kind.strategies if one.degree <= kind.devices)
            known = self._compare(fitting, stage, shape, steps, kind.fraction_percent, batch)
            self._kept[key] = known
        return known

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

    def anywhere(self, stage: Stage, shape: Shape, steps: int) -> tuple[Option, ...]:
        """What could be done on whole devices, whoever is up: every strategy that is known of."""
        known = self._known(key := (stage, shape, steps))
        if known is None:
            strategies = dict.fromkeys((SINGLE, *self._cost.strategies(stage, shape)))
            known = self._compare(strategies, stage, shape, steps, 100, 1)
            self._kept[key] = known
        return known

    def remaining_s(self, journey: Journey) -> float | None:
        """Seconds of the stages that are not done, each at its own k*; None where one is unknown.

        Hand-offs and waiting come on top; a stage that runs counts in full.
        """
        demand, total = journey.demand, 0.0
        for stage in STAGES[STAGES.index(journey.stage) :]:
            best = k_star(self.anywhere(stage, demand.shape, demand.steps))
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

    def _compare(
        self,
        strategies: Iterable[Strategy],
        stage: Stage,
        shape: Shape,
        steps: int,
        fraction_percent: int,
        batch: int,
    ) -> tuple[Option, ...]:
        found = []
        for strategy in strategies:
            estimate = self._cost.estimate(
                stage, shape, steps, fraction_percent, batch, strategy=strategy
            )
            if estimate is not None:
                found.append(_option(strategy, estimate))
        return _fastest(found)


def efficient(options: tuple[Option, ...], threshold: float = EFFICIENT) -> tuple[Option, ...]:
    """Those whose speed-up over the least degree is at least so much of the ideal one.

    That is (t1 / tk) / k >= threshold (paper section 1.5). The least degree always passes, so the
    answer is empty only where `options` is (section 5.6: filters that leave nothing starve).
    """
    if not options:
        return ()
    most_s = options[0].device_s / threshold
    return tuple(
        option
        for option in options
        if option is options[0] or option.device_s <= most_s * (1 + _ROUNDING)
    )


def k_star(options: tuple[Option, ...], threshold: float = EFFICIENT) -> Option | None:
    """The largest degree that is still efficient; None where nothing is known."""
    return max(efficient(options, threshold), key=lambda one: one.degree, default=None)


def at_degree(options: tuple[Option, ...], degree: int) -> Option | None:
    """The option of exactly so many devices."""
    return next((option for option in options if option.degree == degree), None)


def _option(strategy: Strategy, estimate: Estimate) -> Option:
    return Option(
        strategy=strategy,
        degree=strategy.degree,
        mean_s=estimate.mean_s,
        q90_s=estimate.q90_s,
        device_s=strategy.degree * estimate.mean_s,
    )


def _fastest(options: Iterable[Option]) -> tuple[Option, ...]:
    """The fastest of each degree, by degree; the first of equals."""
    best: dict[int, Option] = {}
    for option in options:
        known = best.get(option.degree)
        if known is None or option.mean_s < known.mean_s:
            best[option.degree] = option
    return tuple(best[degree] for degree in sorted(best))
