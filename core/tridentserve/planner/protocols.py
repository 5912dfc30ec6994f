"""What a planner is. Both kinds are pure: time comes in as `now`, reasons go out as values."""

from dataclasses import dataclass
from typing import Protocol

from tridentserve.domain.cluster import Cluster
from tridentserve.domain.dispatch import Action, Event
from tridentserve.domain.ids import Revision
from tridentserve.domain.load import Load
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.plans import PlacementPlan, PoolShape
from tridentserve.domain.profiles import Profile
from tridentserve.planner.cost import CostModel
from tridentserve.planner.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasible:
    """A pool that could not be had, and until when not to ask for it again."""

    shape: PoolShape
    revision: Revision
    """Of the spec for which it was asked: another may find what this one could not."""
    workers: int
    """Number of workers that was too many."""
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementInputs:
    """Everything a placement planner may look at."""

    spec: PipelineSpec
    load: Load
    cluster: Cluster
    previous: PlacementPlan | None
    """The plan in force; None at the first look."""
    profile: Profile | None
    """Stands in for what was never measured."""
    infeasible: tuple[Infeasible, ...]
    now: float
    cost: CostModel | None = None
    """What stages of every class and strategy take; None where only `load.seconds` is known."""


class PlacementPlanner(Protocol):
    """Decides where stages live (slow loop, in the operator)."""

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The placement that the load asks for, before the scaling discipline bounds its speed."""
        ...


class DispatchPlanner(Protocol):
    """Decides how each request travels (fast loop, in the router)."""

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """What to do now that `event` has been applied to `state`.

        Reads `state` only; the driver carries the actions out and applies them.
        """
        ...
