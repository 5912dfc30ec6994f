"""A contender: dispatch and placement with all settings, as data that can be hashed and sent.

Names alone would not do: a setting that changes must change what a kept result is filed under.
`canonical` is that text; it names functions and never where they lie in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum

from tridentserve.domain.stages import Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.deadline_aware import DeadlineAware
from tridentserve.planner.dispatch.desk import Settings
from tridentserve.planner.dispatch.earliest_deadline import EarliestDeadline
from tridentserve.planner.dispatch.ilp import Ilp, IlpSettings
from tridentserve.planner.dispatch.ordered import Rules
from tridentserve.planner.dispatch.shortest_remaining import ShortestRemaining
from tridentserve.planner.placement.colocated import Colocated, ColocatedSettings
from tridentserve.planner.placement.joint import Joint, JointSettings
from tridentserve.planner.placement.orchestrator import Orchestrator, OrchestratorSettings
from tridentserve.planner.placement.static_split import StaticSplit, StaticSplitSettings
from tridentserve.planner.protocols import DispatchPlanner, PlacementPlanner
from tridentserve.planner.registry import dispatch_planner, placement_planner
from tridentserve.sim.experiment import SOLVER, SOLVER_FREE
from tridentserve.sim.scenario import DecisionPart


@dataclass(frozen=True, slots=True, kw_only=True)
class ByDeadline:
    """`EarliestDeadline` with rules of its own."""

    rules: Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class ByRemaining:
    """`ShortestRemaining` with rules of its own."""

    rules: Rules
    ageing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A policy of the registry with other settings than its usual ones."""

    policy: Callable[..., DispatchPlanner]
    settings: tuple[tuple[str, object], ...]
    """Arguments by name."""


DispatchChoice = str | IlpSettings | Settings | ByDeadline | ByRemaining | Tuned
PlacementChoice = (
    str | ColocatedSettings | OrchestratorSettings | JointSettings | StaticSplitSettings
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One policy of the comparison."""

    name: str
    dispatch: DispatchChoice
    placement: PlacementChoice
    devices: tuple[tuple[Stage, int], ...] = ()
    """Of one worker, by stage, where the placement planner is told so."""
    charged: DecisionPart | None = None
    """In place of what decisions of its kind are charged."""

    @property
    def decision(self) -> DecisionPart:
        """What its decisions cost in simulated seconds: those with a solver cost more."""
        usual = SOLVER if isinstance(self.dispatch, IlpSettings) else SOLVER_FREE
        return self.charged or usual


def dispatch_of(choice: DispatchChoice) -> Callable[[CostModel], DispatchPlanner]:
    """How to make the dispatch planner of a choice.

    Raises:
        ValueError: no planner has that name.
    """
    match choice:
        case str():
            return lambda cost: dispatch_planner(choice, cost)
        case IlpSettings():
            return lambda cost: Ilp(cost, choice)
        case Settings():
            return lambda cost: DeadlineAware(cost, choice)
        case ByDeadline():
            return lambda cost: EarliestDeadline(cost, choice.rules)
        case ByRemaining():
            return lambda cost: ShortestRemaining(cost, choice.rules, ageing=choice.ageing)
        case Tuned():
            return lambda cost: choice.policy(cost, **dict(choice.settings))


def placement_of(choice: PlacementChoice) -> tuple[str, Callable[[], PlacementPlanner]]:
    """The registered name of a placement, and how to make its planner.

    Raises:
        ValueError: no planner has that name.
    """
    match choice:
        case str():
            return choice, lambda: placement_planner(choice)
        case ColocatedSettings():
            return "Colocated", lambda: Colocated(choice)
        case OrchestratorSettings():
            return "Orchestrator", lambda: Orchestrator(choice)
        case JointSettings():
            return "Joint", lambda: Joint(choice)
        case StaticSplitSettings():
            return "StaticSplit", lambda: StaticSplit(choice)


def canonical(value: object) -> str:
    """A text that is equal for equal values, in every process.

    >>> canonical((1, "a", max))
    "(1, 'a', max)"
    """
    if is_dataclass(value) and not isinstance(value, type):
        parts = (f"{one.name}={canonical(getattr(value, one.name))}" for one in fields(value))
        return f"{type(value).__name__}({', '.join(parts)})"
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(canonical, value))})"
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    return repr(value)
