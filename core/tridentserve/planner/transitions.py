"""From the pools that are to the pools that should be, by steps that are each safe by themselves.

Level-based: every call looks at what is observed now and answers with what can be done now. There
is no stored list of steps to lose, so an operator that restarts in the middle of anything goes on
where it was; `TransitionMemory` holds nothing but the moments from which deadlines are counted.

| step | what the operator does | safe because |
| --- | --- | --- |
| `SetReplicas`, more | raises `spec.replicas`, creating the Deployment | room was counted |
| `MarkDraining` | labels exactly so many pods of a pool | a chain is left; what runs finishes |
| `SetReplicas`, fewer | lowers `spec.replicas` | only labelled or unready pods go |
| `RemovePool` | deletes the Deployment | it has no pod |
| `Wait` | looks again, at `until_s` at the latest | nothing is done |
"""

from dataclasses import dataclass

from tridentserve.domain.ids import Revision
from tridentserve.domain.plans import PlacementPlan, PoolShape
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas:
    """Set `spec.replicas` of a pool's Deployment, creating it where there is none."""

    pool: PoolKey
    replicas: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkDraining:
    """Have exactly so many pods of a pool carry the draining label.

    Pods that carry it already are kept as victims; of the others, the youngest go first.
    """

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


Step = SetReplicas | MarkDraining | RemovePool | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a step may take before it is undone; settings of the operator."""

    unschedulable_s: float = 60.0
    """For a pod that the scheduler cannot place: time for a cluster to add a node."""
    start_s: float = 900.0
    """From its creation until a pod is routable: image and model are fetched meanwhile."""
    retry_s: float = 600.0
    """How long a pool that could not be had is not asked for again."""
    tick_s: float = 5.0
    """How soon to look again while pods come and go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Growth of one pool that is under way, or that failed."""

    pool: PoolKey
    routable: int
    """When it last changed …"""
    since_s: float
    """… which was at this moment."""
    blocked: bool = False
    """The scheduler found no room beside what is there: something must be drained first."""
    failed_until_s: float | None = None
    """It was undone, and is not tried again before this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionMemory:
    """What a transition remembers; losing it only starts its deadlines anew."""

    attempts: tuple[Attempt, ...] = ()
    infeasible: tuple[Infeasible, ...] = ()
    """For `PlacementInputs`: what could not be had, while that holds."""


NO_MEMORY = TransitionMemory()


def next_steps(
    observed: tuple[PoolState, ...],
    target: PlacementPlan,
    revision: Revision,
    room: Room,
    memory: TransitionMemory,
    now: float,
    patience: Patience = Patience(),
) -> tuple[tuple[Step, ...], TransitionMemory]:
    """What can be done now, in order; carrying out only a beginning of it is safe too.

    Args:
        observed: every pool of the pipeline, whatever its revision, that has a Deployment or pods.
        target: pools of the plan in force; without workers (suspended) everything is drained.
        revision: of the spec as it is now; pools of any other are on their way out.
        room: bounds what may be added.
        memory: of the last call; `NO_MEMORY` at first.
        now: Unix time.
        patience: deadlines.

    Returns:
        The steps, none where observed and target agree, and the memory for the next call. What
        expired is in `memory.infeasible`.
    """
    raise NotImplementedError
