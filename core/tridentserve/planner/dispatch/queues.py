"""Who waits, by class: requests that no rule of dispatch tells apart but by their place in line.

A decision looks at the first of every class and goes on only where it started one, so it costs as
much as there are classes, however many wait. The queues follow the events one by one. They are
built from the state whenever they do not match it: at the first decision, also that of a planner
that takes over from another, and when a decision was not carried out.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tridentserve.domain.dispatch import (
    Action,
    Arrived,
    Event,
    Left,
    Refuse,
    StageFailed,
    StageFinished,
    Start,
)
from tridentserve.domain.ids import PipelineName, RequestId, WorkerId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.state import Journey, State

Priority = tuple[float, ...]
"""The least goes first."""
Ticket = tuple[Priority, RequestId]


@dataclass(frozen=True, slots=True)
class ClassKey:
    """What members of a class have in common."""

    stage: Stage
    pipeline: PipelineName | None
    digest: str | None
    excluded: frozenset[WorkerId]
    shape: Shape
    steps: int
    guidance: float
    count: int


@dataclass(slots=True, kw_only=True, eq=False)
class Queue:
    """Those of one class that wait."""

    key: ClassKey
    tickets: list[Ticket] = field(default_factory=list)
    """Ascending."""


class Queues:
    """Every request that waits for a stage; changed by `follow` alone."""

    def __init__(self, within: Callable[[Journey], Priority]) -> None:
        """Empty.

        Args:
            within: the order inside of a class; must not change while a request waits.
        """
        self._within = within
        self._state: State | None = None
        self._queues: dict[ClassKey, Queue] = {}
        self._members: dict[RequestId, tuple[Queue, Ticket]] = {}
        self._counts = dict.fromkeys(STAGES, 0)
        self._decided: list[RequestId] = []

    def of(self, stage: Stage) -> Iterator[Queue]:
        """Every class of which somebody waits for a stage."""
        return (queue for queue in self._queues.values() if queue.key.stage is stage)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._members)

    def follow(self, state: State, event: Event) -> None:
        """Catch up with a state to which an event, and the last decision, were applied."""
        for request in (*self._decided, *_concerned(event)):
            self._look_up(state, request)
        self._decided.clear()
        if state is not self._state or any(
            self._counts[stage] != state.queue_length(stage) for stage in STAGES
        ):
            self._rebuild(state)

    def expect(self, actions: Iterable[Action]) -> None:
        """Remember whom a decision moves; the next `follow` looks whether it did."""
        for action in actions:
            match action:
                case Start(segment=segment):
                    self._decided += (cursor.request for cursor in segment.requests)
                case Refuse(request=request):
                    self._decided.append(request)
                case _:
                    pass

    def _rebuild(self, state: State) -> None:
        self._state = state
        self._queues.clear()
        self._members.clear()
        self._counts = dict.fromkeys(STAGES, 0)
        for stage in STAGES:
            for journey in state.waiting(stage):
                self._enter(journey)

    def _look_up(self, state: State, request: RequestId) -> None:
        self._leave(request)
        journey = state.journeys.get(request)
        if journey is not None and journey.running is None:
            self._enter(journey)

    def _enter(self, journey: Journey) -> None:
        key = class_of(journey)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = Queue(key=key)
        ticket = (self._within(journey), journey.demand.id)
        insort(queue.tickets, ticket)
        self._members[journey.demand.id] = (queue, ticket)
        self._counts[key.stage] += 1

    def _leave(self, request: RequestId) -> None:
        known = self._members.pop(request, None)
        if known is None:
            return
        queue, ticket = known
        del queue.tickets[bisect_left(queue.tickets, ticket)]
        self._counts[queue.key.stage] -= 1
        if not queue.tickets:
            del self._queues[queue.key]


def class_of(journey: Journey) -> ClassKey:
    """The class that a request waits in."""
    demand = journey.demand
    return ClassKey(
        journey.stage,
        demand.pipeline,
        journey.digest,
        journey.excluded,
        demand.shape,
        demand.steps,
        demand.guidance,
        demand.count,
    )


def _concerned(event: Event) -> tuple[RequestId, ...]:
    """Requests that may have begun or ceased to wait."""
    match event:
        case Arrived(demand=demand):
            return (demand.id,)
        case StageFinished(request=request) | StageFailed(request=request):
            return (request,)
        case Left(request=request):
            return (request,)
        case _:
            return ()
