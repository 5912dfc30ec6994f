"""How long a dispatch decision takes, state upkeep included, on one core.

    python benchmarks/decision_time.py [--policy DeadlineAware --policy Fifo] [--events 2000]

Nodes of 8 devices that host all stages (CogVideoX profile, eight classes, 6 steps) are all busy and
requests wait: 1,000 on 128 devices and 10,000 on 10,240. From there virtual time goes on: stages
end when they should, and with each request that is done another arrives, so as many wait all along.
Timed is what a router does with one event: apply it, decide, apply what was decided. The unit is
processor time of this thread, so a busy machine does not count, but its cold caches do.

Also said is the share of one core at the rate of events that so many devices make: four events a
request (arrival and three stages), 1.5 requests a second on 128 devices.
"""

import argparse
import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Arrived,
    Cursor,
    Demand,
    Event,
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
from tridentserve.planner.registry import DISPATCH_POLICIES, dispatch_planner
from tridentserve.planner.state import State

SIZES = ((128, 1000), (10_240, 10_000))
USUAL = ("Fifo", "EarliestDeadline/Largest", "TetriRounds", "EdfPreemptive", "ServerFilling")
REQUESTS_PER_S = 1.5 / 128
EVENTS_PER_REQUEST = 4
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
    """A busy fleet, and when its stages end."""

    policy: str
    devices: int
    waiting: int
    rng: Random = field(default_factory=lambda: Random(0))
    now: float = 0.0

    def __post_init__(self) -> None:
        """All devices are busy, and as many wait as should."""
        self.cost = CostModel(builtin("cogvideox"))
        self.planner = dispatch_planner(self.policy, self.cost)
        self.state = State()
        self.ends: list[tuple[float, str, Event]] = []
        self.count = 0
        # Takes the encodes of those who wait from the beginning, and is gone then.
        encoder = replace(
            node(0), id=WorkerId("encoder"), devices=(DeviceId("encoder/gpu"),), concurrent=False
        )
        self.state.apply(WorkerUp(worker=encoder))
        for index in range(self.devices // 8):
            one = node(index)
            self.state.apply(WorkerUp(worker=one))
            self._fill(one)
        for _ in range(self.waiting):
            self._encoded()
        self.state.apply(WorkerDown(worker=encoder.id))

    def step(self) -> float:
        """The next event; processor seconds that it took."""
        self.now, _, event = heapq.heappop(self.ends)
        if isinstance(event, StageFinished) and event.request not in self.state.journeys:
            return -1.0
        if isinstance(event, StageFinished) and event.stage is Stage.DECODE:
            heapq.heappush(self.ends, (self.now, f"~{self.count}", self._arrival()))
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
                case WakeAt(at_s=at_s):
                    heapq.heappush(self.ends, (at_s, f"~w{len(self.ends)}", Woken()))
                case _:
                    pass
        return spent

    def _arrival(self) -> Arrived:
        self.count += 1
        shape = self.rng.choice(SHAPES)
        best = self.cost.fastest(Stage.DIFFUSE, shape, STEPS)
        assert best is not None
        name = RequestId(f"r{self.count:07}")
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
        heapq.heappush(self.ends, (self.now + share * call.mean_s, str(segment.id), event))


def report(bench: Bench, events: int) -> str:
    """One line of the table."""
    first = bench.step()  # queues are built, estimates are looked up
    spent = sorted(one for one in (bench.step() for _ in range(events)) if one >= 0)
    mean = sum(spent) / len(spent)
    rate = bench.devices * REQUESTS_PER_S * EVENTS_PER_REQUEST
    return (
        f"| {bench.policy} | {bench.devices} | {bench.waiting} | {1e3 * spent[len(spent) // 2]:.2f}"
        f" | {1e3 * spent[int(0.99 * len(spent))]:.2f} | {1e3 * spent[-1]:.1f} |"
        f" {1e3 * first:.0f} | {100 * mean * rate:.1f} |"
    )


def lines(policies: list[str], events: int) -> Iterator[str]:
    """The table."""
    yield "| policy | devices | waiting | p50 ms | p99 ms | max ms | first ms | % of a core |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for policy in policies:
        for devices, waiting in SIZES:
            yield report(Bench(policy, devices, waiting), events)


def main() -> None:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policy", action="append", choices=DISPATCH_POLICIES)
    parser.add_argument("--events", type=int, default=2000)
    arguments = parser.parse_args()
    for line in lines(arguments.policy or ["DeadlineAware", *USUAL], arguments.events):
        print(line, flush=True)


if __name__ == "__main__":
    main()
