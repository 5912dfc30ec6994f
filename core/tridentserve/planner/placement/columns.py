"""Node configurations: the columns of the joint placement.

A configuration says how many devices of one node carry each placement type. Only types that some
class can use are considered, and of those with diffuse only such that no other type can do all of
theirs and more by memory: where everything fits EDC, there is no DC. Encode and decode alone always
are: on devices of their own no long step keeps them waiting. Every configuration uses all devices
of its node, as an idle device helps nobody.

The number of configurations grows with devices and types; beyond nodes of eight, a node carries at
most three types, which keeps it to a few thousand.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from tridentserve.domain.ids import NodeId
from tridentserve.planner.placement.flows import Option, Place
from tridentserve.planner.placement.survey import Survey
from tridentserve.planner.projection import PlacementType

_SMALL = 8
_TYPES_OF_LARGE = 3

Configuration = tuple[tuple[PlacementType, int], ...]
"""Devices by type, in order of the types, each 1 or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKind:
    """Nodes that are alike."""

    devices: int
    usable_bytes: int
    nodes: tuple[NodeId, ...]


def node_kinds(seen: Survey) -> tuple[NodeKind, ...]:
    """The nodes by size and memory, in a fixed order."""
    found: dict[tuple[int, int], list[NodeId]] = {}
    for ground in seen.grounds:
        found.setdefault((ground.devices, ground.usable_bytes), []).append(ground.node)
    return tuple(
        NodeKind(devices=devices, usable_bytes=usable, nodes=tuple(found[devices, usable]))
        for devices, usable in sorted(found)
    )


def useful_types(options: Iterable[Option], usable_bytes: int) -> tuple[PlacementType, ...]:
    """Types worth placing on devices of a size: no primary one that another could stand in for."""
    can: dict[PlacementType, set[tuple[object, ...]]] = {}
    for option in options:
        if option.place.usable_bytes == usable_bytes:
            way = option.way
            job = (option.number, way.stage, way.strategy, way.batch)
            can.setdefault(option.place.kind, set()).add(job)
    return tuple(
        kind
        for kind in sorted(can)
        if not kind.is_primary
        or not any(
            can[other] > can[kind] or (can[other] == can[kind] and other < kind)
            for other in can
            if other is not kind
        )
    )


def places(seen: Survey) -> tuple[Place, ...]:
    """Every type on every size of memory."""
    return tuple(
        Place(kind, usable)
        for usable in sorted({ground.usable_bytes for ground in seen.grounds})
        for kind in PlacementType
    )


def configurations(devices: int, types: tuple[PlacementType, ...]) -> tuple[Configuration, ...]:
    """Every way of giving each device of a node a type.

    >>> len(configurations(8, tuple(PlacementType)))
    1287
    """
    most = len(types) if devices <= _SMALL else min(_TYPES_OF_LARGE, len(types))
    return tuple(
        tuple(zip(chosen, counts, strict=True))
        for used in range(1, min(most, devices) + 1)
        for chosen in combinations(types, used)
        for counts in _compositions(devices, used)
    )


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(1, total - parts + 2):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
