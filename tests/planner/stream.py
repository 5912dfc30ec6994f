"""A stream of requests without end, in virtual time, and one that it might starve.

The fleet is never idle: a device that becomes vacant finds others waiting, as many as `waiting`,
and whoever starts is replaced at once. Only diffuse takes time, step by step, each call up to three
times as long as predicted; so planners that pause get their step boundaries, and those that decide
in rounds are woken.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from tests.planner.contract.stress import segments
from tests.planner.floor import Driver, worker
from tests.planner.pricing import LARGE, SMALL, UP_TO_8, call, model, step

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Arrived,
    Demand,
    Event,
    Segment,
    StageFailed,
    StageFinished,
    StepFinished,
    WakeAt,
    Woken,
)
from tridentserve.domain.ids import RequestId, SegmentId, WorkerId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES
from tridentserve.planner.cost import CostModel

E, D, C = STAGES
SLOWEST = 3.0
"""Times what was predicted that a call takes at most."""
Make = Callable[[str, Random, float], Demand]
"""A request of the stream, that arrives now."""


MIDDLE = Shape(height=96, width=96)
DEVICES = {SMALL: 1, MIDDLE: 2, LARGE: 8}
"""Of a node, that a shape has the memory on."""


def costs() -> CostModel:
    """A step takes 1 s on as many devices as it fits on, and gains nothing by more; so do calls."""
    known = []
    for shape, devices in DEVICES.items():
        for one in UP_TO_8:
            seconds = max(1.0, devices / one.degree)
            peak_bytes = 100 * devices // one.degree
            known.append(step(seconds, one, shape=shape, peak_bytes=peak_bytes))
        known += [call(stage, 1.0, shape=shape) for stage in (E, C)]
    return CostModel(replace(model(*known).profile, usable_bytes=100))


def nodes(count: int) -> list[Worker]:
    """Nodes of eight devices, for all stages."""
    found = []
    for name in (f"n{index}" for index in range(count)):
        one = worker(name, *STAGES, devices=tuple(f"{name}/gpu{index}" for index in range(8)))
        found.append(replace(one, strategies=UP_TO_8, concurrent=True))
    return found


@dataclass
class Stream:
    """Plays router, workers and users; `make` says what comes."""

    floor: Driver
    rng: Random
    make: Make
    waiting: int
    starts: dict[str, float] = field(default_factory=dict)
    """When diffuse of a request started first."""
    _boundaries: list[tuple[float, SegmentId]] = field(default_factory=list)
    """The next one of every segment that diffuses."""
    _wakes: list[float] = field(default_factory=list)
    _arrived: int = 0

    def send(self, event: Event) -> None:
        """One event, and all that takes no time after it."""
        for action in self.floor.send(event):
            if isinstance(action, WakeAt):
                heapq.heappush(self._wakes, action.at_s)
        known = {name for _, name in self._boundaries}
        running = list(segments(self.floor.state))
        for segment in running:
            if segment.stage is D and segment.id not in known:
                self.starts.setdefault(str(segment.requests[0].request), self.floor.now)
                moment = self.floor.now + self.rng.uniform(0.5, SLOWEST)
                heapq.heappush(self._boundaries, (moment, segment.id))
        instant = next((one for one in running if one.stage is not D), None)
        if instant is not None:
            self._finish(instant)

    def fail(self, name: str) -> WorkerId:
        """What a request runs on fails at it, so that it is to run elsewhere."""
        request = RequestId(name)
        one = next(one for one in segments(self.floor.state) if one.requests[0].request == request)
        self._boundaries = [entry for entry in self._boundaries if entry[1] != one.id]
        heapq.heapify(self._boundaries)
        del self.starts[name]
        excluded = frozenset({one.worker})
        self.send(StageFailed(request=request, stage=D, again=D, excluded=excluded))
        return one.worker

    def until(self, name: str, moment: float) -> float | None:
        """Let time pass; when diffuse of a request started, None where that is later."""
        while self.floor.now <= moment:
            if name in self.starts:
                return self.starts[name]
            if self._others(name) < self.waiting:
                self._arrived += 1
                made = self.make(f"r{self._arrived}", self.rng, self.floor.now)
                self.send(Arrived(demand=made))
            else:
                self._pass_time()
        return None

    def _others(self, name: str) -> int:
        """How many wait beside the one that is watched."""
        queued = sum(self.floor.state.queue_length(stage) for stage in STAGES)
        watched = self.floor.state.journeys.get(RequestId(name))
        return queued - (watched is not None and watched.running is None)

    def _pass_time(self) -> None:
        if self._wakes and (not self._boundaries or self._wakes[0] <= self._boundaries[0][0]):
            self.floor.now = max(self.floor.now, heapq.heappop(self._wakes))
            self.send(Woken())
            return
        self.floor.now, name = heapq.heappop(self._boundaries)
        segment = next(one for one in segments(self.floor.state) if one.id == name)
        cursor = segment.requests[0]
        if cursor.step + 1 == self.floor.state.journeys[cursor.request].demand.steps:
            self._finish(segment)
        else:
            self.send(StepFinished(segment=name, step=cursor.step + 1))

    def _finish(self, segment: Segment) -> None:
        request = segment.requests[0].request
        self.send(StageFinished(request=request, stage=segment.stage, seconds=1.0))
