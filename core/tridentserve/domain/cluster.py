"""Devices and the workers that hold them, as the router and the planners see them at a moment.

Capacity belongs to devices, not to workers: several workers may hold the same device, and unless
the sharing mode isolates them only one of them may run at a time (a device lease).
"""

from dataclasses import dataclass, field
from enum import StrEnum

from tridentserve.domain.ids import (
    ContentDigest,
    DeviceId,
    MemoryDomain,
    NodeId,
    PipelineName,
    PoolName,
    Revision,
    WorkerId,
)
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy


class Sharing(StrEnum):
    """How workers get at devices; the values are those of the custom resource."""

    NONE = "None"
    """No GPU: a fraction is a share of processor cores."""
    EXCLUSIVE = "Exclusive"
    """Whole GPUs, one worker each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU, or the private device of a worker on CPU."""

    id: DeviceId
    node: NodeId
    memory_bytes: int
    """0 where nobody knows (CPU)."""
    isolated: bool = True
    """True when the sharing mode keeps workers on it apart; False asks for a lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One pod that can run stages, as it described itself."""

    id: WorkerId
    pipeline: PipelineName
    pool: PoolName
    revision: Revision
    node: NodeId
    pod_uid: str
    boot_id: str
    """Changes when the process restarts: its tensors and its running work are gone then."""
    digest: ContentDigest
    address: str
    """`ip:port` of its gRPC server."""
    devices: tuple[DeviceId, ...]
    fraction_percent: int
    capable: frozenset[Stage]
    resident: frozenset[Stage]
    load_seconds: tuple[tuple[Stage, float], ...] = ()
    """What it costs to make a capable stage resident, where that was measured."""
    strategies: tuple[Strategy, ...] = (SINGLE,)
    slots: int = 1
    """Requests of one work key that it runs at the same time, in one call."""
    concurrent: bool = False
    """True where it runs calls on devices apart at the same time; else one call at a time."""
    domain: MemoryDomain | None = None
    draining: bool = False
    isolated: bool = False
    """True where the sharing mode keeps it apart from others on its devices; else a lease does."""

    @property
    def seats(self) -> int:
        """Requests that it runs at the same time, over all calls."""
        return self.slots * (max(1, len(self.devices)) if self.concurrent else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Every node's free room and every device, at a moment, for the placement planner."""

    devices: tuple[Device, ...] = ()
    workers: tuple[Worker, ...] = ()
    free_devices: tuple[tuple[NodeId, int], ...] = field(default=())
    """Whole GPUs that nobody holds, by node; empty where no GPU is used."""
