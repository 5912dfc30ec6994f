"""What every dispatch planner keeps to, whatever happens to its fleet and its requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.contract.stress import STEPS, Story, costs, fleet, segments, tell
from tests.planner.floor import Driver, state_of

from tridentserve.domain.dispatch import Action, Event, Resume, Segment, Start, WakeAt, Woken
from tridentserve.domain.ids import DeviceId
from tridentserve.domain.stages import STAGES
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.backfill import Passing
from tridentserve.planner.dispatch.degrees import KStar, LargestEfficientThatFits
from tridentserve.planner.dispatch.earliest_deadline import EarliestDeadline
from tridentserve.planner.dispatch.ilp import PUBLISHED, Ilp, IlpSettings
from tridentserve.planner.dispatch.ordered import Rules
from tridentserve.planner.dispatch.orders import ByDeadline
from tridentserve.planner.dispatch.queues import ClassKey, Queues, Ticket
from tridentserve.planner.dispatch.redecision import Redecision
from tridentserve.planner.dispatch.tetri_rounds import TetriRounds
from tridentserve.planner.protocols import DispatchPlanner
from tridentserve.planner.registry import DISPATCH_NAMES, DISPATCH_POLICIES, dispatch_planner
from tridentserve.planner.state import State

ROUNDS = 40
TIMELESS = [
    name
    for name in DISPATCH_POLICIES
    if (name in DISPATCH_NAMES and name != "DeadlineAware")
    or name[0] == "B"
    or name.startswith("Fifo/")
    or name == "EarliestDeadline/BackFill"
]
"""Those whose decisions depend on the state alone: they predict no ends, and have no ticks."""
VARIANTS: Mapping[str, Callable[[CostModel], DispatchPlanner]] = {
    "EarliestDeadline/KStar, no promises": lambda cost: EarliestDeadline(
        cost, Rules(degrees=KStar())
    ),
    "EarliestDeadline/Largest, no promises": lambda cost: EarliestDeadline(
        cost, Rules(degrees=LargestEfficientThatFits(), passing=Passing.STRICT)
    ),
    "Ilp, no window": lambda cost: Ilp(cost, IlpSettings(window_s=0.0)),
    "Ilp/Published, no window": lambda cost: Ilp(cost, replace(PUBLISHED, window_s=0.0)),
    "TetriRounds, no rounds": lambda cost: TetriRounds(cost, round_s=0.0),
    "TetriRounds/Elastic, no rounds": lambda cost: TetriRounds(
        cost, round_s=0.0, growth=Redecision()
    ),
}
"""Policies without what they remember on purpose: when to decide next, what is promised to whom."""
PREDICTING = (
    "DeadlineAware",
    "DeadlineAware/Elastic",
    "EdfPreemptive",
    "ServerFilling",
    "TetriRounds/Elastic, no rounds",
)
"""Those that ask when what runs should end, which takes a clock that the state has not."""
GAPS_S = (0.0, 0.1, 1.0, 5.0)


def built(name: str, cost: CostModel) -> DispatchPlanner:
    """A policy of the registry, or a variant."""
    make = VARIANTS.get(name)
    return dispatch_planner(name, cost) if make is None else make(cost)


class Run:
    """A planner in a story, and the times at which it asked to be woken."""

    def __init__(self, name: str, seed: int) -> None:
        """Nothing has happened yet."""
        self.rng = Random(seed)
        self.cost = costs()
        workers = fleet(self.rng)
        self.floor = Driver(planner=built(name, self.cost), state=state_of(*workers))
        self.story = Story(self.rng, workers)
        self.log: list[Action] = []

    @property
    def state(self) -> State:
        """What the planner sees."""
        return self.floor.state

    def play(self, rounds: int = ROUNDS, gaps_s: Sequence[float] = GAPS_S) -> None:
        """Let things happen; each decision is checked as it is carried out."""
        for _ in range(rounds):
            self.floor.now += self.rng.choice(gaps_s)
            for change in self.story.next(self.state, self.floor.now):
                self.log += tell(self.floor, change)
                self.check()

    def settle(self) -> None:
        """Nothing more arrives and every worker is back: let all be served."""
        for change in self.story.everybody_back():
            self.log += tell(self.floor, change)
        for _ in range(3000):
            if not self.state.journeys:
                return
            self.floor.now += 0.3
            asked = [one.at_s for one in self.log if isinstance(one, WakeAt)]
            if not self.floor.finish_some(self.rng) or (asked and asked[-1] <= self.floor.now):
                assert asked or self.running(), "requests wait, and nothing runs"
                self.floor.send(Woken())
            self.log += self.floor.actions[len(self.log) :]
            self.check()
        raise AssertionError(f"never served: {list(self.state.journeys)}")

    def running(self) -> list[Segment]:
        """Every segment that runs."""
        return list(segments(self.state))

    def check(self) -> None:
        """Nothing is overbooked, and nobody is in two places."""
        users: dict[DeviceId, list[Segment]] = {}
        for segment in self.running():
            for device in segment.devices:
                users.setdefault(device, []).append(segment)
        for together in users.values():
            worker = self.state.workers.get(together[0].worker)
            assert len({self.call(one) for one in together}) == 1
            assert worker is None or len(together) <= worker.slots
        requests = [cursor.request for one in self.running() for cursor in one.requests]
        assert len(requests) == len(set(requests))

    def call(self, segment: Segment) -> object:
        """What members of a batch have in common."""
        demand = self.state.journeys[segment.requests[0].request].demand
        work = (segment.stage, demand.shape, demand.steps, demand.guidance)
        return (segment.worker, segment.devices, segment.strategy, work)


def check_devices(run: Run, segment: Segment) -> None:
    """It uses devices of its worker in a way that the worker allows."""
    worker = run.state.workers[segment.worker]
    assert len(set(segment.devices)) == len(segment.devices) == segment.strategy.degree
    assert set(segment.devices) <= set(worker.devices)
    assert segment.strategy in worker.strategies
    assert segment.stage in worker.capable
    assert not worker.draining


def check_memory(run: Run, segment: Segment, cost: CostModel) -> None:
    """It fits beside the weights of its worker's stages."""
    demand = run.state.journeys[segment.requests[0].request].demand
    estimate = cost.estimate(segment.stage, demand.shape, STEPS, 100, strategy=segment.strategy)
    assert estimate is not None
    capable = run.state.workers[segment.worker].capable
    weights = sum(cost.profile.weights(stage) for stage in capable)
    assert weights + estimate.peak_bytes <= cost.profile.usable_bytes


