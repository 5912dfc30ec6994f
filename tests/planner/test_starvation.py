"""How long a request waits at most while others come without end: the bounds that policies state.

A bound is in seconds of virtual time, put together from what the policy's docstring names: those
that wait before it, the longest call, its deadline, its own seconds, ageing. By policies that have
no bound the same stream keeps the same request waiting, or a bound could not be told from luck.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.floor import Driver, demand, state_of
from tests.planner.pricing import LARGE, SMALL
from tests.planner.stream import DEVICES, MIDDLE, SLOWEST, Make, Stream, costs, nodes

from tridentserve.domain.dispatch import Arrived, Demand
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch import shortest_remaining
from tridentserve.planner.dispatch.backfill import Passing
from tridentserve.planner.dispatch.degrees import KStar
from tridentserve.planner.dispatch.earliest_deadline import EarliestDeadline
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.planner.dispatch.ilp import Ilp, IlpSettings
from tridentserve.planner.dispatch.ordered import Rules
from tridentserve.planner.dispatch.server_filling import ServerFilling
from tridentserve.planner.dispatch.shortest_remaining import ShortestRemaining
from tridentserve.planner.dispatch.tetri_rounds import ROUND_S
from tridentserve.planner.dispatch.urgency import PATIENCE
from tridentserve.planner.protocols import DispatchPlanner
from tridentserve.planner.registry import DISPATCH_POLICIES, dispatch_planner

Build = Callable[[CostModel], DispatchPlanner]

STEPS = 2
"""Of a request of the stream, at most."""
AHEAD = 6
"""How many others wait at any moment, for each node."""
NODES = 2
DUE_S = 30.0
"""From the arrival to the deadline of the request that is watched."""
LATE_S = 1.0
"""The same where the policy serves it at once as long as it can be on time."""
SETTLED_S = 10.0
"""When it arrives: the devices no longer become vacant all at once by then."""
AGEING = 0.5
"""Where it can be set, so that a test need not play for long."""
FOR_EVER_S = 250.0


def hurried(name: str, rng: Random, now: float) -> Demand:
    """Short, and due soon, or so it says before it came."""
    due_s = now + rng.choice([-1000.0, 1.0, 5.0])
    return demand(name, now, due_s, shape=SMALL, steps=rng.randint(1, STEPS))


def punctual(name: str, rng: Random, now: float) -> Demand:
    """Short, and on time even if it has to wait for others."""
    return demand(name, now, now + DUE_S, shape=SMALL, steps=rng.randint(1, STEPS))


# --- what bounds are made of ----------------------------------------------------------------------


def predicted_s(steps: int) -> float:
    """Diffuse at the 90 % quantile, on as many devices as the request needs."""
    known = costs().estimate(Stage.DIFFUSE, SMALL, steps, 100)
    assert known is not None
    return known.q90_s


CALL_S = SLOWEST * STEPS
"""The longest call of the stream."""
IN_TURN_S = (AHEAD * NODES + 1) * CALL_S
"""Those that wait before it, and what runs."""
PROMISED_S = (AHEAD * NODES + 1) * (predicted_s(STEPS) + CALL_S)
"""The same, where each is promised a worker and has it a call later at the latest."""
DRAINED_S = IN_TURN_S + CALL_S
"""The same, and then a node is drained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A request that the stream might starve."""

    shape: Shape
    steps: int

    def __str__(self) -> str:
        """For the names of tests."""
        return f"{self.steps} steps on {self.devices}"

    @property
    def devices(self) -> int:
        """That it needs, at once."""
        return DEVICES[self.shape]

    def aged_s(self) -> float:
        """When it is late by `PATIENCE` times its own seconds: diffuse, and decode of a step."""
        return LATE_S + PATIENCE * (predicted_s(self.steps) + predicted_s(1))

    def caught_up_s(self, ageing: float, devices: int = 1) -> float:
        """When what arrives no longer passes: all that it has to do by ageing.

        Diffuse counts on so many devices; encode and decode take a second each.
        """
        return (self.steps * devices + 2) / ageing


WIDE = Watched(shape=LARGE, steps=3)
LONG = Watched(shape=SMALL, steps=10)
PAIR = Watched(shape=MIDDLE, steps=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy under a stream that presses it."""

    build: Build
    bound_s: Callable[[Watched], float]
    """From the arrival of the watched one to its start."""
    watched: tuple[Watched, ...] = (WIDE, LONG)
    """Whom the bound is stated for."""
    make: Make = hurried
    due_s: float = DUE_S


