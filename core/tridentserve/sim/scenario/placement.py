"""The part of a scenario that says where stages live."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tridentserve.domain.stages import Stage
from tridentserve.planner.registry import placement_planner
from tridentserve.sim.scenario.fields import Count, Part, Positive, Seconds, known_to


class PoolPart(Part):
    """Workers of one kind in a fixed placement."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    devices: Annotated[int, Field(ge=1, le=64)]
    workers: Count
    node: Annotated[int, Field(ge=0)] | None = None
    """On this node; else wherever there is room, node by node."""


class StagePart(Part):
    """What a placement planner may do with one stage."""

    min: Count = 1
    max: Count = 1000
    devices: Annotated[int, Field(ge=1, le=64)] = 1


class PlacementPart(Part):
    """Where stages live: a fixed plan by name or by pools, or a planner that follows the load."""

    plan: Literal["Colocated"] | None = None
    """Colocated: one worker a node, with all its devices and all stages."""
    pools: tuple[PoolPart, ...] = ()
    planner: Annotated[str, known_to(placement_planner)] | None = None
    interval_s: Positive = 30.0
    window_s: Positive = 120.0
    """Over which the load is measured."""
    target_percent: Annotated[int, Field(ge=1, le=100)] = 70
    stages: dict[Stage, StagePart] = Field(default={})
    start: Literal["Pod", "Residency"] = "Pod"
    """What a new worker costs: a pod, or only the loading of its weights."""
    stabilization_s: Annotated[int, Field(ge=0)] = 60
    """Window over which shrinking is held back."""
    drain_s: Seconds = 600.0
    """How long a worker that has to go may finish what it runs."""

    def stage(self, stage: Stage) -> StagePart:
        """What a planner may do with a stage."""
        return self.stages.get(stage) or StagePart()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(map(bool, (self.plan, self.pools, self.planner))) != 1:
            raise ValueError("needs exactly one of plan, pools, planner")
        return self
