"""Small profiles, scenarios and planners for tests of the simulator."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tridentserve.domain.dispatch import Action, Cursor, Event, Segment, Start
from tridentserve.domain.ids import Epoch, SegmentId
from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.planner.protocols import DispatchPlanner
from tridentserve.planner.state import Journey, State
from tridentserve.sim.experiment import Experiment, experiment_of
from tridentserve.sim.results import Result
from tridentserve.sim.run import simulate
from tridentserve.sim.scenario import DecisionPart, Scenario
from tridentserve.sim.workload import Ask

SHAPE = Shape(height=512, width=512)
STEPS = 10
STEP_S = {1: 2.0, 2: 1.25, 4: 0.75, 8: 0.5}
ENCODE_S, TAIL_S, DECODE_S = 0.5, 1.0, 3.0
NOTHING = {"base_s": 0.0, "per_waiting_s": 0.0, "per_device_s": 0.0}
FREE_WORLD = {
    "noise": 0.0,
    "store": "memory",
    "group_hot_s": 0.0,
    "group_cold_s": 0.0,
    "resize_s": 0.0,
}


def profile(shapes: Iterable[Shape] = (SHAPE,), **more: Any) -> Profile:
    """Encode 0.5 s, ten steps of 2 s on one device and a tail of 1 s, decode 3 s."""
    samples = []
    for shape in shapes:
        samples += [
            Sample(stage=Stage.ENCODE, shape=shape, fixed_s=ENCODE_S),
            Sample(stage=Stage.DECODE, shape=shape, fixed_s=DECODE_S),
        ]
        samples += [
            Sample(
                stage=Stage.DIFFUSE,
                shape=shape,
                fixed_s=TAIL_S,
                step_s=step_s,
                strategy=group(degree),
            )
            for degree, step_s in STEP_S.items()
        ]
    return Profile(name="test", source="test", samples=tuple(samples), steps=STEPS, **more)


def group(degree: int) -> Strategy:
    """A strategy of so many devices."""
    return SINGLE if degree == 1 else Strategy(ulysses=degree)


def scenario(*, world: dict[str, Any] | None = None, **more: Any) -> Scenario:
    """One node with 8 devices in one worker, no noise, nothing charged."""
    content: dict[str, Any] = {
        "name": "test",
        "seed": 1,
        "duration_s": 100.0,
        "drain_s": 1000.0,
        "cluster": {"nodes": 1, "devices_per_node": 8},
        "profile": {"name": "cogvideox"},
        "workload": {"shapes": ["512x512"], "steps": STEPS, "rate_per_s": 0.1},
        "decision": NOTHING,
        "world": FREE_WORLD | (world or {}),
        "dispatch": "Fifo",
    }
    return Scenario.model_validate(content | more)


def asks(*moments: float, shape: Shape = SHAPE) -> tuple[Ask, ...]:
    """Requests at these moments."""
    return tuple(Ask(at_s=moment, shape=shape, steps=STEPS) for moment in moments)


@dataclass
class Script:
    """A planner that starts each stage as it is told, first come first served, and notes all."""

    degrees: dict[Stage, int] = field(default_factory=dict)
    batch: int = 1
    more: Callable[[State, Event, float], list[Action]] = lambda state, event, now: []
    events: list[tuple[float, Event]] = field(default_factory=list)

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """Start what fits, on the first vacant devices of the first worker that has them."""
        self.events.append((now, event))
        extra = self.more(state, event, now)
        return [*extra, *(self._starts(state) if not extra else ())]

    def _starts(self, state: State) -> list[Action]:
        found: list[Action] = []
        left = {one.id: list(state.roster.vacant_devices(one)) for one in state.workers.values()}
        for stage in STAGES:
            waiting = state.waiting(stage)
            degree = self.degrees.get(stage, 1)
            while waiting:
                worker = next(
                    (one for one in state.capable(stage) if len(left[one.id]) >= degree), None
                )
                if worker is None:
                    break
                devices = tuple(left[worker.id][:degree])
                left[worker.id] = left[worker.id][degree:]
                for journey in waiting[: self.batch]:
                    found.append(start(journey, worker.id, devices, degree))
                waiting = waiting[self.batch :]
        return found


def start(journey: Journey, worker: Any, devices: Any, degree: int) -> Start:
    """Start a journey's stage."""
    epoch = Epoch(journey.epoch + 1)
    return Start(
        segment=Segment(
            id=SegmentId(f"{journey.demand.id}/{journey.stage}/{epoch}"),
            worker=worker,
            stage=journey.stage,
            devices=tuple(devices),
            strategy=group(degree),
            requests=(Cursor(request=journey.demand.id),),
            epoch=epoch,
        ),
        reason="script",
    )


def play(
    given: Scenario,
    requests: tuple[Ask, ...],
    planner: DispatchPlanner | None = None,
    truth: Profile | None = None,
    **more: Any,
) -> Result:
    """Run requests through a planner."""
    chosen = planner or Fifo()

    def make(cost: CostModel) -> DispatchPlanner:
        return chosen

    return simulate(
        Experiment(
            scenario=given,
            profile=truth or profile(),
            asks=requests,
            dispatch=make,
            **more,
        )
    )


def decision(base_s: float, per_waiting_s: float = 0.0, per_device_s: float = 0.0) -> DecisionPart:
    """What decisions cost."""
    return DecisionPart(base_s=base_s, per_waiting_s=per_waiting_s, per_device_s=per_device_s)


NOISY = {"noise": 0.1, "group_cold_s": 0.8, "group_hot_s": 0.01, "resize_s": 0.05}
BUSY = {"shapes": ["512x512", "256x256"], "steps": 5, "rate_per_s": 0.4, "process": "Poisson"}


def busy(**more: Any) -> Scenario:
    """Two classes, some forty requests, with noise and charges."""
    return scenario(world=NOISY, workload=BUSY, **more)


def run(given: Scenario) -> Result:
    """Run a scenario as it is written."""
    return simulate(experiment_of(given, profile([SHAPE, Shape(height=256, width=256)])))
