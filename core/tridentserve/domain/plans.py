"""What planners answer: which pools exist, how many workers each has, and why."""

import hashlib
from dataclasses import dataclass

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import NodeId, PlanId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage, stages_label
from tridentserve.domain.strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PoolShape:
    """What all workers of a pool have in common, but for the revision."""

    stages: tuple[Stage, ...]
    """Sorted; several where they are co-located."""
    devices: int
    """Devices a worker holds, 0 on CPU."""
    fraction_percent: int

    @property
    def label(self) -> str:
        """`encode@100` for one."""
        return f"{stages_label(self.stages)}@{self.fraction_percent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """How many workers of a shape there should be."""

    shape: PoolShape
    workers: int
    nodes: tuple[tuple[NodeId, int], ...] = ()
    """Workers by node where the placement cares; empty leaves it to the scheduler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a plan is as it is: a CamelCase word for machines, a sentence with figures for people."""

    code: str
    message: str
    stage: Stage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Where a placement expects the requests of one class to run one of their stages, and how.

    Advice to dispatch, not an order: a planner that does not know flows ignores them.
    """

    shape: Shape
    steps: int
    stage: Stage
    pool: PoolShape
    strategy: Strategy
    share: float = 1.0
    """Of the class's requests; the shares of one class and stage add up to 1 or less."""
    devices: int | None = None
    """At most so many of the pool's devices at once for this class; None sets no bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementPlan:
    """Which pools exist, how many workers each has, and why."""

    pools: tuple[PoolPlan, ...]
    reasons: tuple[Reason, ...]
    limited: bool = False
    """True where `max`, a budget or a rate of change kept the plan from what the load asks for."""
    prices: tuple[tuple[Stage, float], ...] = ()
    """What one more device would save, by stage (dual prices), for planners that know."""
    flows: tuple[Flow, ...] = ()
    """Which class runs where; empty where the placement does not tell classes apart."""
    follows_load: bool = True
    """False where the load plays no part, so that there is nothing to stabilise or to hold."""
    mode: Sharing | None = None
    """How workers are assumed to get at devices; None where every stage's specification says it."""

    @property
    def id(self) -> PlanId:
        """Hash of the pools alone: equal plans have equal ids, whatever their reasons say."""
        content = ";".join(
            f"{pool.shape.label}/{pool.shape.devices}={pool.workers}"
            for pool in sorted(self.pools, key=lambda pool: pool.shape)
        )
        return PlanId(hashlib.sha256(content.encode()).hexdigest()[:12])

    def workers(self, stage: Stage) -> int:
        """Workers that host this stage, over all pools."""
        return sum(pool.workers for pool in self.pools if stage in pool.shape.stages)
