"""Events and actions of dispatch: what the router (or the simulator) tells a planner, and hears.

Both are enumerated here so that one planner can be driven by either. A request waits for one stage
at a time; which one, and not on which workers, is what the journey asks for.
"""

from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId, Epoch, PipelineName, RequestId, SegmentId, WorkerId
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.domain.work import pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What dispatch has to know of a request."""

    id: RequestId
    shape: Shape
    steps: int
    guidance: float
    count: int
    """Pictures."""
    arrived_s: float
    deadline_s: float
    """Unix time, the SLO's where the caller gave none."""
    pipeline: PipelineName | None = None
    """Whose workers may run it; None where all workers are of one pipeline."""

    def pictures(self, stage: Stage) -> int:
        """The batch that a stage's call on this request alone is."""
        return pictures(stage, self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a request stands inside of a segment."""

    request: RequestId
    step: int = 0
    """Steps that are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """What one `Run` carries."""

    id: SegmentId
    worker: WorkerId
    stage: Stage
    devices: tuple[DeviceId, ...]
    strategy: Strategy
    requests: tuple[Cursor, ...]
    epoch: Epoch
    boundary: int | None = None
    """Step at which a decision is due again; None runs to the end of the stage."""


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A request was admitted; it waits for encode."""

    demand: Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A running segment finished a step."""

    segment: SegmentId
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinished:
    """A request's stage is done; it waits for the next stage, or is gone after decode."""

    request: RequestId
    stage: Stage
    seconds: float
    """From the start of the segment, as the worker measured it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailed:
    """A request's segment ended without a result; it waits for `again`, which may be earlier."""

    request: RequestId
    stage: Stage
    again: Stage
    excluded: frozenset[WorkerId]
    """Workers that the retry must not use, unless no other is capable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A request is gone for good: cancelled, failed or refused."""

    request: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerUp:
    """A worker appeared, or described itself anew."""

    worker: Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDown:
    """A worker is gone; what ran on it is reported by `StageFailed`, request by request."""

    worker: WorkerId


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDraining:
    """A worker finishes what it runs and gets nothing new."""

    worker: WorkerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanged:
    """The placement plan changed."""

    plan: PlacementPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """A moment that `WakeAt` asked for has come."""


Event = (
    Arrived
    | StepFinished
    | StageFinished
    | StageFailed
    | Left
    | WorkerUp
    | WorkerDown
    | WorkerDraining
    | PlanChanged
    | Woken
)


# --- actions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Run a segment now."""

    segment: Segment
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """At its next boundary, go on with these devices and this strategy."""

    segment: SegmentId
    devices: tuple[DeviceId, ...]
    strategy: Strategy
    epoch: Epoch
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Yield:
    """At its next boundary, give the devices back and keep the state."""

    segment: SegmentId
    epoch: Epoch
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Go on with a segment that yielded, on these devices."""

    segment: Segment
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """Prefer this worker for a request's stage, so that the producer can write where it reads.

    It fixes the memory domain and holds no capacity.
    """

    request: RequestId
    stage: Stage
    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Give a waiting request up."""

    request: RequestId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeAt:
    """Send `Woken` at this moment if nothing happens before."""

    at_s: float
    reason: str


Action = Start | Resize | Yield | Resume | Reserve | Refuse | WakeAt
