"""Everything everywhere: workers that host all three stages, on all devices of the cluster.

The usual deployment of pipelines that fit a device whole. With as many devices a worker as a node
has, dispatch chooses how wide each request runs; with fewer, the degree is fixed, which is the
paper's first baseline (2.5, B1). It asks neither the load nor whether the model fits.
"""

from dataclasses import dataclass

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.plans import PlacementPlan, Reason
from tridentserve.planner.placement.survey import grounds_of
from tridentserve.planner.projection import NodeLayout, Part, PlacementType, project
from tridentserve.planner.protocols import PlacementInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class ColocatedSettings:
    """How large a worker is."""

    devices: int | None = None
    """Devices of a worker, as many workers a node as there is room for; None takes whole nodes."""


class Colocated:
    """Workers of all stages on every node, whatever the load."""

    def __init__(self, settings: ColocatedSettings | None = None) -> None:
        """Keep the settings."""
        self.settings = settings or ColocatedSettings()

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The same plan for the same nodes."""
        layouts = []
        for ground in grounds_of(inputs):
            size = min(self.settings.devices or ground.devices, ground.devices)
            part = Part(type=PlacementType.EDC, devices=size, workers=ground.devices // size)
            layouts.append(NodeLayout(node=ground.node, parts=(part,)))
        capacity = {one.node: one.devices for one in grounds_of(inputs)}
        projection = project(layouts, capacity, (Sharing.EXCLUSIVE,))
        workers = sum(pool.workers for pool in projection.pools)
        message = f"{workers} workers of all stages on {sum(capacity.values())} devices"
        return PlacementPlan(
            pools=projection.pools,
            reasons=(Reason(code="Colocated", message=message),),
            limited=not projection.pools,
            follows_load=False,
            mode=projection.mode,
        )
