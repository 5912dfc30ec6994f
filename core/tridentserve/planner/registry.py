"""Planners by the names that a DiffusionPipeline uses."""

from tridentserve.planner.cost import CostModel
from tridentserve.planner.protocols import DispatchPlanner, PlacementPlanner

PLACEMENT_NAMES = ("Proportional", "Static")
"""Values of `spec.planner.placement`."""

DISPATCH_NAMES = ("EarliestDeadline", "Fifo")
"""Values of `spec.planner.dispatch`."""


def placement_planner(name: str) -> PlacementPlanner:
    """The placement planner of this name.

    Raises:
        ValueError: there is none.
    """
    raise NotImplementedError


def dispatch_planner(name: str, cost: CostModel) -> DispatchPlanner:
    """The dispatch planner of this name; it reads `cost`, which its driver corrects.

    Raises:
        ValueError: there is none.
    """
    raise NotImplementedError