def by(policy: Callable[[CostModel, Rules], DispatchPlanner], passing: Passing) -> Build:
    """A policy at k*, so that degrees differ."""
    return lambda cost: policy(cost, Rules(degrees=KStar(), passing=passing))


def named(name: str) -> Build:
    return partial(dispatch_planner, name)


def strict(name: str) -> Policy:
    return Policy(build=partial(dispatch_planner, name), bound_s=lambda _: IN_TURN_S)


def due(build: Build, more_s: float) -> Policy:
    return Policy(build=build, bound_s=lambda _: DUE_S + more_s)


def ageing(build: Build, bound_s: Callable[[Watched], float], more_s: float) -> Policy:
    return Policy(build=build, bound_s=lambda watched: bound_s(watched) + more_s)


def _remaining_s(watched: Watched) -> float:
    return watched.caught_up_s(shortest_remaining.AGEING)


STRICT = (
    "Fifo",
    *(f"{name}/{k}" for name in ("Fifo", "B1") for k in (1, 2, 4, 8)),
    "B2",
    "B3",
    "B5",
)
BOUNDED: Mapping[str, Policy] = {
    **{name: strict(name) for name in STRICT},
    "Fifo, reservation": Policy(build=by(Fifo, Passing.RESERVATION), bound_s=lambda _: PROMISED_S),
    "EarliestDeadline": due(EarliestDeadline, IN_TURN_S),
    **{
        f"EarliestDeadline/{rule}": due(named(f"EarliestDeadline/{rule}"), PROMISED_S)
        for rule in ("KStar", "Largest")
    },
    "ShortestRemaining": ageing(ShortestRemaining, _remaining_s, IN_TURN_S),
    "ShortestRemaining/KStar": ageing(named("ShortestRemaining/KStar"), _remaining_s, PROMISED_S),
    "EdfPreemptive": due(named("EdfPreemptive"), DRAINED_S),
    "ServerFilling": ageing(
        partial(ServerFilling, ageing=AGEING),
        lambda watched: watched.caught_up_s(AGEING, watched.devices),
        DRAINED_S,
    ),
    **{
        name: Policy(
            build=named(name),
            bound_s=lambda watched: watched.aged_s() + DRAINED_S,
            make=punctual,
            due_s=LATE_S,
        )
        for name in ("DeadlineAware", "DeadlineAware/Elastic")
    },
    **{
        name: Policy(
            build=named(name),
            bound_s=lambda watched: watched.aged_s() + IN_TURN_S + ROUND_S,
            watched=(LONG,),
            make=punctual,
            due_s=LATE_S,
        )
        for name in ("TetriRounds", "TetriRounds/Elastic")
    },
    "Ilp": Policy(
        build=lambda cost: Ilp(cost, IlpSettings(ageing=AGEING)),
        bound_s=lambda watched: 8 / AGEING * watched.steps + CALL_S,
        watched=(LONG,),
        make=punctual,
        due_s=LATE_S,
    ),
}
"""Every policy that says that nothing starves, or when not."""


def begun(policy: Policy, watched: Watched, rng: Random, count: int, ahead: int = AHEAD) -> Stream:
    """The stream, as the watched one arrives."""
    floor = Driver(planner=policy.build(costs()), state=state_of(*nodes(count)))
    stream = Stream(floor, rng, policy.make, ahead * count)
    stream.until("watched", SETTLED_S)
    due_s = floor.now + policy.due_s
    shape, steps = watched.shape, watched.steps
    stream.send(Arrived(demand=demand("watched", floor.now, due_s, shape=shape, steps=steps)))
    return stream


def starts_s(policy: Policy, watched: Watched, seed: int, within_s: float) -> float | None:
    """How long the watched one waits; None where that is longer than asked for."""
    rng = Random(seed)
    stream = begun(policy, watched, rng, rng.randint(1, NODES))
    arrived_s = stream.floor.now
    started_s = stream.until("watched", arrived_s + within_s)
    return None if started_s is None else started_s - arrived_s


