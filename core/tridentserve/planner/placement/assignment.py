"""Which node carries which configuration, so that as little as possible changes.

Nodes that are alike may carry any of the configurations that were chosen for their kind, so a node
keeps what it carries where that was chosen too; of the others, each takes in turn the configuration
that leaves most of its workers as they are. Greedy by name, hence deterministic; with more than two
configurations a better matching may exist.
"""

from collections.abc import Mapping, Sequence

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import NodeId
from tridentserve.domain.plans import PlacementPlan
from tridentserve.errors import UndeployableError
from tridentserve.planner.placement.columns import Configuration, NodeKind
from tridentserve.planner.placement.rounding import Nodes
from tridentserve.planner.projection import NodeLayout, Part, layouts_of


def layouts(
    chosen: Nodes, kinds: Sequence[NodeKind], previous: PlacementPlan | None
) -> tuple[NodeLayout, ...]:
    """Layouts of the nodes; nodes for which nothing was chosen carry nothing."""
    carried = _carried(previous)
    found: list[NodeLayout] = []
    for number, kind in enumerate(kinds):
        left = {
            configuration: count for one, configuration, count in chosen.counts if one == number
        }
        for node, configuration in _assigned(kind.nodes, left, carried):
            parts = tuple(Part(type=part, devices=devices) for part, devices in configuration)
            found.append(NodeLayout(node=node, parts=parts))
    return tuple(sorted(found, key=lambda layout: layout.node))


def _assigned(
    nodes: Sequence[NodeId],
    left: dict[Configuration, int],
    carried: Mapping[NodeId, Configuration],
) -> list[tuple[NodeId, Configuration]]:
    found: list[tuple[NodeId, Configuration]] = []

    def assign(node: NodeId, configuration: Configuration) -> None:
        left[configuration] -= 1
        found.append((node, configuration))

    changing = []
    for node in nodes:
        same = carried.get(node)
        if same is not None and left.get(same, 0) > 0:
            assign(node, same)
        else:
            changing.append(node)
    for node in sorted(changing, key=lambda one: (one not in carried, one)):
        open_ones = sorted(one for one, count in left.items() if count > 0)
        if open_ones:
            before = set(carried.get(node, ()))
            assign(node, max(open_ones, key=lambda one: sum(part[1] for part in before & set(one))))
    return found


def _carried(previous: PlacementPlan | None) -> dict[NodeId, Configuration]:
    """What nodes carry now, by type; workers of one stage alone may be several."""
    try:
        there = layouts_of(previous.pools if previous else (), Sharing.EXCLUSIVE)
    except UndeployableError:
        return {}
    return {layout.node: _configuration(layout) for layout in there}


def _configuration(layout: NodeLayout) -> Configuration:
    types = sorted({part.type for part in layout.parts})
    return tuple((kind, layout.devices(kind)) for kind in types)
