"""The parts of a scenario that say what things take and what goes wrong."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tridentserve.sim.scenario.fields import Count, Part, Positive, Seconds


class ClusterPart(Part):
    """Nodes that are alike."""

    nodes: Count = 16
    devices_per_node: Annotated[int, Field(ge=1, le=64)] = 8

    @property
    def devices(self) -> int:
        """Of all nodes."""
        return self.nodes * self.devices_per_node


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
