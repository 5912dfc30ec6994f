"""Since when segments run, and so when they should end: what the state does not know.

Actions carry no time, so a planner that predicts ends notes when it decided what. It sees every
event and every action of its own; a segment that another planner started counts from when it was
first asked about, which errs on the late side.
"""

from collections.abc import Iterable
from dataclasses import dataclass

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
)
from tridentserve.domain.ids import RequestId, SegmentId
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.options import Options, at_degree
from tridentserve.planner.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """A segment, and what was known of it last."""

    segment: SegmentId
    since_s: float
    step: int
    """Steps that were done at that moment."""


class Running:
    """When the segments that run should end."""

    def __init__(self, options: Options) -> None:
        """Nothing runs."""
        self._options = options
        self._clocks: dict[RequestId, _Clock] = {}
        self._requests: dict[SegmentId, tuple[RequestId, ...]] = {}

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
        journey = state.journeys.get(segment.requests[0].request)
        if kind is None or journey is None:
            return None
        clock = self._clocks.get(journey.demand.id)
        if clock is None or clock.segment != segment.id:
            clock = self._begin(segment, now)
        steps = journey.demand.steps
        if segment.stage is Stage.DIFFUSE:
            steps = max(0, steps - clock.step)
        options = self._options.of(kind, segment.stage, journey.demand.shape, steps)
        option = at_degree(options, segment.strategy.degree)
        return None if option is None else max(0.0, option.mean_s - (now - clock.since_s))

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
