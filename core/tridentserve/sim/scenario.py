"""A scenario: everything that a run depends on, as people write it in YAML.

Names are those of the file; units stand in them. Every default is stated here and nowhere else.
Reading a file, and naming the line of what is wrong in it, is `reading`'s.
"""

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.manifest.profile_files import BUILTIN_NAMES, REPAIRED
from tridentserve.planner.cost import CostModel
from tridentserve.planner.registry import dispatch_planner, placement_planner
from tridentserve.sim.deadlines import RULES
from tridentserve.sim.workload import MIXES, TRACES

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]


def parse_shape(value: object) -> object:
    """`768x1360x81` is height, width and frames; frames may be left out."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})(?:x([1-9]\d{0,4}))?", value)
    if found is None:
        raise ValueError("must be HEIGHTxWIDTH or HEIGHTxWIDTHxFRAMES")
    height, width, frames = found.groups(default="1")
    return Shape(height=int(height), width=int(width), frames=int(frames))


def _one_of(names: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"no {value!r}; there are {', '.join(names)}")
        return value

    return AfterValidator(check)


def _known_to(make: Callable[[str], object]) -> AfterValidator:
    """A name that a registry knows; its own error says which there are."""

    def check(value: str) -> str:
        make(value)
        return value

    return AfterValidator(check)


def _dispatch(name: str) -> object:
    return dispatch_planner(name, CostModel())


ShapeText = Annotated[Shape, BeforeValidator(parse_shape)]
RuleName = Annotated[str, _one_of(tuple(RULES))]


class Part(BaseModel):
    """A part of a scenario: nothing unknown, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterPart(Part):
    """Nodes that are alike."""

    nodes: Count = 16
    devices_per_node: Annotated[int, Field(ge=1, le=64)] = 8

    @property
    def devices(self) -> int:
        """Of all nodes."""
        return self.nodes * self.devices_per_node


class ProfilePart(Part):
    """A built-in profile or one from a file, and other values for what it assumes."""

    name: Annotated[str, _one_of(BUILTIN_NAMES)] | None = None
    file: str | None = None
    variant: str = REPAIRED
    assumptions: dict[str, float] = Field(default={})

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.name is None) == (self.file is None):
            raise ValueError("needs name or file, not both")
        return self


class WeightPart(Part):
    """One class of a mix."""

    shape: ShapeText
    weight: Positive = 1.0
    steps: Count | None = None
    """The workload's where left out."""


class PhasePart(Part):
    """A stretch of time with one kind of load; what it leaves out is the workload's."""

    duration_s: Positive
    rate_per_s: Positive | None = None
    load: Positive | None = None
    process: Literal["Constant", "Poisson", "Gamma"] | None = None
    cv: Positive | None = None
    mix: Annotated[str, _one_of(MIXES)] | tuple[WeightPart, ...] | None = None


class WorkloadPart(Part):
    """What arrives: generated, or read from a file."""

    trace: Annotated[str, _one_of(tuple(TRACES))] | None = None
    """Shapes, steps and rate of a public trace, generated anew."""
    file: str | None = None
    """A file in the public traces' format."""
    recording: str | None = None
    """A JSONL file, one request a line."""
    shapes: tuple[ShapeText, ...] = ()
    steps: Count | None = None
    rate_per_s: Positive | None = None
    load: Positive | None = None
    """Share of the devices' time that the requests take at least, in place of a rate."""
    process: Literal["Constant", "Poisson", "Gamma"] = "Constant"
    cv: Positive = 3.0
    """Of the gaps of Gamma."""
    mix: Annotated[str, _one_of(MIXES)] | tuple[WeightPart, ...] = "Medium"
    balanced: bool = True
    guidance: float = 5.0
    phases: tuple[PhasePart, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        sources = [self.trace, self.file, self.recording]
        if sum(one is not None for one in sources) > 1:
            raise ValueError("has more than one of trace, file, recording")
        if self.file or self.recording:
            return self
        if self.trace is None and not self.shapes and isinstance(self.mix, str):
            raise ValueError("needs trace, file, recording, or shapes")
        if self.trace is None and self.steps is None:
            raise ValueError("needs steps")
        rates = [self.rate_per_s, self.load]
        if all(one is not None for one in rates):
            raise ValueError("has both rate_per_s and load")
        lacking = [one for one in self.phases if one.rate_per_s is None and one.load is None]
        if self.trace is None and not any(rates) and (lacking or not self.phases):
            raise ValueError("needs rate_per_s or load")
        return self


class DeadlinePart(Part):
    """A rule, and the share of requests that it holds for."""

    rule: RuleName
    share: Positive = 1.0


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
    planner: Annotated[str, _known_to(placement_planner)] | None = None
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


class WorldPart(Part):
    """How the simulated world differs from the profile, and what moving about costs."""

    noise: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Spread of run times, by request and stage."""
    slow_down: Positive = 1.0
    """Factor on every run time, for all policies alike."""
    misprofile: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Planners believe in a profile that is wrong by up to this share, by class and stage."""
    store: Literal["memory", "shm", "nccl", "redis"] = "nccl"
    """By which tensors travel between workers."""
    group_hot_s: Seconds = 0.00006
    group_cold_s: Seconds = 0.8
    hot_groups: Annotated[int, Field(ge=0)] = 64
    """Groups that a worker keeps ready; the one that was not used the longest goes first."""
    prepared_groups: bool = True
    """Aligned groups of 2, 4, 8 … devices are ready when a worker comes up."""
    first_shapes: bool = False
    """Charge what the profile says about a worker's first call of a shape."""
    resize_s: Seconds = 0.05
    """To change the devices of a running segment, or to take a parked one up."""
    pod_start_s: Seconds = 20.0
    load_bytes_per_s: Positive = 10e9
    load_launch_s: Seconds = 0.8
    memory: bool = True
    """Calls that do not fit into the devices' memory fail."""


class DecisionPart(Part):
    """Seconds that a decision takes: base + per_waiting x queue + per_device x devices."""

    base_s: Seconds
    per_waiting_s: Seconds
    per_device_s: Seconds


class FailurePart(Part):
    """A node that goes away, and comes back."""

    node: Annotated[int, Field(ge=0)]
    at_s: Seconds
    back_s: Seconds | None = None
    """None keeps it away."""

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.back_s is not None and self.back_s <= self.at_s:
            raise ValueError("back_s must come after at_s")
        return self


class Scenario(Part):
    """Everything that a run depends on."""

    name: Annotated[str, Field(min_length=1)]
    seed: int = 0
    duration_s: Positive = 1800.0
    """Requests arrive until then; phases replace it by their own sum."""
    drain_s: Seconds = 1800.0
    """How much longer work goes on; who is not done then is unfinished."""
    cluster: ClusterPart = ClusterPart()
    profile: ProfilePart
    workload: WorkloadPart
    deadline: RuleName | tuple[DeadlinePart, ...] = "2.5x"
    dispatch: Annotated[str, _known_to(_dispatch)] = "EarliestDeadline"
    placement: PlacementPart = PlacementPart(plan="Colocated")
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    """Requests of one kind in one call at most."""
    world: WorldPart = WorldPart()
    decision: DecisionPart | None = None
    """None takes that of the policy's family."""
    failures: tuple[FailurePart, ...] = ()

    @property
    def arrivals_s(self) -> float:
        """How long requests arrive."""
        phases = self.workload.phases
        return sum(one.duration_s for one in phases) if phases else self.duration_s

    @property
    def ends_s(self) -> float:
        """When the run is over at the latest; the same for every policy."""
        return self.arrivals_s + self.drain_s

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
