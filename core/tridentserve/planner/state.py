"""What dispatch knows at a moment. `apply` is the only mutator; the drivers call it.

A driver applies every event before it asks `decide`, and every action once it carries it out. The
state never checks whether a decision is wise, only whether it is possible: starting a request
twice, on a worker without a free slot, or on a device that another worker has leased is a defect
of the planner, an event about a request that is gone one of the driver, and both raise
`ValueError`. Everything that is read often (who waits, free slots, leases, reservations) is kept
up to date change by change, so that reading costs nothing.
"""

from collections import Counter
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
    Resize,
    Resume,
    Segment,
    StageFailed,
    StageFinished,
    Start,
    StepFinished,
    WorkerDown,
    WorkerDraining,
    WorkerUp,
    Yield,
)
from tridentserve.domain.ids import (
    ContentDigest,
    DeviceId,
    Epoch,
    PipelineName,
    RequestId,
    SegmentId,
    WorkerId,
)
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import Stage
from tridentserve.planner.roster import Roster
from tridentserve.planner.segments import Segments

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
    """Worker reserved for …"""
    preferred_stage: Stage | None = None
    """… this stage: the one after the one that runs now, or `stage` while it waits."""
    producer: WorkerId | None = None
    """Worker whose output the stage reads; None for encode."""
    running: SegmentId | None = None
    """Its segment, one that yielded included."""
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
        self._view = MappingProxyType(self._journeys)
        self._waiting: dict[Stage, dict[RequestId, None]] = {stage: {} for stage in Stage}
        self._roster = Roster()
        self._segments = Segments(self._roster)
        self._reserved: Counter[WorkerId] = Counter()
        self.plan: PlacementPlan | None = None

    @property
    def journeys(self) -> Mapping[RequestId, Journey]:
        """Every request that has not left, in order of arrival."""
        return self._view

    def waiting(self, stage: Stage) -> list[Journey]:
        """Requests that wait for a stage, in the order in which they began to."""
        return [self._journeys[request] for request in self._waiting[stage]]

    def queue_length(self, stage: Stage) -> int:
        """How many requests wait for a stage; free, where `waiting` costs a list."""
        return len(self._waiting[stage])

    @property
    def workers(self) -> Mapping[WorkerId, Worker]:
        """Every worker that is up, draining ones included."""
        return self._roster.workers

    @property
    def roster(self) -> Roster:
        """The workers by what dispatch looks up: kinds, leases, vacant devices. To read only."""
        return self._roster

    def capable(self, stage: Stage) -> tuple[Worker, ...]:
        """Workers that can be given a stage: they host it, and do not drain."""
        return self._roster.capable(stage)

    @property
    def complete(self) -> frozenset[tuple[PipelineName, ContentDigest]]:
        """Contents that have a worker for every stage, draining ones left out."""
        return self._roster.complete

    def running(self, worker: WorkerId) -> tuple[Segment, ...]:
        """Segments that run on a worker, those that yielded left out.

        The same object until anything changes there.
        """
        return self._segments.on(worker)

    def is_idle(self, worker: WorkerId) -> bool:
        """Whether nothing runs on a worker: all of its slots are free."""
        return not self._segments.on(worker)

    @property
    def parked(self) -> Mapping[SegmentId, Segment]:
        """Segments that yielded: they keep their state on their worker, and hold no device."""
        return self._segments.parked

    def pending(self, segment: SegmentId) -> Resize | Yield | None:
        """What is to happen to a running segment at its next boundary."""
        return self._segments.pending(segment)

    def free_slots(self, worker: WorkerId) -> int:
        """How many more requests a worker takes; 0 for one that drains or is gone."""
        return self._segments.free_slots(worker)

    def lessees(self, device: DeviceId) -> frozenset[WorkerId]:
        """Workers whose segments run on a device now."""
        return self._roster.lessees(device)

    def reserved(self, worker: WorkerId) -> int:
        """Requests that prefer a worker for a stage to come."""
        return self._reserved[worker]

    def apply(self, change: Event | Action) -> None:
        """Take a change over; changes that say nothing about the state are ignored.

        Raises:
            ValueError: the change contradicts the state, which is then as it was.
        """
        match change:
            case Arrived(demand=demand):
                self._arrive(demand)
            case StepFinished(segment=name, step=step):
                self._segments.step(name, step)
            case StageFinished(request=request, stage=stage):
                self._finish(request, stage)
            case StageFailed():
                self._fail(change)
            case Left(request=request) | Refuse(request=request):
                self._leave(request)
            case WorkerUp(worker=worker):
                self._roster.put(worker)
            case WorkerDown(worker=gone):
                self._roster.remove(gone)
            case WorkerDraining(worker=draining):
                self._roster.drain(draining)
            case PlanChanged(plan=plan):
                self.plan = plan
            case Start(segment=segment):
                self._start(segment)
            case Resize():
                self._segments.resize(change)
            case Yield():
                self._segments.ask_to_yield(change)
            case Resume(segment=segment):
                self._segments.resume(segment)
            case Reserve(request=request, stage=stage, worker=preferred):
                journey = self._journey(request)
                self._put(replace(journey, preferred=preferred, preferred_stage=stage))
            case _:
                pass

    # --- requests ---------------------------------------------------------------------------------

    def _journey(self, request: RequestId) -> Journey:
        try:
            return self._journeys[request]
        except KeyError:
            raise ValueError(f"request {request} is not known, or gone") from None

    def _put(self, journey: Journey) -> None:
        """Store a journey; the only place that counts reservations."""
        request = journey.demand.id
        self._unreserve(self._journeys.get(request))
        self._journeys[request] = journey
        if journey.preferred is not None:
            self._reserved[journey.preferred] += 1

    def _unreserve(self, journey: Journey | None) -> None:
        if journey is None or journey.preferred is None:
            return
        self._reserved[journey.preferred] -= 1
        if not self._reserved[journey.preferred]:
            del self._reserved[journey.preferred]

    def _arrive(self, demand: Demand) -> None:
        if demand.id in self._journeys:
            raise ValueError(f"request {demand.id} arrived twice")
        self._wait(Journey(demand=demand))

    def _wait(self, journey: Journey) -> None:
        """Let a journey queue for its stage, behind those that wait already."""
        for waiting in self._waiting.values():
            waiting.pop(journey.demand.id, None)
        if journey.preferred_stage is not journey.stage:
            journey = replace(journey, preferred=None, preferred_stage=None)
        self._put(journey)
        self._waiting[journey.stage][journey.demand.id] = None

    def _finish(self, request: RequestId, stage: Stage) -> None:
        journey = self._journey(request)
        if journey.stage is not stage or journey.running is None:
            raise ValueError(f"request {request} does not run {stage}")
        following = stage.next
        if following is None:
            self._leave(request)
            return
        producer = self._segments.host(journey.running)
        self._stop(journey)
        self._wait(
            replace(journey, stage=following, running=None, producer=producer, excluded=frozenset())
        )

    def _fail(self, failure: StageFailed) -> None:
        journey = self._journey(failure.request)
        self._stop(journey)
        journey = replace(journey, running=None, excluded=failure.excluded, stage=failure.again)
        if failure.again is not failure.stage:
            journey = replace(journey, producer=None)
        if failure.again is Stage.ENCODE:
            # From the beginning: nothing is left that another model content could contradict.
            journey = replace(journey, revision=None, digest=None)
        self._wait(journey)

    def _leave(self, request: RequestId) -> None:
        journey = self._journeys.get(request)
        if journey is None:
            return
        self._stop(journey)
        for waiting in self._waiting.values():
            waiting.pop(request, None)
        self._unreserve(journey)
        del self._journeys[request]

    # --- starts and ends --------------------------------------------------------------------------

    def _start(self, segment: Segment) -> None:
        self._segments.check_room(segment)
        waiting = self._waiting[segment.stage]
        for cursor in segment.requests:
            if cursor.request not in waiting:
                raise ValueError(f"request {cursor.request} does not wait for {segment.stage}")
        worker = self._roster.workers[segment.worker]
        for cursor in segment.requests:
            journey = self._journeys[cursor.request]
            del waiting[cursor.request]
            reserved = journey.preferred_stage is not segment.stage
            self._put(
                replace(
                    journey,
                    preferred=journey.preferred if reserved else None,
                    preferred_stage=journey.preferred_stage if reserved else None,
                    running=segment.id,
                    revision=worker.revision,
                    digest=worker.digest,
                    epoch=segment.epoch,
                )
            )
        self._segments.hold(segment)

    def _stop(self, journey: Journey) -> None:
        """Take a request out of its segment."""
        if journey.running is not None:
            self._segments.leave(journey.running, journey.demand.id)
