"""Placement types on nodes to pools and back, within what a sharing mode can deploy. Pure.

The paper (section 1.3) places *stages on devices*: every device carries one of six placement types,
and a virtual replica is a set of them that covers all three stages. What can be deployed is a
*pool of workers*, each a pod that holds whole devices of one node, or a slice where the mode has
slices. This module is the only bridge between the two, so that what a planner proves in the
simulator can be deployed.

| virtual replica | placement types |
| --- | --- |
| V0 | EDC |
| V1 | DC and E |
| V2 | ED and C |
| V3 | D, E and C |

| mode | a worker | refused |
| --- | --- | --- |
| Exclusive | whole devices of one node | slices, more devices than the node has |
| None | one slice of processor cores, no device | groups of devices: there are none |

`project` answers with the first mode that can deploy all of it, and refuses with every mode's
objection where none can. It moves nothing and prefers nothing: packing is the planners' affair.
What it could surprise with: two parts of one node that are alike become one, since a pool counts
workers and knows nothing else of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import NodeId
from tridentserve.domain.plans import PoolPlan, PoolShape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import UndeployableError

_E, _D, _C = STAGES

MODES = (Sharing.EXCLUSIVE, Sharing.NONE)
"""In the order in which `project` tries them."""


class PlacementType(Enum):
    """Which stages share a device; the value is their sorted tuple, as in `PoolShape.stages`."""

    EDC = (_C, _D, _E)
    DC = (_C, _D)
    ED = (_D, _E)
    D = (_D,)
    E = (_E,)
    C = (_C,)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Sorted."""
        stages: tuple[Stage, ...] = self.value
        return stages

    @property
    def is_primary(self) -> bool:
        """Whether it hosts diffuse, whose devices form the large groups."""
        return Stage.DIFFUSE in self.value

    def __lt__(self, other: "PlacementType") -> bool:
        """In the order of definition, which is that of preference."""
        return _RANK[self] < _RANK[other]


_RANK = {kind: rank for rank, kind in enumerate(PlacementType)}


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualReplica:
    """Placement types that together host all three stages."""

    name: str
    primary: PlacementType
    auxiliary: tuple[PlacementType, ...]

    @property
    def types(self) -> tuple[PlacementType, ...]:
        """The primary one first."""
        return (self.primary, *self.auxiliary)


VIRTUAL_REPLICAS = (
    VirtualReplica(name="V0", primary=PlacementType.EDC, auxiliary=()),
    VirtualReplica(name="V1", primary=PlacementType.DC, auxiliary=(PlacementType.E,)),
    VirtualReplica(name="V2", primary=PlacementType.ED, auxiliary=(PlacementType.C,)),
    VirtualReplica(
        name="V3", primary=PlacementType.D, auxiliary=(PlacementType.E, PlacementType.C)
    ),
)
"""By preference: fewer hand-offs first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Workers of one node that are alike."""

    type: PlacementType
    devices: int
    """Devices that each of them holds."""
    workers: int = 1
    fraction_percent: int = 100
    """Of each of these devices, or of a unit of processor cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLayout:
    """What one node carries."""

    node: NodeId
    parts: tuple[Part, ...]

    def devices(self, kind: PlacementType) -> int:
        """Devices that carry one placement type."""
        return sum(part.devices * part.workers for part in self.parts if part.type is kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Pools, and the sharing mode in which they can be deployed."""

    pools: tuple[PoolPlan, ...]
    mode: Sharing


def project(
    layouts: Iterable[NodeLayout],
    capacity: Mapping[NodeId, int],
    modes: tuple[Sharing, ...] = MODES,
) -> Projection:
    """Pools for what nodes should carry, under the first of `modes` that can deploy it.

    Args:
        layouts: one a node; nodes that are left out carry nothing.
        capacity: devices of every node.
        modes: those to be tried, in order.

    Raises:
        UndeployableError: none of the modes can; it says why for each.
    """
    wanted = tuple(layouts)
    objections = []
    for mode in modes:
        objection = _objection(wanted, capacity, mode)
        if objection is None:
            return Projection(pools=_pools(wanted, mode), mode=mode)
        objections.append(f"{mode}: {objection}")
    raise UndeployableError("; ".join(objections) or "no sharing mode is allowed")


