"""What it costs to get from one placement to another, worker by worker, node by node.

A worker that both placements have stays. What any other costs depends on the mode:

| a new worker | residency is fixed | workers load and drop stages |
| --- | --- | --- |
| on as many devices as one that goes | a pod, all its weights | the weights that the other lacked |
| on devices exchanged between workers | a pod, all its weights | all its weights |

No sharing mode that works today changes residency, so `MoveCosts.residency` is False; the paper's
system moves weights only (Adjust-on-Dispatch, section 1.8), and is simulated with True.

It prices, it does not order: safe steps are the business of `planner.transitions`.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from tridentserve.domain.ids import NodeId
from tridentserve.domain.plans import PlacementPlan, PoolShape
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import Stage

_ANYWHERE = NodeId("")
"""Stands for the node of workers whose placement is left to the scheduler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCosts:
    """Seconds and rates of a change."""

    drain_s: float = 20.0
    """Of a worker that goes, until the last of its devices is free."""
    pod_start_s: float = 20.0
    load_bytes_per_s: float = 10e9
    load_launch_s: float = 0.8
    residency: bool = False
    """Whether stages are loaded and dropped without a new pod."""


class MoveKind(StrEnum):
    """How a worker comes about."""

    RESIDENCY = "Residency"
    EXCHANGE = "Exchange"
    POD_START = "PodStart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One worker that the next placement has and the last one had not."""

    kind: MoveKind
    node: NodeId
    shape: PoolShape
    seconds: float

    @property
    def device_s(self) -> float:
        """Device-seconds in which nothing is served."""
        return self.seconds * self.shape.devices


def moves(
    before: PlacementPlan | None,
    after: PlacementPlan,
    profile: Profile | None,
    costs: MoveCosts,
) -> tuple[Move, ...]:
    """Workers that have to come about, in a fixed order; none where the plans are alike.

    Args:
        before: the plan in force; None where nothing runs yet, which makes every worker new.
        after: the plan to come.
        profile: says what weights weigh; without one, loading takes the launch alone.
        costs: of pods and of loading.
    """
    old, new = _workers(before), _workers(after)
    found: list[Move] = []
    for node in sorted(new):
        kept = old.get(node, Counter()) & new[node]
        gone = sorted((old.get(node, Counter()) - kept).elements())
        for shape in sorted((new[node] - kept).elements()):
            predecessor = _alike(gone, shape)
            if not costs.residency:
                kind = MoveKind.POD_START
                seconds = costs.pod_start_s + _load_s(shape.stages, profile, costs)
                seconds += costs.drain_s if gone else 0.0
            elif predecessor is None:
                kind, seconds = MoveKind.EXCHANGE, _load_s(shape.stages, profile, costs)
            else:
                gone.remove(predecessor)
                lacking = set(shape.stages) - set(predecessor.stages)
                kind, seconds = MoveKind.RESIDENCY, _load_s(lacking, profile, costs)
            found.append(Move(kind=kind, node=node, shape=shape, seconds=seconds))
    return tuple(found)


def staying(before: PlacementPlan, after: PlacementPlan) -> PlacementPlan:
    """What serves all the while: workers that both placements have."""
    new = _workers(after)
    pools = []
    for pool in before.pools:
        nodes = tuple(
            (node, min(workers, new.get(node, Counter())[pool.shape]))
            for node, workers in pool.nodes or ((_ANYWHERE, pool.workers),)
        )
        kept = tuple(one for one in nodes if one[1])
        workers = sum(count for _, count in kept)
        pools.append(replace(pool, workers=workers, nodes=kept if pool.nodes else ()))
    return replace(before, pools=tuple(pool for pool in pools if pool.workers))


def lost_device_s(changes: Iterable[Move]) -> float:
    """Device-seconds that a change takes from serving."""
    return sum(move.device_s for move in changes)


def _alike(gone: list[PoolShape], shape: PoolShape) -> PoolShape | None:
    """The worker to go that lacks the fewest stages of a new one on as many devices."""
    candidates = [one for one in gone if one.devices == shape.devices]
    return min(
        candidates, key=lambda one: (len(set(shape.stages) - set(one.stages)), one), default=None
    )


def _load_s(stages: Iterable[Stage], profile: Profile | None, costs: MoveCosts) -> float:
    lacking = list(stages)
    if not lacking:
        return 0.0
    weights = sum(profile.weights(stage) for stage in lacking) if profile is not None else 0
    return costs.load_launch_s + weights / costs.load_bytes_per_s


def _workers(plan: PlacementPlan | None) -> dict[NodeId, Counter[PoolShape]]:
    found: dict[NodeId, Counter[PoolShape]] = {}
    for pool in plan.pools if plan is not None else ():
        for node, workers in pool.nodes or ((_ANYWHERE, pool.workers),):
            found.setdefault(node, Counter())[pool.shape] += workers
    return found
