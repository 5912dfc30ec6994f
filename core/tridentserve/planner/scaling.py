"""How fast a plan may follow the load: the discipline between what is wanted and what is done."""

from dataclasses import dataclass

from tridentserve.domain.load import Load
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What the placement planner wanted at a moment."""

    at_s: float
    capacity_percent: int
    """Workers x fraction x devices, so that fractions can be compared."""
    fraction_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done at a moment."""

    at_s: float
    capacity_percent: int
    """Added; negative where it was taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMemory:
    """What one set of stages remembers; entries older than any window are forgotten."""

    stages: tuple[Stage, ...]
    recommendations: tuple[Recommendation, ...] = ()
    changes: tuple[Change, ...] = ()
    fraction_changed_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingMemory:
    """What the discipline remembers between two looks; losing it shrinks nothing early."""

    stages: tuple[StageMemory, ...] = ()


NO_MEMORY = ScalingMemory()


def bound(
    spec: PipelineSpec,
    wanted: PlacementPlan,
    previous: PlacementPlan | None,
    memory: ScalingMemory,
    load: Load,
    now: float,
) -> tuple[PlacementPlan, ScalingMemory]:
    """The plan to put in force now, and the memory for the next look."""
    raise NotImplementedError