@pytest.mark.parametrize("name", DISPATCH_POLICIES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99999))
def test_whatever_happens_nothing_is_overbooked_and_all_are_served(name: str, seed: int) -> None:
    run = Run(name, seed)
    before = costs()
    original = run.floor.planner.decide

    def decide(state: State, event: Event, now: float) -> list[Action]:
        actions = original(state, event, now)
        for action in actions:
            if isinstance(action, (Start, Resume)):
                check_devices(run, action.segment)
            if isinstance(action, Start):
                check_memory(run, action.segment, before)
        return actions

    run.floor.planner.decide = decide  # type: ignore[method-assign]
    run.play()
    run.settle()


@pytest.mark.parametrize("name", DISPATCH_POLICIES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99999))
def test_equal_stories_lead_to_equal_decisions(name: str, seed: int) -> None:
    one, other = Run(name, seed), Run(name, seed)
    one.play()
    other.play()

    assert one.log == other.log


@pytest.mark.parametrize("name", DISPATCH_POLICIES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99999), successor=st.sampled_from(DISPATCH_POLICIES))
def test_a_planner_that_takes_over_finishes_what_another_began(
    name: str, seed: int, successor: str
) -> None:
    run = Run(name, seed)
    run.play()
    run.floor.planner = dispatch_planner(successor, run.cost)
    run.play(10)
    run.settle()


def compare(name: str, seed: int, gaps_s: Sequence[float]) -> None:
    """Ask a planner built for this decision alone as well, whatever happened before."""
    run = Run(name, seed)
    original = run.floor.planner.decide

    def decide(state: State, event: Event, now: float) -> list[Action]:
        fresh = built(name, run.cost).decide(state, Woken(), now)
        assert original(state, event, now) == fresh
        return fresh

    run.floor.planner.decide = decide  # type: ignore[method-assign]
    run.play(gaps_s=gaps_s)


@pytest.mark.parametrize("name", [*TIMELESS, *(one for one in VARIANTS if one not in PREDICTING)])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 99999))
def test_what_is_kept_between_decisions_changes_none(name: str, seed: int) -> None:
    """Two things are meant to outlast a decision, and are left out: ticks and promises.

    `Ilp` and `TetriRounds` decide no sooner than a while after they last did, so built anew they
    decide early. A reservation stays on the worker that was promised when another one should be
    clear sooner by now (`EarliestDeadline/KStar` and `/Largest`, `ShortestRemaining/KStar`).
    """
    compare(name, seed, GAPS_S)


@pytest.mark.parametrize("name", PREDICTING)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99999))
def test_while_time_stands_still_what_is_kept_of_predicted_ends_changes_no_decision(
    name: str, seed: int
) -> None:
    """Actions carry no time: built anew, a planner counts what runs from now on, and errs late.

    Where no time has passed since it started both know the same, and all else that is kept (queues,
    outlooks, ends by worker) has to be as built from the state.
    """
    compare(name, seed, (0.0,))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99999))
def test_queues_kept_event_by_event_equal_queues_built_from_the_state(seed: int) -> None:
    run = Run("Fifo", seed)
    kept = Queues(ByDeadline().within)
    original = run.floor.planner.decide

    def view(queues: Queues) -> dict[ClassKey, list[Ticket]]:
        return {queue.key: queue.tickets for stage in STAGES for queue in queues.of(stage)}

    def decide(state: State, event: Event, now: float) -> list[Action]:
        kept.follow(state, event)
        fresh = Queues(ByDeadline().within)
        fresh.follow(state, Woken())
        assert view(kept) == view(fresh)
        assert len(kept) == sum(state.queue_length(stage) for stage in STAGES)
        actions = original(state, event, now)
        kept.expect(actions)
        return actions

    run.floor.planner.decide = decide  # type: ignore[method-assign]
    run.play()
