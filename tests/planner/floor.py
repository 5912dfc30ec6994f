"""Workers and requests for dispatch tests, and a driver that plays router and workers."""

from dataclasses import dataclass, field, replace
from random import Random

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Action,
    Arrived,
    Demand,
    Event,
    StageFailed,
    StageFinished,
    Start,
    WorkerUp,
)
from tridentserve.domain.ids import (
    ContentDigest,
    DeviceId,
    MemoryDomain,
    NodeId,
    PipelineName,
    PoolName,
    RequestId,
    Revision,
    WorkerId,
)
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.protocols import DispatchPlanner
from tridentserve.planner.state import State

SQUARE = Shape(height=64, width=64)


def worker(
    name: str,
    *stages: Stage,
    devices: tuple[str, ...] | None = None,
    digest: str = "d1",
    pipeline: str = "default/flux",
    slots: int = 1,
    domain: str | None = None,
    fraction: int = 100,
    draining: bool = False,
    isolated: bool = False,
) -> Worker:
    """A worker of these stages, on a device of its own where none is named."""
    held = devices if devices is not None else (f"cpu/{name}",)
    return Worker(
        id=WorkerId(name),
        pipeline=PipelineName(pipeline),
        pool=PoolName("pool"),
        revision=Revision(f"r-{digest}"),
        node=NodeId("n1"),
        pod_uid=name,
        boot_id="1",
        digest=ContentDigest(digest),
        address="127.0.0.1:8500",
        devices=tuple(DeviceId(device) for device in held),
        fraction_percent=fraction,
        capable=frozenset(stages),
        resident=frozenset(stages),
        slots=slots,
        domain=None if domain is None else MemoryDomain(domain),
        draining=draining,
        isolated=isolated,
    )


def demand(
    name: str,
    arrived_s: float = 0.0,
    deadline_s: float = 100.0,
    *,
    shape: Shape = SQUARE,
    steps: int = 4,
    count: int = 1,
    pipeline: str | None = None,
) -> Demand:
    """A request."""
    return Demand(
        id=RequestId(name),
        shape=shape,
        steps=steps,
        guidance=5.0,
        count=count,
        arrived_s=arrived_s,
        deadline_s=deadline_s,
        pipeline=None if pipeline is None else PipelineName(pipeline),
    )


def chain(digest: str = "d1") -> list[Worker]:
    """One worker a stage."""
    return [worker(f"{stage}-{digest}", stage, digest=digest) for stage in STAGES]


def state_of(*workers: Worker) -> State:
    """A state with these workers up."""
    state = State()
    for one in workers:
        state.apply(WorkerUp(worker=one))
    return state


@dataclass
class Driver:
    """Applies events, asks the planner, and carries its actions out, as a router does."""

    planner: DispatchPlanner
    state: State
    now: float = 0.0
    started: list[Start] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def send(self, event: Event) -> list[Action]:
        """One event, and what it leads to."""
        self.state.apply(event)
        actions = self.planner.decide(self.state, event, self.now)
        for action in actions:
            self.state.apply(action)
        self.started += [action for action in actions if isinstance(action, Start)]
        self.actions += actions
        return actions

    def arrive(self, *demands: Demand) -> None:
        """Requests arrive, one after the other."""
        for one in demands:
            self.send(Arrived(demand=one))

    def finish(self, name: str) -> None:
        """A request's stage is done."""
        journey = self.state.journeys[RequestId(name)]
        assert journey.running is not None
        self.send(StageFinished(request=journey.demand.id, stage=journey.stage, seconds=1.0))

    def fail(self, name: str, *excluded: str, again: Stage | None = None) -> None:
        """A request's stage failed."""
        journey = self.state.journeys[RequestId(name)]
        self.send(
            StageFailed(
                request=journey.demand.id,
                stage=journey.stage,
                again=again or journey.stage,
                excluded=frozenset(WorkerId(one) for one in excluded),
            )
        )

    def running(self) -> list[str]:
        """Requests that run, in order of arrival."""
        return [
            str(name)
            for name, journey in self.state.journeys.items()
            if journey.running is not None
        ]

    def finish_some(self, rng: Random) -> bool:
        """One running request, any, finishes; False where none runs."""
        names = self.running()
        if not names:
            return False
        self.finish(rng.choice(names))
        return True

    def where(self, name: str) -> str | None:
        """The worker that a request runs on."""
        segment = self.state.journeys[RequestId(name)].running
        for one in self.state.workers:
            if segment in [held.id for held in self.state.running(one)]:
                return str(one)
        return None


def renamed(one: Worker, name: str) -> Worker:
    """The same worker under another name, on a device of its own."""
    return replace(one, id=WorkerId(name), pod_uid=name, devices=(DeviceId(f"cpu/{name}"),))
