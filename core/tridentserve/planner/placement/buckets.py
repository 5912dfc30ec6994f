"""Workers of fixed sizes on nodes, shared out among buckets by what each has to do.

Highest averages: every bucket gets one worker, the largest first, then the next worker goes to the
bucket with the most work for each device, as long as some node has room for it. A worker goes to
the node with the least room that suffices, so that large ones find room later.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tridentserve.domain.ids import NodeId
from tridentserve.planner.placement.survey import Ground
from tridentserve.planner.projection import NodeLayout, Part, PlacementType, normal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Workers that are alike, and the work that is meant for them."""

    type: PlacementType
    size: int
    """Devices of a worker."""
    work: float
    """Devices that the bucket's requests keep busy."""


def share_out(buckets: Sequence[Bucket], grounds: Sequence[Ground]) -> tuple[NodeLayout, ...]:
    """Layouts of the nodes; a bucket for which no node has room gets nothing."""
    free = {ground.node: ground.devices for ground in grounds}
    parts: dict[NodeId, list[Part]] = {ground.node: [] for ground in grounds}
    workers = dict.fromkeys(range(len(buckets)), 0)

    def give(number: int) -> bool:
        bucket = buckets[number]
        roomy = [node for node in free if free[node] >= bucket.size]
        if not roomy:
            return False
        node = min(roomy, key=lambda one: (free[one], one))
        free[node] -= bucket.size
        parts[node].append(Part(type=bucket.type, devices=bucket.size))
        workers[number] += 1
        return True

    for number in sorted(workers, key=lambda one: (-buckets[one].size, one)):
        give(number)
    open_ones = set(workers)
    while open_ones:
        neediest = max(open_ones, key=lambda one: (_strain(buckets[one], workers[one]), -one))
        if not give(neediest):
            open_ones.remove(neediest)
    return tuple(
        normal(NodeLayout(node=node, parts=tuple(parts[node]))) for node in parts if parts[node]
    )


def _strain(bucket: Bucket, workers: int) -> float:
    """Work for each device, were there half a worker more (Webster)."""
    return bucket.work / (bucket.size * (workers + 0.5))
