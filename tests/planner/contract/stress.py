"""A fleet to which anything happens, for what every dispatch planner must keep to.

Nodes of eight devices that run several calls at once, pairs and single devices that do not, stages
together and alone, batches; requests of three classes, the largest of which fits on four devices
and more. The story plays router, workers, and a planner before this one that resized and parked.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from tests.planner.floor import Driver, demand, worker
from tests.planner.pricing import UP_TO_8, call, step

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Action,
    Arrived,
    Event,
    Left,
    PlanChanged,
    Resize,
    Segment,
    StageFailed,
    StageFinished,
    StepFinished,
    Woken,
    WorkerDown,
    WorkerDraining,
    WorkerUp,
    Yield,
)
from tridentserve.domain.ids import DeviceId, Epoch, WorkerId
from tridentserve.domain.plans import Flow, PlacementPlan, PoolShape
from tridentserve.domain.profiles import Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.state import State

E, D, C = STAGES
SHAPES = tuple(Shape(height=64 * n, width=64) for n in (1, 4, 16))
_STEP_S = {1: (0.5, 0.4, 0.3, 0.3), 4: (4.0, 2.1, 1.2, 0.9), 16: (32.0, 16.5, 8.4, 4.4)}
STEPS = 4
LAST = "last"
"""Prefix of the workers that stay, so that everything can be served in the end."""


def costs() -> CostModel:
    """Weights of 50 on a device of 100; diffuse of the largest peaks at 160 in all."""
    known = []
    for shape, (size, seconds) in zip(SHAPES, _STEP_S.items(), strict=True):
        for strategy, one_s in zip(UP_TO_8, seconds, strict=True):
            peak = 10 * size // strategy.degree
            known.append(step(one_s, strategy, shape=shape, peak_bytes=peak))
        known += [call(E, 0.3, shape=shape), call(C, 0.2 * size, shape=shape)]
    return CostModel(
        Profile(
            name="stress",
            source="test",
            samples=tuple(known),
            weights_bytes=((E, 15), (D, 25), (C, 10)),
            usable_bytes=100,
        )
    )


def fleet(rng: Random) -> list[Worker]:
    """Some workers of every sort, and one node for all stages that stays."""
    found = [_node(f"{LAST}-node", STAGES, 8, 1)]
    for index in range(rng.randint(1, 5)):
        stages = rng.choice([(E,), (D,), (C,), (E, C), (D, C), STAGES, STAGES])
        devices = rng.choice([1, 2, 8, 8])
        found.append(_node(f"w{index}", stages, devices, rng.randint(1, 3)))
    return found


def _node(name: str, stages: tuple, devices: int, slots: int) -> Worker:  # type: ignore[type-arg]
    held = tuple(f"{name}/gpu{index}" for index in range(devices))
    one = worker(name, *stages, devices=held, slots=slots, domain=f"m-{name}")
    strategies = tuple(strategy for strategy in UP_TO_8 if strategy.degree <= devices)
    return replace(one, strategies=strategies, concurrent=devices == 8)


def plan(rng: Random) -> PlacementPlan:
    """Advice that may be good, or about pools that are not there."""
    flows = tuple(
        Flow(
            shape=rng.choice(SHAPES),
            steps=STEPS,
            stage=rng.choice(STAGES),
            pool=PoolShape(
                stages=rng.choice([tuple(sorted(STAGES)), (D,), (C, D)]),
                devices=rng.choice([1, 2, 8]),
                fraction_percent=100,
            ),
            strategy=Strategy(ulysses=rng.choice([1, 2, 4, 8])),
            share=rng.random(),
            devices=rng.choice([None, 1, 4]),
        )
        for _ in range(rng.randint(0, 4))
    )
    return PlacementPlan(pools=(), reasons=(), flows=flows)


def segments(state: State) -> Iterator[Segment]:
    """All that run."""
    for name in state.workers:
        yield from state.running(name)


class Story:
    """What happens next; every choice by the generator, from the state."""

    def __init__(self, rng: Random, workers: list[Worker]) -> None:
        """Nothing has happened yet."""
        self._rng = rng
        self._workers = {one.id: one for one in workers}
        self._arrived = 0

    def next(self, state: State, now: float) -> list[Event | Action]:
        """Some events, or what an earlier planner decided."""
        kinds = ["arrive"] * 6 + ["finish"] * 6 + ["step"] * 2 + ["resize", "yield", "fail"]
        match self._rng.choice([*kinds, "leave", "drain", "down", "up", "plan", "wake"]):
            case "arrive":
                return [self._arrive(now) for _ in range(self._rng.randint(1, 3))]
            case "wake":
                return [Woken()]
            case "plan":
                return [PlanChanged(plan=plan(self._rng))]
            case "drain" | "down" | "up" as what:
                return self._fleet(what, state)
            case what:
                running = list(segments(state))
                return self._work(what, self._rng.choice(running), state) if running else []

    def everybody_back(self) -> list[Event | Action]:
        """All workers as they were."""
        return [WorkerUp(worker=one) for one in self._workers.values()]

    def _arrive(self, now: float) -> Arrived:
        self._arrived += 1
        slack_s = self._rng.choice([-10.0, 5.0, 60.0, 600.0])
        shape = self._rng.choice(SHAPES)
        name = f"r{self._arrived}"
        return Arrived(demand=demand(name, now, now + slack_s, shape=shape, steps=STEPS))

    def _fleet(self, what: str, state: State) -> list[Event | Action]:
        names = [one for one in self._workers if not one.startswith(LAST)]
        name = self._rng.choice(names)
        if what == "up":
            return [WorkerUp(worker=self._workers[name])]
        if what == "drain" or name not in state.workers:
            return [WorkerDraining(worker=name)]
        lost = [cursor.request for one in state.running(name) for cursor in one.requests]
        lost += [
            cursor.request
            for one in state.parked.values()
            if one.worker == name
            for cursor in one.requests
        ]
        return [WorkerDown(worker=name), *(self._failed(str(one), state, name) for one in lost)]

    def _failed(self, request: str, state: State, worker: WorkerId) -> StageFailed:
        journey = next(one for one in state.journeys.values() if one.demand.id == request)
        return StageFailed(
            request=journey.demand.id,
            stage=journey.stage,
            again=self._rng.choice([journey.stage, journey.stage, E]),
            excluded=frozenset({worker}),
        )

    def _work(self, what: str, segment: Segment, state: State) -> list[Event | Action]:
        request = segment.requests[0].request
        alone = (
            sum(set(one.devices) & set(segment.devices) != set() for one in segments(state)) == 1
        )
        match what:
            case "finish":
                return [StageFinished(request=request, stage=segment.stage, seconds=1.0)]
            case "fail":
                return [self._failed(str(request), state, segment.worker)]
            case "leave":
                return [Left(request=request)]
            case "step":
                return self._step(segment)
            case "resize" if alone and segment.stage is D:
                return self._resize(segment, state)
            case "yield" if alone and segment.stage is D:
                epoch = Epoch(segment.epoch + 1)
                return [Yield(segment=segment.id, epoch=epoch, reason=""), *self._step(segment)]
            case _:
                return []

    def _step(self, segment: Segment) -> list[Event | Action]:
        done = min(STEPS, segment.requests[0].step + 1)
        return [StepFinished(segment=segment.id, step=done)] if segment.stage is D else []

    def _resize(self, segment: Segment, state: State) -> list[Event | Action]:
        worker = state.workers.get(segment.worker)
        if worker is None or not worker.concurrent:
            return []
        free = [one for one in worker.devices if not state.lessees(one)]
        room: list[DeviceId] = [*segment.devices, *free]
        degree = self._rng.choice([one for one in (1, 2, 4, 8) if one <= len(room)])
        return [
            Resize(
                segment=segment.id,
                devices=tuple(room[:degree]),
                strategy=Strategy(ulysses=degree),
                epoch=Epoch(segment.epoch + 1),
                reason="",
            ),
            *self._step(segment),
        ]


EVENTS = Event.__args__


def tell(floor: Driver, change: Event | Action) -> list[Action]:
    """An event goes to the planner; what an earlier planner decided, to the state alone."""
    if isinstance(change, EVENTS):
        return floor.send(change)
    floor.state.apply(change)
    return []
