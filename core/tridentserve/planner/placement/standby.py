"""Workers that encode and decode lack: what a plan risks that rests on one of them, or on none.

Every request passes through every stage, so a stage that one worker hosts stops everything when
that worker fails or is replaced, however small its work is. Where diffuse has several workers, so
should the others.

A worker that hosts diffuse too counts only where at least half of the devices that host diffuse
are of its kind. Elsewhere it is crowded out: diffuse that came out of it waits for all devices
that host diffuse, takes its own as well, and nothing new is encoded until that is done.

It counts workers, not nodes: two encoders may lie on one node, and are lost with it.
"""

from collections.abc import Mapping

from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.placement.flows import Place, devices_at

Supply = Mapping[Place, Mapping[int, int]]
"""Workers by place and by devices of each."""


def lacking(supply: Supply, replicas: int) -> dict[Stage, int]:
    """Workers that are missing, by stage; stages that have enough are left out.

    Args:
        supply: what there is, or will be.
        replicas: workers that encode and decode should have each, where diffuse has as many.
    """
    wide = {place for place in supply if place.kind.is_primary}
    wanted = min(replicas, sum(_workers(supply, place) for place in wide))
    devices = sum(devices_at(supply[place], 1) for place in wide)
    found: dict[Stage, int] = {}
    for stage in STAGES:
        hosts = {place for place in supply if stage in place.kind.stages}
        mixed = hosts & wide
        if 2 * sum(devices_at(supply[place], 1) for place in mixed) < devices:
            hosts -= mixed
        missing = wanted - sum(_workers(supply, place) for place in hosts)
        if missing > 0:
            found[stage] = missing
    return found


def _workers(supply: Supply, place: Place) -> int:
    return sum(supply[place].values())
