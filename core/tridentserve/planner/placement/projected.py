"""Placements that put workers of several devices and stages on nodes (`planner.projection`).

A DiffusionPipeline cannot have them before its stages can be co-located; the simulator runs them.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tridentserve.planner.placement.bucketed import Bucketed, BucketedStages
from tridentserve.planner.placement.class_partition import ClassPartition
from tridentserve.planner.placement.colocated import Colocated
from tridentserve.planner.placement.joint import Joint
from tridentserve.planner.placement.orchestrator import Orchestrator
from tridentserve.planner.placement.static_split import StaticSplit
from tridentserve.planner.protocols import PlacementPlanner

PROJECTED: Mapping[str, Callable[[], PlacementPlanner]] = MappingProxyType(
    {
        "Bucketed": Bucketed,
        "BucketedStages": BucketedStages,
        "ClassPartition": ClassPartition,
        "Colocated": Colocated,
        "Joint": Joint,
        "Orchestrator": Orchestrator,
        "StaticSplit": StaticSplit,
    }
)
"""Each by its name, with its default settings and nothing remembered."""
