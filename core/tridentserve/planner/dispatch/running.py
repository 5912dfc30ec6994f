"""Since when segments run, and so when they should end: what the state does not know.

Actions carry no time, so a planner that predicts ends notes when it decided what. It sees every
event and every action of its own; a segment that another planner started counts from when it was
first asked about, which errs on the late side.

Reservations ask for the same workers in decision after decision, while little changes on each, so
predicted ends are kept by worker until something does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from tridentserve.domain.dispatch import (
    Action,
    Event,
    Left,
    Refuse,
    Resume,
    Segment,
    StageFailed,
    StageFinished,
    Start,
    StepFinished,
    WorkerDown,
)
from tridentserve.domain.ids import DeviceId, RequestId, SegmentId, WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.options import Options, at_degree
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """A segment, and what was known of it last."""

    segment: SegmentId
    since_s: float
    step: int
    """Steps that were done at that moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """Predicted ends on one worker, with what they were made of."""

    running: tuple[Segment, ...]
    kind: Kind | None
    version: int
    by_device: Mapping[DeviceId, float]
    in_order: tuple[float, ...]


class Running:
    """When the segments that run should end."""

    def __init__(self, options: Options) -> None:
        """Nothing runs."""
        self._options = options
        self._clocks: dict[RequestId, _Clock] = {}
        self._requests: dict[SegmentId, tuple[RequestId, ...]] = {}
        self._ends: dict[WorkerId, _Ends] = {}

    def see(self, event: Event, now: float) -> None:
        """Take an event over; call it first in every decision."""
        match event:
            case StageFinished(request=request) | StageFailed(request=request):
                self._forget(request)
            case Left(request=request):
                self._forget(request)
            case StepFinished(segment=segment, step=step):
                for request in self._requests.get(segment, ()):
                    self._clocks[request] = _Clock(segment=segment, since_s=now, step=step)
            case WorkerDown(worker=worker):
                self._ends.pop(worker, None)
            case _:
                pass

    def note(self, actions: Iterable[Action], now: float) -> None:
        """Take the actions of a decision over; call it last."""
        for action in actions:
            match action:
                case Start(segment=segment) | Resume(segment=segment):
                    self._begin(segment, now)
                case Refuse(request=request):
                    self._forget(request)
                case _:
                    pass

    def remaining_s(self, state: State, segment: Segment, now: float) -> float | None:
        """Seconds that a running segment should still take; None where its cost is unknown.

        0 where it should have ended already. A resize that waits for a boundary is not foreseen.
        """
        kind = state.roster.kind(segment.worker)
        end_s = self._end_s(state, kind, segment, now)
        return None if end_s == inf else max(0.0, end_s - now)

    def ends(self, state: State, worker: WorkerId, now: float) -> Mapping[DeviceId, float]:
        """When the devices that a worker's segments use should be vacant, by device.

        Infinite where the cost is unknown; moments that have passed belong to what is overdue. A
        resize that waits for a boundary is not foreseen.
        """
        return self._ends_on(state, worker, now).by_device

    def ends_in_order(self, state: State, worker: WorkerId, now: float) -> tuple[float, ...]:
        """The moments of `ends`, one for each device, ascending."""
        return self._ends_on(state, worker, now).in_order

    def _ends_on(self, state: State, worker: WorkerId, now: float) -> _Ends:
        """What is kept of a worker: until its segments change, or what is known of its kind."""
        running, kind = state.running(worker), state.roster.kind(worker)
        version, known = self._options.version, self._ends.get(worker)
        if (
            known is not None
            and known.running is running
            and known.kind is kind
            and known.version == version
        ):
            return known
        found: dict[DeviceId, float] = {}
        for segment in running:
            end_s = self._end_s(state, kind, segment, now)
            for device in segment.devices:
                found[device] = max(end_s, found.get(device, end_s))
        ends = self._ends[worker] = _Ends(
            running=running,
            kind=kind,
            version=version,
            by_device=found,
            in_order=tuple(sorted(found.values())),
        )
        return ends

    def _end_s(self, state: State, kind: Kind | None, segment: Segment, now: float) -> float:
        """When a segment should end; infinite where that is unknown."""
        journey = state.journeys.get(segment.requests[0].request)
        if kind is None or journey is None:
            return inf
        clock = self._clocks.get(journey.demand.id)
        if clock is None or clock.segment != segment.id:
            clock = self._begin(segment, now)
        demand, stage = journey.demand, segment.stage
        steps = max(0, demand.steps - clock.step) if stage is Stage.DIFFUSE else demand.steps
        call = (kind, stage, demand.shape, steps, demand.pictures(stage))
        option = self._options.exactly(*call, segment.strategy)
        if option is None:
            option = at_degree(self._options.of(*call), segment.strategy.degree)
        return inf if option is None else clock.since_s + option.mean_s

    def _begin(self, segment: Segment, now: float) -> _Clock:
        requests = tuple(cursor.request for cursor in segment.requests)
        for cursor in segment.requests:
            self._forget(cursor.request)
            self._clocks[cursor.request] = _Clock(segment=segment.id, since_s=now, step=cursor.step)
        self._requests[segment.id] = requests
        return self._clocks[requests[0]]

    def _forget(self, request: RequestId) -> None:
        clock = self._clocks.pop(request, None)
        if clock is None:
            return
        left = tuple(one for one in self._requests.get(clock.segment, ()) if one != request)
        if left:
            self._requests[clock.segment] = left
        else:
            self._requests.pop(clock.segment, None)