def layouts_of(pools: Iterable[PoolPlan], mode: Sharing) -> tuple[NodeLayout, ...]:
    """What nodes carry by a plan: the inverse of `project`.

    Raises:
        UndeployableError: a pool does not say on which nodes it is, or hosts stages together that
            no placement type does.
    """
    parts: dict[NodeId, list[Part]] = {}
    for pool in pools:
        if pool.workers != sum(workers for _, workers in pool.nodes):
            raise UndeployableError(f"pool {pool.shape.label} does not say where its workers are")
        for node, workers in pool.nodes:
            part = Part(
                type=type_of(pool.shape),
                devices=pool.shape.devices if mode is not Sharing.NONE else 1,
                workers=workers,
                fraction_percent=pool.shape.fraction_percent,
            )
            parts.setdefault(node, []).append(part)
    return tuple(normal(NodeLayout(node=node, parts=tuple(parts[node]))) for node in sorted(parts))


def type_of(shape: PoolShape) -> PlacementType:
    """The placement type of a pool's workers.

    Raises:
        UndeployableError: no type hosts exactly these stages.
    """
    try:
        return PlacementType(shape.stages)
    except ValueError:
        raise UndeployableError(f"no placement type hosts exactly {shape.label}") from None


def normal(layout: NodeLayout) -> NodeLayout:
    """The layout with parts that are alike made one, empty ones left out, in a fixed order."""
    workers: dict[tuple[PlacementType, int, int], int] = {}
    for part in layout.parts:
        key = (part.type, part.devices, part.fraction_percent)
        workers[key] = workers.get(key, 0) + part.workers
    parts = (
        Part(type=kind, devices=devices, workers=workers[key], fraction_percent=fraction)
        for key in sorted(workers)
        if workers[key]
        for kind, devices, fraction in (key,)
    )
    return replace(layout, parts=tuple(parts))


def _objection(
    layouts: tuple[NodeLayout, ...], capacity: Mapping[NodeId, int], mode: Sharing
) -> str | None:
    """Why a mode cannot deploy the layouts; None where it can."""
    nodes = [layout.node for layout in layouts]
    if len(nodes) != len(set(nodes)):
        return "a node is laid out twice"
    for layout in layouts:
        for part in layout.parts:
            problem = _part_objection(part, mode)
            if problem is not None:
                return f"{problem} (a worker of {part.type.name} on {layout.node})"
        if mode is Sharing.EXCLUSIVE:
            wanted = sum(part.devices * part.workers for part in layout.parts)
            there = capacity.get(layout.node, 0)
            if wanted > there:
                return f"{layout.node} has {there} devices, {wanted} are wanted"
    return None


def _part_objection(part: Part, mode: Sharing) -> str | None:
    if part.devices < 1 or part.workers < 0:
        return f"{part.workers} workers of {part.devices} devices cannot be"
    if not 1 <= part.fraction_percent <= 100:
        return f"{part.fraction_percent} % of a device cannot be"
    if mode is Sharing.EXCLUSIVE and part.fraction_percent != 100:
        return f"{part.fraction_percent} % of a device: there are whole ones only"
    if mode is Sharing.NONE and part.devices != 1:
        return f"{part.devices} devices: there are none to be grouped"
    return None


def _pools(layouts: tuple[NodeLayout, ...], mode: Sharing) -> tuple[PoolPlan, ...]:
    found: dict[PoolShape, list[tuple[NodeId, int]]] = {}
    for layout in sorted(layouts, key=lambda one: one.node):
        for part in normal(layout).parts:
            shape = PoolShape(
                stages=part.type.stages,
                devices=part.devices if mode is not Sharing.NONE else 0,
                fraction_percent=part.fraction_percent,
            )
            found.setdefault(shape, []).append((layout.node, part.workers))
    return tuple(
        PoolPlan(
            shape=shape,
            workers=sum(workers for _, workers in found[shape]),
            nodes=tuple(found[shape]),
        )
        for shape in sorted(found)
    )
