"""The fleet by which `decision_time` measures: virtual time goes on, the planner is told of events.

Nodes of 8 devices that host all stages (CogVideoX profile, eight classes, 6 steps). All of them are
busy while requests wait; with none waiting the fleet is idle. Only what a router does with an event
is timed: apply it, decide, apply what was decided. As a router has, there is one alarm, the
earliest that was asked for. Ends of steps are not told, so nothing that runs yields or is resized.
"""

import heapq
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Arrived,
    Cursor,
    Demand,
    Event,
    Left,
    Resume,
    Segment,
    StageFinished,
    Start,
    WakeAt,
    Woken,
    WorkerDown,
    WorkerUp,
)
from tridentserve.domain.ids import (
    ContentDigest,
    DeviceId,
    Epoch,
    NodeId,
    PipelineName,
    PoolName,
    RequestId,
    Revision,
    SegmentId,
    WorkerId,
)
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.manifest.profile_files import builtin
from tridentserve.planner.cost import CostModel
from tridentserve.planner.registry import dispatch_planner
from tridentserve.planner.state import State

STEPS = 6
SHAPES = tuple(
    Shape(height=768, width=width, frames=frames)
    for width in (432, 1360)
    for frames in (17, 33, 65, 81)
)


def node(index: int) -> Worker:
    """Eight devices that host all stages."""
    name = f"n{index:05}"
    return Worker(
        id=WorkerId(name),
        pipeline=PipelineName("default/video"),
        pool=PoolName("pool"),
        revision=Revision("r"),
        node=NodeId(name),
        pod_uid=name,
        boot_id="1",
        digest=ContentDigest("d"),
        address="127.0.0.1:8500",
        devices=tuple(DeviceId(f"{name}/gpu{gpu}") for gpu in range(8)),
        fraction_percent=100,
        capable=frozenset(STAGES),
        resident=frozenset(STAGES),
        strategies=tuple(Strategy(ulysses=degree) for degree in (1, 2, 4, 8)),
        concurrent=True,
    )


