"""How calls could run: strategy, batch, seconds, and what each needs of every device.

Nothing is chosen here but the fastest strategy of a degree, and k*, the largest degree that still
uses its devices well (the paper's section 1.5).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tridentserve.domain.load import ClassRate
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel

EFFICIENCY = 0.8
"""Least share of a device's time that a group must keep, as in the published code (3.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How one call of one stage could run."""

    stage: Stage
    strategy: Strategy
    batch: int
    seconds: float
    """Of the call, all of its batch together."""
    peak_bytes: int
    """On each of its devices beside the weights."""

    @property
    def degree(self) -> int:
        """Devices that it runs on."""
        return self.strategy.degree

    @property
    def work_s(self) -> float:
        """Device-seconds of one request."""
        return self.seconds * self.degree / self.batch


def ways_of(cost: CostModel, rate: ClassRate, stage: Stage, batch: int, largest: int) -> list[Way]:
    """The fastest way of every degree that a node has the devices for."""
    fastest: dict[int, Way] = {}
    for strategy in (SINGLE, *cost.strategies(stage, rate.shape)):
        if strategy.degree > largest:
            continue
        found = cost.estimate(stage, rate.shape, rate.steps, 100, batch, strategy=strategy)
        if found is None or not 0 < found.mean_s < float("inf"):
            continue
        way = Way(
            stage=stage,
            strategy=strategy,
            batch=batch,
            seconds=found.mean_s,
            peak_bytes=found.peak_bytes,
        )
        best = fastest.setdefault(way.degree, way)
        if way.seconds < best.seconds:
            fastest[way.degree] = way
    return [fastest[degree] for degree in sorted(fastest)]


def efficient(ways: Iterable[Way], least: float = EFFICIENCY) -> Way | None:
    """The way of the largest degree that still uses its devices well (the paper's k*).

    Efficiency is against the cheapest of the smallest degree. None where there is no way at all.
    """
    single = [way for way in ways if way.batch == 1]
    if not single:
        return None
    base = min(single, key=lambda way: (way.degree, way.seconds))
    kept = [way for way in single if base.work_s >= least * way.work_s]
    return max(kept, key=lambda way: (way.degree, -way.seconds))


def best_s(ways: Sequence[Way]) -> float:
    """End-to-end seconds with diffuse at k* and nothing in the way; deadlines are told by it."""
    found = 0.0
    for stage in STAGES:
        own = [way for way in ways if way.stage is stage and way.batch == 1]
        best = efficient(own) if stage is Stage.DIFFUSE else None
        found += best.seconds if best else min((way.seconds for way in own), default=0.0)
    return found
