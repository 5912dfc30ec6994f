"""Which node carries which placement types: the paper's PackPerMachine (section 1.4).

Two wishes pull in different directions: the parts of a virtual replica on one node, so that
hand-offs stay on it, and groups of devices as large as the primary part uses, which never span
nodes. One auxiliary device on every node of eight would leave no group of eight. So every node
gets the parts in proportion, with the primary part rounded to whole groups; what is rounded away
is made up for on the next nodes. With groups of one that is the paper's packing, with groups of a
whole node it is nodes of one part each.

Deterministic: bundles with larger groups first, nodes in the order given.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from tridentserve.domain.ids import NodeId
from tridentserve.planner.placement.splitting import apportion
from tridentserve.planner.projection import NodeLayout, Part, PlacementType


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Devices of the types of one virtual replica that belong together."""

    counts: tuple[tuple[PlacementType, int], ...]
    """Devices by type, the primary one first."""
    group: int = 1
    """Devices of the primary type that should stay together."""


def pack(bundles: Sequence[Bundle], nodes: Sequence[tuple[NodeId, int]]) -> tuple[NodeLayout, ...]:
    """Layouts of the nodes; what exceeds their devices is left out.

    Args:
        bundles: what is to be placed.
        nodes: with their devices, in the order in which they fill.
    """
    free = dict(nodes)
    carried: dict[NodeId, dict[PlacementType, int]] = {node: {} for node, _ in nodes}
    for bundle in sorted(bundles, key=lambda one: -one.group):
        left = dict(bundle.counts)
        # Groups need empty nodes: what an earlier bundle began is filled last.
        for node in sorted(free, key=lambda one: free[one] < bundle.group):
            for kind, count in _taken(left, bundle.group, free[node]):
                carried[node][kind] = carried[node].get(kind, 0) + count
                left[kind] -= count
                free[node] -= count
    return tuple(
        NodeLayout(
            node=node,
            parts=tuple(
                Part(type=kind, devices=carried[node][kind]) for kind in sorted(carried[node])
            ),
        )
        for node in carried
        if carried[node]
    )


def singled(layouts: Iterable[NodeLayout], kinds: Collection[PlacementType]) -> list[NodeLayout]:
    """The layouts with every device of some types a worker of its own.

    For types whose calls never use a group: a worker more is then a worker more, where a larger
    worker in its place would leave the stage without any while it starts.
    """
    return [
        replace(
            layout,
            parts=tuple(
                replace(part, devices=1, workers=part.workers * part.devices)
                if part.type in kinds
                else part
                for part in layout.parts
            ),
        )
        for layout in layouts
    ]


def _taken(
    left: dict[PlacementType, int], group: int, free: int
) -> list[tuple[PlacementType, int]]:
    """What of a bundle goes to a node with so many free devices."""
    primary, *auxiliary = left
    whole = sum(left.values())
    devices = min(free, whole)
    if devices < 1:
        return []
    others = whole - left[primary]
    low, high = max(0, devices - others), min(devices, left[primary])
    wish = left[primary] * devices / whole
    rounded = [count for count in range(0, devices + 1, group) if low <= count <= high] or [
        min(high, max(low, round(wish)))
    ]
    main = min(rounded, key=lambda count: (abs(count - wish), -count))
    rest = _limited(devices - main, [left[kind] for kind in auxiliary])
    taken = [(primary, main), *zip(auxiliary, rest, strict=True)]
    return [(kind, count) for kind, count in taken if count]


def _limited(total: int, most: list[int]) -> list[int]:
    """`total` in proportion to what is left of each, and no more than that."""
    if not most:
        return []
    parts = list(apportion(total, most))
    for index, limit in enumerate(most):
        while parts[index] > limit:
            other = next(one for one, part in enumerate(parts) if part < most[one])
            parts[index] -= 1
            parts[other] += 1
    return parts