@dataclass
class Bench:
    """A fleet, and when its stages end."""

    policy: str
    devices: int
    waiting: int
    """For diffuse, all along: with each request that is done another arrives. With none the fleet
    is idle, and nobody arrives by itself."""
    rng: Random = field(default_factory=lambda: Random(0))
    now: float = 0.0
    woken: list[float] = field(default_factory=list)
    """Processor seconds of each alarm that the planner had asked for."""

    def __post_init__(self) -> None:
        """All devices are busy and as many wait as should, or nothing happens."""
        self.cost = CostModel(builtin("cogvideox"))
        self.planner = dispatch_planner(self.policy, self.cost)
        self.state = State()
        self._agenda: list[tuple[float, int, Event]] = []
        self._order = count()
        self._names = count(1)
        self._alarm_s: float | None = None
        # Takes the encodes of those who wait from the beginning, and is gone then.
        encoder = replace(
            node(0), id=WorkerId("encoder"), devices=(DeviceId("encoder/gpu"),), concurrent=False
        )
        self.state.apply(WorkerUp(worker=encoder))
        for index in range(self.devices // 8):
            one = node(index)
            self.state.apply(WorkerUp(worker=one))
            if self.waiting:
                self._fill(one)
        for _ in range(self.waiting):
            self._encoded()
        self.state.apply(WorkerDown(worker=encoder.id))

    def step(self) -> float | None:
        """The next event; processor seconds that it took, None where nobody is to be told of it."""
        self.now, _, event = heapq.heappop(self._agenda)
        match event:
            case Woken():
                if self._alarm_s != self.now:
                    return None  # an earlier one was asked for
                self._alarm_s = None
                self.woken.append(self._tell(event))
                return self.woken[-1]
            case StageFinished(request=request) if request not in self.state.journeys:
                return None
            case StageFinished(stage=Stage.DECODE) if self.waiting:
                self._add(self.now, self._arrival())
            case _:
                pass
        return self._tell(event)

    def arrive(self) -> tuple[RequestId, float]:
        """A request arrives now, beside those that are due; its name, and processor seconds."""
        arrived = self._arrival()
        return arrived.demand.id, self._tell(arrived)

    def has_begun(self, request: RequestId) -> bool:
        """Whether a request's diffuse was started."""
        journey = self.state.journeys.get(request)
        if journey is None or journey.stage is Stage.DECODE:
            return True
        return journey.stage is Stage.DIFFUSE and journey.running is not None

    def forget(self, requests: Iterable[RequestId]) -> None:
        """Their callers give them up; a fleet that was idle is so again."""
        for request in requests:
            if request in self.state.journeys:
                self._tell(Left(request=request))
        while self._agenda and not self.waiting:
            self.step()

    def _tell(self, event: Event) -> float:
        """Apply an event, decide, apply what was decided; processor seconds that it took."""
        begun = time.thread_time()
        self.state.apply(event)
        actions = self.planner.decide(self.state, event, self.now)
        for action in actions:
            self.state.apply(action)
        spent = time.thread_time() - begun
        for action in actions:
            match action:
                case Start(segment=segment) | Resume(segment=segment):
                    self._end(segment, 1.0)
                case WakeAt(at_s=at_s) if self._alarm_s is None or at_s < self._alarm_s:
                    self._alarm_s = max(at_s, self.now)
                    self._add(self._alarm_s, Woken())
                case _:
                    pass
        return spent

    def _add(self, at_s: float, event: Event) -> None:
        heapq.heappush(self._agenda, (at_s, next(self._order), event))

    def _arrival(self) -> Arrived:
        shape = self.rng.choice(SHAPES)
        best = self.cost.fastest(Stage.DIFFUSE, shape, STEPS)
        assert best is not None
        name = RequestId(f"r{next(self._names):07}")
        due_s = self.now + self.rng.uniform(1, 6) * best.mean_s
        return Arrived(
            demand=Demand(
                id=name,
                shape=shape,
                steps=STEPS,
                guidance=6.0,
                count=1,
                arrived_s=self.now,
                deadline_s=due_s,
            )
        )

    def _encoded(self) -> Demand:
        """A request that waits for diffuse."""
        arrived = self._arrival()
        host, device = WorkerId("encoder"), DeviceId("encoder/gpu")
        self.state.apply(arrived)
        self._start(arrived.demand, Stage.ENCODE, host, (device,))
        self.state.apply(StageFinished(request=arrived.demand.id, stage=Stage.ENCODE, seconds=0.3))
        return arrived.demand

    def _fill(self, one: Worker) -> None:
        """Diffusion of random degrees on all devices of a node."""
        left = list(one.devices)
        while left:
            degree = self.rng.choice([d for d in (1, 1, 2, 4, 8) if d <= len(left)])
            demand = self._encoded()
            segment = self._start(demand, Stage.DIFFUSE, one.id, tuple(left[:degree]))
            self._end(segment, self.rng.random())
            left = left[degree:]

    def _start(
        self, demand: Demand, stage: Stage, host: WorkerId, devices: tuple[DeviceId, ...]
    ) -> Segment:
        segment = Segment(
            id=SegmentId(f"{demand.id}/{stage}/0"),
            worker=host,
            stage=stage,
            devices=devices,
            strategy=Strategy(ulysses=len(devices)),
            requests=(Cursor(request=demand.id),),
            epoch=Epoch(1),
        )
        self.state.apply(Start(segment=segment, reason=""))
        return segment

    def _end(self, segment: Segment, share: float) -> None:
        request = segment.requests[0].request
        demand = self.state.journeys[request].demand
        call = self.cost.estimate(
            segment.stage, demand.shape, STEPS, 100, strategy=segment.strategy
        )
        assert call is not None
        event = StageFinished(request=request, stage=segment.stage, seconds=call.mean_s)
        self._add(self.now + share * call.mean_s, event)
