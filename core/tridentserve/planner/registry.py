"""Planners by the names that a DiffusionPipeline or a scenario uses.

The custom resource offers only what works in production today; the simulator has all of them,
those of the paper's comparison among them. Placements that tell classes apart are not offered:
they ask for the arrivals of every class, the devices of every node and stages that share workers,
none of which an operator has.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.baselines import BASELINES
from tridentserve.planner.dispatch.deadline_aware import DeadlineAware
from tridentserve.planner.dispatch.earliest_deadline import EarliestDeadline
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.planner.dispatch.modern import MODERN
from tridentserve.planner.dispatch.shortest_remaining import ShortestRemaining
from tridentserve.planner.placement.projected import PROJECTED
from tridentserve.planner.placement.proportional import Proportional
from tridentserve.planner.placement.static import Static
from tridentserve.planner.protocols import DispatchPlanner, PlacementPlanner

_PLACEMENT: Mapping[str, Callable[[], PlacementPlanner]] = MappingProxyType(
    {"Proportional": Proportional, "Static": Static}
)

_DISPATCH: Mapping[str, Callable[[CostModel], DispatchPlanner]] = MappingProxyType(
    {
        "DeadlineAware": DeadlineAware,
        "EarliestDeadline": EarliestDeadline,
        "Fifo": Fifo,
        "ShortestRemaining": ShortestRemaining,
    }
)
"""Those that production offers."""

_POLICIES: Mapping[str, Callable[[CostModel], DispatchPlanner]] = MappingProxyType(
    {**_DISPATCH, **BASELINES, **MODERN}
)

PLACEMENT_NAMES: tuple[str, ...] = tuple(_PLACEMENT)
"""Values of `spec.planner.placement`."""

PLACEMENT_POLICIES: tuple[str, ...] = (*_PLACEMENT, *PROJECTED)
"""Every placement planner there is, for the simulator; `PLACEMENT_NAMES` among them."""

DISPATCH_NAMES: tuple[str, ...] = tuple(_DISPATCH)
"""Values of `spec.planner.dispatch`."""

DISPATCH_POLICIES: tuple[str, ...] = tuple(_POLICIES)
"""Every dispatch planner there is, for the simulator; `DISPATCH_NAMES` among them."""


def placement_planner(name: str) -> PlacementPlanner:
    """The placement planner of this name.

    Raises:
        ValueError: there is none, or what it needs is not installed.
    """
    make = {**_PLACEMENT, **PROJECTED}.get(name)
    if make is None:
        raise ValueError(
            f"no placement planner {name!r}; there are {', '.join(PLACEMENT_POLICIES)}"
        )
    try:
        return make()
    except ImportError as error:
        raise ValueError(f"{name}: {error}") from None


def dispatch_planner(name: str, cost: CostModel) -> DispatchPlanner:
    """The dispatch planner of this name; it reads `cost`, which its driver corrects.

    Raises:
        ValueError: there is none, or what it needs is not installed.
    """
    make = _POLICIES.get(name)
    if make is None:
        there = ", ".join(DISPATCH_POLICIES)
        raise ValueError(f"no dispatch planner {name!r}; there are {there}")
    try:
        return make(cost)
    except ImportError as error:
        raise ValueError(f"{name}: {error}") from None
