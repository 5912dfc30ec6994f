"""Asks a dispatch planner and carries its decisions out, in simulated time.

What cannot be carried out costs that one action and is counted as a defect of the planner, as in
the router. Decisions take simulated time by a formula, never by the wall clock: the planner makes
one at a time, and what it starts begins when the decision is made.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Action,
    Event,
    Refuse,
    Reserve,
    Resize,
    Resume,
    Start,
    WakeAt,
    WorkerUp,
    Yield,
)
from tridentserve.domain.ids import SegmentId
from tridentserve.domain.stages import STAGES
from tridentserve.planner.protocols import DispatchPlanner
from tridentserve.planner.state import State
from tridentserve.sim.agenda import Agenda, Rank
from tridentserve.sim.items import Item, Rings
from tridentserve.sim.ledger import Ledger
from tridentserve.sim.preparing import Preparing
from tridentserve.sim.results import Outcome
from tridentserve.sim.scenario import DecisionPart
from tridentserve.sim.starts import Starts
from tridentserve.sim.workshop import Workshop

_LEAST_PAUSE_S = 0.001
"""An alarm rings no earlier, so that a planner that asks for `now` cannot stop the clock."""
_WORDS = 10


@dataclass(slots=True)
class Tally:
    """What was decided."""

    asked: int = 0
    acted: int = 0
    charged_s: float = 0.0
    actions: Counter[str] = field(default_factory=Counter)
    impossible: list[str] = field(default_factory=list)
    impossible_count: int = 0
    decide_s: list[float] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)

    def blame(self, problem: str) -> None:
        """A planner asked for something that cannot be."""
        self.impossible_count += 1
        if len(self.impossible) < _WORDS:
            self.impossible.append(problem)


class Deciding:
    """A planner, its alarm, and the time that its decisions take."""

    def __init__(
        self,
        *,
        planner: DispatchPlanner,
        state: State,
        workshop: Workshop,
        preparing: Preparing,
        ledger: Ledger,
        agenda: Agenda[Item],
        rates: DecisionPart,
        devices: int,
        stopwatch: Callable[[], float],
    ) -> None:
        """Decide nothing yet; `stopwatch` gives real seconds, which are reported and no more."""
        self._planner, self._state = planner, state
        self._workshop, self._preparing = workshop, preparing
        self._ledger, self._agenda = ledger, agenda
        self._rates, self._devices, self._stopwatch = rates, devices, stopwatch
        self.tally = Tally()
        self.untold: set[SegmentId] = set()
        """Segments that have reached an end or a step of which the planner is about to hear.

        Of a batch, and of all that a lost worker ran, it hears one by one. What it wants of the
        others meanwhile comes too late, as a message to a worker would, and is dropped.
        """
        self._alarm_s: float | None = None
        self._free_s = 0.0
        """When the planner is done with its last decision."""

    def tell(self, event: Event, now: float) -> None:
        """Apply an event, ask, and carry out what is answered."""
        self._state.apply(event)
        begun = self._stopwatch()
        actions = self._planner.decide(self._state, event, now)
        took_s = self._stopwatch() - begun
        self.tally.asked += 1
        if not actions:
            return
        self.tally.acted += 1
        ready_s = now
        if any(not isinstance(action, WakeAt) for action in actions):
            waiting = sum(self._state.queue_length(stage) for stage in STAGES)
            self.tally.decide_s.append(took_s)
            self.tally.queue.append(waiting)
            ready_s = self._charged(waiting, now)
        for worker in self._carry_out(actions, now, ready_s):
            self.tell(WorkerUp(worker=worker), now)

    def is_set(self, rings: Rings) -> bool:
        """Whether an alarm is the one that was asked for; it is off then."""
        if self._alarm_s != rings.at_s:
            return False
        self._alarm_s = None
        return True

    def _charged(self, waiting: int, now: float) -> float:
        """When the decision is made."""
        rates = self._rates
        seconds = rates.base_s + rates.per_waiting_s * waiting + rates.per_device_s * self._devices
        self._free_s = max(now, self._free_s) + seconds
        self.tally.charged_s += seconds
        return self._free_s

    def _carry_out(self, actions: Sequence[Action], now: float, ready_s: float) -> list[Worker]:
        """Do what can be done; workers that are other than they were because of it."""
        starts = Starts(self._state, self._workshop, ready_s)
        for action in actions:
            if self._is_late(action):
                continue
            problem = self._refusal(action, starts)
            if problem is None:
                try:
                    self._state.apply(action)
                except ValueError as error:
                    problem = str(error)
            if problem is not None:
                self.tally.blame(f"{now:.3f} s: {type(action).__name__}: {problem}")
                continue
            self.tally.actions[type(action).__name__] += 1
            self._do(action, starts, now, ready_s)
        return starts.begin()

    def _is_late(self, action: Action) -> bool:
        match action:
            case Resize(segment=segment) | Yield(segment=segment):
                return segment in self.untold
            case Resume(segment=resumed):
                return resumed.id in self.untold
            case _:
                return False

    def _refusal(self, action: Action, starts: Starts) -> str | None:
        """Why an action cannot be carried out, beside what the state knows."""
        match action:
            case Start(segment=segment):
                return starts.refuse(segment)
            case Resize() | Yield():
                return self._workshop.refuse(action)
            case Resume(segment=segment):
                worker = self._state.workers.get(segment.worker)
                return self._workshop.refuse_resume(segment, worker)
            case Refuse(request=request):
                journey = self._state.journeys.get(request)
                if journey is None or journey.running is not None:
                    return f"request {request} does not wait"
                return None
            case _:
                return None

    def _do(self, action: Action, starts: Starts, now: float, ready_s: float) -> None:
        match action:
            case Start(segment=segment):
                for cursor in segment.requests:
                    degree = segment.strategy.degree
                    self._ledger.runs(cursor.request, segment.stage, degree, now)
                starts.admit(segment, now)
            case Resize() | Yield():
                self._workshop.ask(action, now)
            case Resume(segment=segment):
                worker = self._state.workers[segment.worker]
                job = self._workshop.resume(segment, worker, now, ready_s)
                for request in job.requests:
                    self._ledger.runs(request, job.stage, segment.strategy.degree, now)
            case Refuse(request=request):
                self._ledger.ended(request, Outcome.REFUSED, now)
                self._preparing.forget(request)
            case WakeAt(at_s=at_s):
                self._wake_at(max(at_s, now + _LEAST_PAUSE_S))
            case Reserve():
                pass

    def _wake_at(self, at_s: float) -> None:
        if self._alarm_s is None or at_s < self._alarm_s:
            self._alarm_s = at_s
            self._agenda.add(at_s, Rank.ALARM, Rings(at_s))
