"""Pools as they are observed, and the steps that change them: the words of `transitions`."""

from dataclasses import dataclass
from math import inf

from tridentserve.domain.ids import Revision
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.stages import Stage
from tridentserve.planner.protocols import Infeasible


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PoolKey:
    """What names a pool of one pipeline: exactly one Deployment each."""

    shape: PoolShape
    revision: Revision

    @property
    def label(self) -> str:
        """`encode@100 a1b2c3` for one."""
        return f"{self.shape.label} {self.revision}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What its workers host."""
        return self.shape.stages

    @property
    def has_devices(self) -> bool:
        """Of which of the two kinds it is: on GPUs, or on processor cores."""
        return self.shape.devices > 0

    @property
    def percent(self) -> int:
        """What one worker holds: of GPUs, or of units of processor cores where it has none."""
        return self.shape.fraction_percent * max(1, self.shape.devices)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """One pool as observed. Every pod is counted once, by the first line that fits."""

    key: PoolKey
    desired: int
    """`spec.replicas` of its Deployment; 0 where only pods are left."""
    terminating: int = 0
    """Pods with a deletion timestamp: they still hold their devices."""
    draining: int = 0
    """Pods with the draining label."""
    routable: int = 0
    """Ready pods: the router may use them."""
    starting: int = 0
    """Every other pod: pending, loading, restarting, failing."""
    unschedulable: int = 0
    """Of those that start, the ones that the scheduler cannot place …"""
    insufficient: int = 0
    """… and of these, the ones that room would help (`Insufficient cpu` and its like)."""
    created_s: float = inf
    """When its Deployment was made, in Unix time; infinity where only pods are left."""

    @property
    def pods(self) -> int:
        """Pods that are not terminating."""
        return self.draining + self.routable + self.starting

    @property
    def shrinking(self) -> bool:
        """More pods are seen than there should be: some are about to go, or gone unseen."""
        return self.pods > self.desired

    @property
    def holds(self) -> int:
        """Workers whose devices it holds or is about to hold."""
        return max(self.desired, self.pods) + self.terminating


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The most that all pools of the pipeline together may hold at any moment.

    It counts what they hold by now, terminating pods included. None leaves the matter to the
    scheduler, whose refusals come back as `PoolState.unschedulable`.
    """

    gpu_percent: int | None = None
    """Of pools with devices; 100 is one GPU. A worker holds devices x fraction."""
    cpu_percent: int | None = None
    """Of pools without; 100 is one unit of processor cores. A worker holds its fraction."""

    def limit(self, shape: PoolShape) -> int | None:
        """The bound that workers of a shape count against."""
        return self.gpu_percent if shape.devices else self.cpu_percent


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas:
    """Set `spec.replicas` of a pool's Deployment, creating it where there is none."""

    pool: PoolKey
    replicas: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkDraining:
    """Have at least so many pods of a pool carry the draining label, terminating ones left out.

    Pods that carry it already count; then come those that no node took, those that are not ready,
    and the youngest. No label comes off: it may belong to a pod that a view of the cluster shows
    too late.
    """

    pool: PoolKey
    pods: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmarkDraining:
    """Have at most so many pods of a pool carry the draining label: the others serve again."""

    pool: PoolKey
    pods: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePool:
    """Delete the Deployment of a pool that has no pods."""

    pool: PoolKey
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something is on its way; look again when anything changes, at `until_s` at the latest."""

    reason: str
    until_s: float


Step = SetReplicas | MarkDraining | UnmarkDraining | RemovePool | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a step may take before it is undone; settings of the operator."""

    unschedulable_s: float = 60.0
    """For a pod that the scheduler cannot place: time for a cluster to add a node. A revision that
    served so shortly ago is taken to restart."""
    start_s: float = 900.0
    """For a pod on a node to become routable: image and model are fetched meanwhile."""
    retry_s: float = 600.0
    """How long a pool that could not be had is not asked for again."""
    tick_s: float = 5.0
    """How soon to look again while pods come and go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Growth of one pool that is under way, or that failed."""

    pool: PoolKey
    routable: int
    """Workers that were ready at the last look."""
    since_s: float
    """Since when pods have been on nodes, and none more became ready; `now` where none loads."""
    unplaced: int = 0
    """Pods that the scheduler could not place at the last look …"""
    unplaced_s: float | None = None
    """… and since when it has placed none of them; None where it has placed all."""
    held_percent: int = 0
    """What all pools of its kind had on nodes when it began."""
    failed_until_s: float | None = None
    """It was undone, and is not tried again before this moment: …"""
    kept: int = 0
    """… until then it is as if no more workers than these were wanted."""
    gave_up: bool = False
    """It never came up, so the last worker that serves in its place is not taken away for it."""
    overdue: bool = False
    """Its pods had their time to become ready, and were left to wait since nothing else serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionMemory:
    """What a transition remembers; without it deadlines start anew, and what gave up is tried."""

    attempts: tuple[Attempt, ...] = ()
    served: tuple[tuple[Revision, float], ...] = ()
    """When revisions had a chain last, in Unix time: one that had it just now may only restart."""
    infeasible: tuple[Infeasible, ...] = ()
    """For `PlacementInputs`: what could not be had, while that holds."""


NO_MEMORY = TransitionMemory()