@pytest.mark.parametrize(
    ("name", "watched"),
    [(name, one) for name, policy in BOUNDED.items() for one in policy.watched],
    ids=str,
)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 99999))
def test_a_stream_without_end_keeps_a_request_waiting_no_longer_than_its_policy_states(
    name: str, watched: Watched, seed: int
) -> None:
    policy = BOUNDED[name]

    assert starts_s(policy, watched, seed, policy.bound_s(watched)) is not None


def unbounded(build: Build, *watched: Watched, make: Make = hurried) -> Policy:
    return Policy(build=build, bound_s=lambda _: FOR_EVER_S, watched=watched, make=make)


UNBOUNDED: Mapping[str, Policy] = {
    "B3/BackFill": unbounded(named("B3/BackFill"), WIDE),
    "B4": unbounded(named("B4"), WIDE, LONG),
    "B6": unbounded(named("B6"), WIDE, LONG),
    "Fifo, back-filling": unbounded(by(Fifo, Passing.BACK_FILL), WIDE),
    "EarliestDeadline/BackFill": unbounded(named("EarliestDeadline/BackFill"), WIDE),
    "ShortestRemaining, ageing of 0": unbounded(partial(ShortestRemaining, ageing=0.0), WIDE, LONG),
    "ServerFilling, ageing of 0": unbounded(partial(ServerFilling, ageing=0.0), WIDE, LONG),
    "Ilp": unbounded(named("Ilp"), WIDE, make=punctual),
}
"""Policies that say who may starve: what needs a whole node, or what has long to do."""


def test_no_policy_is_left_out() -> None:
    """`Ilp/Published` differs from `Ilp` in what late ones are worth, and promises nothing."""
    assert set(DISPATCH_POLICIES) - set(BOUNDED) - set(UNBOUNDED) == {"Ilp/Published"}


def test_what_counts_as_for_ever_is_longer_than_every_bound() -> None:
    bounds = [policy.bound_s(one) for policy in BOUNDED.values() for one in policy.watched]

    assert max(bounds) < FOR_EVER_S


@pytest.mark.parametrize(
    ("name", "watched"),
    [(name, one) for name, policy in UNBOUNDED.items() for one in policy.watched],
    ids=str,
)
def test_the_same_stream_starves_whom_a_policy_says_that_it_may(
    name: str, watched: Watched
) -> None:
    """Longer than any bound above; so each of those is the policy's doing, not the stream's."""
    assert starts_s(UNBOUNDED[name], watched, 1, FOR_EVER_S) is None


# --- who is passed over nevertheless --------------------------------------------------------------


def past(name: str, rng: Random, now: float) -> Demand:
    """Short, and late from the start."""
    return demand(name, now, now - 1000.0, shape=SMALL, steps=rng.randint(1, STEPS))


def test_rounds_serve_the_first_of_those_that_have_aged_first() -> None:
    """One needs two devices, others one; all age, and rounds often find two vacant."""
    ahead = 40
    policy = Policy(build=named("TetriRounds"), bound_s=Watched.aged_s, make=past, due_s=LATE_S)
    stream = begun(policy, PAIR, Random(1), count=1, ahead=ahead)
    turns = ahead // 8 + 2  # those before it by eights, what runs, and two that end together
    bound_s = policy.bound_s(PAIR) + turns * (CALL_S + ROUND_S)

    assert stream.until("watched", stream.floor.now + bound_s) is not None


@pytest.mark.parametrize(
    "name", ["EarliestDeadline/KStar", "DeadlineAware", "EdfPreemptive", "ServerFilling"]
)
def test_one_that_failed_on_a_node_gets_another_drained(name: str) -> None:
    policy = BOUNDED[name]
    stream = begun(policy, WIDE, Random(1), count=2, ahead=2 * AHEAD)
    assert stream.until("watched", stream.floor.now + policy.bound_s(WIDE)) is not None
    failed = stream.fail("watched")

    assert stream.until("watched", stream.floor.now + policy.bound_s(WIDE)) is not None
    assert stream.floor.where("watched") != failed
