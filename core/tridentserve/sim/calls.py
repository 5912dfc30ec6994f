"""Running calls: who runs on which devices, until when, and where the next step ends.

A call is what one group of devices does at once: one segment, or several that were started
together as a batch. Steps are not simulated one by one: a call knows when it ends, and when the
step ends at which something was asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Demand, Resize, Segment, Yield
from tridentserve.domain.ids import DeviceId, RequestId, SegmentId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.sim.world import Effort


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a call computes, wherever it does."""

    stage: Stage
    shape: Shape
    steps: int
    """0 for stages without steps."""
    members: tuple[tuple[SegmentId, tuple[RequestId, ...]], ...]
    """Segments and their requests, in the order in which they were started."""
    done: int = 0
    """Steps that are done."""
    requests: tuple[RequestId, ...] = field(init=False)
    """All of them; kept, because they are asked for again and again."""

    def __post_init__(self) -> None:
        """Gather the requests."""
        requests = tuple(one for _, requests in self.members for one in requests)
        object.__setattr__(self, "requests", requests)

    @property
    def segments(self) -> tuple[SegmentId, ...]:
        """All of them."""
        return tuple(segment for segment, _ in self.members)


def job_of(segments: Sequence[Segment], demand: Demand) -> Job:
    """What segments compute together; `demand` is any of their requests', which are alike."""
    stage = segments[0].stage
    return Job(
        stage=stage,
        shape=demand.shape,
        steps=demand.steps if stage is Stage.DIFFUSE else 0,
        members=tuple(
            (one.id, tuple(cursor.request for cursor in one.requests)) for one in segments
        ),
    )


@dataclass(slots=True)
class Call:
    """A job at work; replaced by another one where its arrangement changes."""

    number: int
    worker: Worker
    devices: tuple[DeviceId, ...]
    strategy: Strategy
    job: Job
    effort: Effort | None
    """None fails as soon as it is set up: it does not fit."""
    work_s: float
    """When it begins to work, all set up."""
    pending: dict[SegmentId, Resize | Yield] = field(default_factory=dict)
    claims: dict[DeviceId, SegmentId] = field(default_factory=dict)
    """Devices beyond its own that a segment has been promised, and has until it leaves."""
    marks: dict[SegmentId, int] = field(default_factory=dict)
    """Steps at which segments asked to be decided about again."""
    stop: int | None = None
    """The step at which it is looked at next; None at its end."""
    version: int = 0
    """Grows with every change of what comes next, so that older appointments are void."""

    @property
    def ends_s(self) -> float:
        """When it is done if nothing changes."""
        if self.effort is None:
            return self.work_s
        return self.work_s + self.effort.seconds(self.job.steps - self.job.done)

    def step_ends_s(self, step: int) -> float:
        """When a step ends."""
        assert self.effort is not None
        return self.work_s + (step - self.job.done) * self.effort.step_s

    def step_after(self, now: float) -> int | None:
        """The first step that ends after `now` and is not the last; None where there is none."""
        if self.effort is None or self.effort.step_s <= 0:
            return None
        passed = max(0, floor((now - self.work_s) / self.effort.step_s))
        step = self.job.done + max(1, passed)
        while self.step_ends_s(step) <= now:
            step += 1
        return step if step < self.job.steps else None

    def claim(self, change: Resize) -> None:
        """Promise a segment what it grows into."""
        for device in change.devices:
            if device not in self.devices:
                self.claims[device] = change.segment

    def problem_of_claim(self, change: Resize) -> str | None:
        """Why a segment cannot share these devices with the others of its call."""
        if len(self.job.members) == 1:
            return None
        if set(change.devices) & set(self.devices):
            return f"segment {change.segment} is in a batch, whose devices it cannot share"
        for device in change.devices:
            if self.claims.get(device, change.segment) != change.segment:
                return f"device {device} is promised to another segment of the batch"
        return None

    def next_stop(self, now: float) -> int | None:
        """The step at which to stop next for what was asked for; None runs to the end."""
        if self.effort is None:
            return None
        stops = [mark for mark in self.marks.values() if self.job.done < mark < self.job.steps]
        after = self.step_after(now) if self.pending else None
        return min(stops if after is None else [*stops, after], default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A job that yielded; what it has computed is on its worker."""

    worker: Worker
    job: Job


def problem_of_segment(segment: Segment, worker: Worker | None) -> str | None:
    """Why a worker could never run a segment as it is; None where it could."""
    if worker is None:
        return f"worker {segment.worker} is not there"
    if segment.stage not in worker.capable:
        return f"worker {worker.id} does not host {segment.stage}"
    return problem_of_group(segment.devices, segment.strategy, worker)


def problem_of_group(devices: Sequence[DeviceId], strategy: Strategy, worker: Worker) -> str | None:
    """Why a worker cannot run a strategy on these devices; None where it can."""
    if len(devices) != strategy.degree:
        return f"{len(devices)} devices for a strategy of degree {strategy.degree}"
    if strategy not in worker.strategies:
        return f"worker {worker.id} has no {strategy}"
    if not set(devices) <= set(worker.devices):
        return f"worker {worker.id} does not hold all of {', '.join(devices)}"
    return None
