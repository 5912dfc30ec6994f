"""What dispatch knows at a moment. `apply` is the only mutator; the drivers call it.

A driver applies every event before it asks `decide`, and every action once it carries it out. The
state never checks whether a decision is wise, only whether it is possible: starting a request
twice, or on a worker without a free slot, is a defect of the planner and raises `ValueError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Action,
    Arrived,
    Demand,
    Event,
    Left,
    PlanChanged,
    Refuse,
    Reserve,
    Segment,
    StageFailed,
    StageFinished,
    Start,
    WorkerDown,
    WorkerDraining,
    WorkerUp,
)
from tridentserve.domain.ids import Epoch, RequestId, SegmentId, WorkerId
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import Stage

NO_EPOCH = Epoch(0)
"""Before the first decision about a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """Where one request stands, as dispatch sees it."""

    demand: Demand
    stage: Stage = Stage.ENCODE
    """Runs there, or waits for it."""
    excluded: frozenset[WorkerId] = frozenset()
    preferred: WorkerId | None = None
    """Worker reserved for the stage after the one that runs now, or for `stage` while it waits."""
    running: SegmentId | None = None
    revision: str | None = None
    """Revision and …"""
    digest: str | None = None
    """… content that its first segment ran on; later segments must not differ."""
    epoch: Epoch = NO_EPOCH


class State:
    """Requests, workers and running segments; readable by all, changed by `apply` alone."""

    def __init__(self) -> None:
        """Start empty."""
        self._journeys: dict[RequestId, Journey] = {}
        self._waiting: dict[Stage, dict[RequestId, None]] = {stage: {} for stage in Stage}
        self._workers: dict[WorkerId, Worker] = {}
        self._running: dict[WorkerId, dict[SegmentId, Segment]] = {}
        self.plan: PlacementPlan | None = None

    @property
    def journeys(self) -> Mapping[RequestId, Journey]:
        """Every request that has not left, in order of arrival."""
        return MappingProxyType(self._journeys)

    def waiting(self, stage: Stage) -> list[Journey]:
        """Requests that wait for a stage, in the order in which they began to."""
        return [self._journeys[request] for request in self._waiting[stage]]

    @property
    def workers(self) -> Mapping[WorkerId, Worker]:
        """Every worker that is up, draining ones included."""
        return MappingProxyType(self._workers)

    def running(self, worker: WorkerId) -> tuple[Segment, ...]:
        """Segments that run on a worker."""
        return tuple(self._running.get(worker, {}).values())

    def free_slots(self, worker: WorkerId) -> int:
        """How many more segments a worker takes; 0 for one that drains or is gone."""
        known = self._workers.get(worker)
        if known is None or known.draining:
            return 0
        return max(0, known.slots - len(self._running.get(worker, {})))

    def apply(self, change: Event | Action) -> None:
        """Take a change over; changes that say nothing about the state are ignored.

        Raises:
            ValueError: the change contradicts the state.
        """
        match change:
            case Arrived(demand=demand):
                self._arrive(demand)
            case StageFinished(request=request, stage=stage):
                self._finish(request, stage)
            case StageFailed(request=request, again=again, excluded=excluded):
                self._stop(request)
                self._wait(replace(self._journeys[request], stage=again, excluded=excluded))
            case Left(request=request) | Refuse(request=request):
                self._leave(request)
            case WorkerUp(worker=worker):
                self._workers[worker.id] = worker
            case WorkerDown(worker=gone):
                self._workers.pop(gone, None)
            case WorkerDraining(worker=draining):
                if draining in self._workers:
                    self._workers[draining] = replace(self._workers[draining], draining=True)
            case PlanChanged(plan=plan):
                self.plan = plan
            case Start(segment=segment):
                self._start(segment)
            case Reserve(request=request, worker=preferred):
                self._journeys[request] = replace(self._journeys[request], preferred=preferred)
            case _:
                pass

    def _arrive(self, demand: Demand) -> None:
        if demand.id in self._journeys:
            raise ValueError(f"request {demand.id} arrived twice")
        self._wait(Journey(demand=demand))

    def _wait(self, journey: Journey) -> None:
        request = journey.demand.id
        for waiting in self._waiting.values():
            waiting.pop(request, None)
        self._journeys[request] = journey
        self._waiting[journey.stage][request] = None

    def _start(self, segment: Segment) -> None:
        if self.free_slots(segment.worker) < 1:
            raise ValueError(f"worker {segment.worker} has no free slot for {segment.id}")
        worker = self._workers[segment.worker]
        for cursor in segment.requests:
            journey = self._journeys[cursor.request]
            if journey.running is not None or journey.stage is not segment.stage:
                raise ValueError(f"request {cursor.request} does not wait for {segment.stage}")
            del self._waiting[segment.stage][cursor.request]
            self._journeys[cursor.request] = replace(
                journey,
                running=segment.id,
                preferred=None,
                revision=worker.revision,
                digest=worker.digest,
                epoch=segment.epoch,
            )
        self._running.setdefault(segment.worker, {})[segment.id] = segment

    def _finish(self, request: RequestId, stage: Stage) -> None:
        self._stop(request)
        following = stage.next
        if following is None:
            self._leave(request)
            return
        self._wait(replace(self._journeys[request], stage=following, excluded=frozenset()))

    def _stop(self, request: RequestId) -> None:
        journey = self._journeys[request]
        if journey.running is None:
            return
        self._journeys[request] = replace(journey, running=None)
        for worker, segments in list(self._running.items()):
            segments.pop(journey.running, None)
            if not segments:
                del self._running[worker]

    def _leave(self, request: RequestId) -> None:
        if request not in self._journeys:
            return
        self._stop(request)
        for waiting in self._waiting.values():
            waiting.pop(request, None)
        del self._journeys[request]
