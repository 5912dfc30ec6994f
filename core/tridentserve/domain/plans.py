"""What planners answer: which pools exist, how many workers each has, and why."""

import hashlib
from dataclasses import dataclass

from tridentserve.domain.ids import NodeId, PlanId
from tridentserve.domain.stages import Stage, stages_label


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
class PlacementPlan:
    """Which pools exist, how many workers each has, and why."""

    pools: tuple[PoolPlan, ...]
    reasons: tuple[Reason, ...]
    limited: bool = False
    """True where `max`, a budget or a rate of change kept the plan from what the load asks for."""
    prices: tuple[tuple[Stage, float], ...] = ()
    """What one more device would save, by stage (dual prices), for planners that know."""
    follows_load: bool = True
    """False where the load plays no part, so that there is nothing to stabilise or to hold."""

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
