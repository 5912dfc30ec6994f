"""A scenario: everything that a run depends on, as people write it in YAML."""

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, model_validator

from tridentserve.domain.stages import Stage
from tridentserve.manifest.profile_files import BUILTIN_NAMES, REPAIRED
from tridentserve.planner.cost import CostModel
from tridentserve.planner.registry import dispatch_planner
from tridentserve.sim.scenario.fields import (
    Part,
    Positive,
    RuleName,
    Seconds,
    known_to,
    one_of,
)
from tridentserve.sim.scenario.placement import PlacementPart
from tridentserve.sim.scenario.workload import DeadlinePart, WorkloadPart
from tridentserve.sim.scenario.world import ClusterPart, DecisionPart, FailurePart, WorldPart

Batch = Annotated[int, Field(ge=1, le=64)]

_HALF_AN_HOUR_S = 1800.0


def _dispatch(name: str) -> object:
    return dispatch_planner(name, CostModel())


class ProfilePart(Part):
    """A built-in profile or one from a file, and other values for what it assumes."""

    name: Annotated[str, one_of(BUILTIN_NAMES)] | None = None
    file: str | None = None
    variant: str = REPAIRED
    assumptions: dict[str, float] = Field(default={})

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.name is None) == (self.file is None):
            raise ValueError("needs name or file, not both")
        return self


class Scenario(Part):
    """Everything that a run depends on."""

    name: Annotated[str, Field(min_length=1)]
    seed: int = 0
    duration_s: Positive | None = None
    """Requests arrive until then; phases replace it by their own sum. Left out, a file is replayed
    whole, and generated requests arrive for half an hour."""
    drain_s: Seconds = 1800.0
    """How much longer work goes on; who is not done then is unfinished."""
    cluster: ClusterPart = ClusterPart()
    profile: ProfilePart
    workload: WorkloadPart
    deadline: RuleName | Annotated[tuple[DeadlinePart, ...], Field(min_length=1)] = "2.5x"
    dispatch: Annotated[str, known_to(_dispatch)] = "DeadlineAware"
    placement: PlacementPart = PlacementPart(plan="Colocated")
    batch: Batch | dict[Stage, Batch] = 1
    """Requests of one kind in one call at most, of all stages or by stage; 1 where left out."""
    batch_wait_s: Seconds | dict[Stage, Seconds] = 0.0
    """How long a call that is not full waits for more, as `batching.maxWaitMilliseconds`."""
    world: WorldPart = WorldPart()
    decision: DecisionPart | None = None
    """None takes that of the policy's family."""
    failures: tuple[FailurePart, ...] = ()

    @property
    def arrivals_s(self) -> float:
        """How long requests arrive."""
        phases = self.workload.phases
        if phases:
            return sum(one.duration_s for one in phases)
        return _HALF_AN_HOUR_S if self.duration_s is None else self.duration_s

    @property
    def ends_s(self) -> float:
        """When the run is over at the latest; the same for every policy."""
        return self.arrivals_s + self.drain_s

    def slots(self, stages: Iterable[Stage]) -> int:
        """Requests in one call of a worker with these stages: what all of them can take."""
        if isinstance(self.batch, int):
            return self.batch
        return min(self.batch.get(stage, 1) for stage in stages)

    def wait_s(self, stage: Stage) -> float:
        """How long a call of a stage waits for more."""
        if isinstance(self.batch_wait_s, dict):
            return self.batch_wait_s.get(stage, 0.0)
        return self.batch_wait_s

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for index, failure in enumerate(self.failures):
            if failure.node >= self.cluster.nodes:
                raise ValueError(f"failures[{index}].node: there are {self.cluster.nodes} nodes")
        for index, pool in enumerate(self.placement.pools):
            if pool.devices > self.cluster.devices_per_node:
                raise ValueError(f"placement.pools[{index}].devices: more than a node has")
            if pool.node is not None and pool.node >= self.cluster.nodes:
                raise ValueError(
                    f"placement.pools[{index}].node: there are {self.cluster.nodes} nodes"
                )
        return self
