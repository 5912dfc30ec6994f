"""Stages on devices of their own, in shares that somebody chose: manual disaggregation.

What most systems that split stages offer, and the baseline that an automatic split has to beat with
its best shares. It asks neither the load nor whether the model fits.
"""

from dataclasses import dataclass, replace

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.plans import PlacementPlan, Reason
from tridentserve.planner.placement.packing import Bundle, pack
from tridentserve.planner.placement.splitting import apportion
from tridentserve.planner.placement.survey import grounds_of
from tridentserve.planner.projection import NodeLayout, Part, PlacementType, project
from tridentserve.planner.protocols import PlacementInputs

_TYPES = (PlacementType.D, PlacementType.E, PlacementType.C)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticSplitSettings:
    """Shares of the devices, and how diffuse uses its own."""

    encode: float = 1.0
    diffuse: float = 6.0
    decode: float = 1.0
    group: int | None = None
    """Devices of a diffuse worker, its fixed degree; None makes one worker of those of a node."""


class StaticSplit:
    """Devices for encode, diffuse and decode in fixed shares, each stage one device at least."""

    def __init__(self, settings: StaticSplitSettings | None = None) -> None:
        """Keep the settings."""
        self.settings = settings or StaticSplitSettings()

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The same plan for the same nodes."""
        chosen = self.settings
        grounds = grounds_of(inputs)
        counts = apportion(
            sum(one.devices for one in grounds),
            (chosen.diffuse, chosen.encode, chosen.decode),
            (1, 1, 1),
        )
        largest = max((one.devices for one in grounds), default=1)
        bundle = Bundle(
            counts=tuple(zip(_TYPES, counts, strict=True)),
            group=max(1, min(chosen.group or largest, largest, counts[0])),
        )
        layouts = pack((bundle,), [(one.node, one.devices) for one in grounds])
        projection = project(
            [_grouped(layout, chosen.group) for layout in layouts],
            {one.node: one.devices for one in grounds},
            (Sharing.EXCLUSIVE,),
        )
        message = f"diffuse {counts[0]}, encode {counts[1]}, decode {counts[2]} devices, as set"
        return PlacementPlan(
            pools=projection.pools,
            reasons=(Reason(code="StaticSplit", message=message),),
            limited=0 in counts,
            follows_load=False,
            mode=projection.mode,
        )


def _grouped(layout: NodeLayout, group: int | None) -> NodeLayout:
    """The diffuse devices of a node in workers of a size, what remains in a smaller one."""
    parts: list[Part] = []
    for part in layout.parts:
        if part.type is PlacementType.D and group:
            whole, rest = divmod(part.devices, group)
            parts += [replace(part, devices=group, workers=whole)] if whole else []
            parts += [replace(part, devices=rest)] if rest else []
        else:
            parts.append(part)
    return replace(layout, parts=tuple(parts))
