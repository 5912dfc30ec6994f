"""The published program: packs as many as can be on time, in bounds that equal questions share."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.floor import Driver, demand, state_of, worker
from tests.planner.pricing import LARGE, UP_TO_8, costs

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Arrived, Start, WakeAt, Woken
from tridentserve.domain.stages import STAGES
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.ilp import PUBLISHED, Covers, Ilp, IlpSettings
from tridentserve.planner.dispatch.ilp_program import Choice, Pool, solve
from tridentserve.planner.linear import Limits

E, D, C = STAGES


# --- the program ----------------------------------------------------------------------------------


def fill(free: list[int], wanted: list[int]) -> bool:
    """Whether groups of these sizes fit on these workers, tried in every way."""
    if not wanted:
        return True
    size, *rest = sorted(wanted, reverse=True)
    return any(
        left >= size and fill([*free[:index], left - size, *free[index + 1 :]], rest)
        for index, left in enumerate(free)
    )


@settings(max_examples=60, deadline=None)
@given(
    free=st.lists(st.integers(0, 8), min_size=1, max_size=3),
    worths=st.lists(st.tuples(*(st.integers(1, 30) for _ in range(4))), min_size=1, max_size=4),
)
def test_the_answer_is_the_best_that_fits_on_real_workers(
    free: list[int], worths: list[tuple[int, int, int, int]]
) -> None:
    """Against every assignment there is, each packed worker by worker."""
    choices = [
        Choice(group=group, pool=0, degree=degree, worth=worth)
        for group, row in enumerate(worths)
        for degree, worth in zip((1, 2, 4, 8), row, strict=True)
    ]

    pool = Pool(free=tuple(free), concurrent=True)
    counts = solve(choices, [1] * len(worths), [pool], Limits(gap=0.0))

    assert counts is not None
    chosen = [one for one, count in zip(choices, counts, strict=True) if count]
    assert fill(free, [one.degree for one in chosen])
    best = 0.0
    for degrees in product((0, 1, 2, 4, 8), repeat=len(worths)):
        if fill(free, [degree for degree in degrees if degree]):
            worth = sum(
                row[(1, 2, 4, 8).index(degree)]
                for row, degree in zip(worths, degrees, strict=True)
                if degree
            )
            best = max(best, worth)
    assert sum(one.worth for one in chosen) == pytest.approx(best)


def test_a_worker_of_one_call_at_a_time_takes_one_whatever_its_width() -> None:
    choices = [Choice(group=0, pool=0, degree=degree, worth=1.0) for degree in (1, 2)]

    counts = solve(choices, [5], [Pool(free=(2, 2, 0), concurrent=False)], Limits())

    assert counts is not None
    assert sum(counts) == 2


def test_nothing_to_choose_from_is_no_question() -> None:
    assert solve([], [], [], Limits()) == []


# --- the policy -----------------------------------------------------------------------------------


def node(name: str = "n", devices: int = 8, *, slots: int = 1) -> Worker:
    held = tuple(f"{name}/gpu{index}" for index in range(devices))
    one = worker(name, *STAGES, devices=held, slots=slots)
    return replace(one, strategies=UP_TO_8, concurrent=True)


def driver(
    *workers: Worker, cost: CostModel | None = None, setup: IlpSettings | None = None
) -> Driver:
    return Driver(planner=Ilp(cost or CostModel(), setup), state=state_of(*workers))


def widths(floor: Driver) -> dict[str, int]:
    """Devices of every request's diffuse."""
    return {
        str(start.segment.requests[0].request): start.segment.strategy.degree
        for start in floor.started
        if start.segment.stage is D
    }


def through_encode(floor: Driver, *names: str) -> None:
    """Encode them, and weigh all at once half a second later."""
    floor.now = 0.1
    for name in names:
        floor.finish(name)
    floor.now = 10.0
    floor.send(Woken())


LINEAR = (8.0, 4.0, 2.0, 1.0)
"""Seconds of a step that every degree shortens ideally."""


def test_it_weighs_at_most_every_half_second_and_asks_to_be_woken() -> None:
    floor = driver(node(), cost=costs(*LINEAR))
    floor.arrive(demand("a", deadline_s=1e3, shape=LARGE), demand("b", deadline_s=1e3, shape=LARGE))
    floor.now = 1.0
    floor.finish("a")
    floor.now = 1.1
    floor.finish("b")

    (wake,) = [action for action in floor.actions if isinstance(action, WakeAt)]
    assert wake.at_s == 1.5
    assert set(widths(floor)) == {"a"}


def test_encode_and_decode_take_one_device_and_wait_for_no_tick() -> None:
    floor = driver(node(), cost=costs(*LINEAR))
    floor.arrive(demand("a", deadline_s=1e3, shape=LARGE))
    floor.finish("a")
    floor.now = 0.1
    floor.finish("a")

    assert [len(start.segment.devices) for start in floor.started] == [1, 8, 1]
    assert [start.segment.stage for start in floor.started] == [E, D, C]


def test_more_on_time_are_better_than_fewer_on_more_devices() -> None:
    """Ten steps take 10 s on a whole node: only one of two could be on time by then."""
    floor = driver(node(), cost=costs(*LINEAR))
    floor.arrive(*(demand(f"r{i}", 0, 10 + 2 + 21, shape=LARGE, steps=10) for i in range(2)))

    through_encode(floor, "r0", "r1")

    assert widths(floor) == {"r0": 4, "r1": 4}


def test_one_that_can_still_be_on_time_goes_before_one_that_cannot() -> None:
    floor = driver(node(devices=1), cost=costs(*LINEAR))
    floor.arrive(demand("late", 0, 5, shape=LARGE), demand("on-time", 1, 200, shape=LARGE))
    floor.now = 0.2
    floor.finish("late")  # its diffuse is not weighed against anybody: the device is on-time's

    assert widths(floor) == {}
    through_encode(floor, "on-time")
    assert widths(floor) == {"on-time": 1}


def test_what_is_very_late_displaces_what_is_on_time_only_as_published() -> None:
    """Paper section 3.6: the published reward of the late grows to that of those on time."""

    def first(setup: IlpSettings) -> set[str]:
        floor = driver(node(devices=1), cost=costs(*LINEAR), setup=setup)
        floor.arrive(demand("late", 0, 1, shape=LARGE, steps=1))
        floor.state.apply(Arrived(demand=demand("new", 99, 1e6, shape=LARGE, steps=1)))
        floor.now = 100.0
        floor.finish("late")
        if widths(floor):
            return set(widths(floor))
        floor.finish("new")
        floor.now = 101.0
        floor.send(Woken())
        return set(widths(floor))

    assert first(PUBLISHED) == {"late"}
    assert first(IlpSettings(ageing=0.0)) == {"new"}


def test_the_published_late_reward_prefers_the_slower_degree_and_the_sound_one_does_not() -> None:
    def width(setup: IlpSettings) -> int:
        floor = driver(node(), cost=costs(*LINEAR), setup=setup)
        floor.arrive(demand("a", 0, 1, shape=LARGE, steps=4))
        floor.finish("a")
        return widths(floor)["a"]

    assert width(replace(PUBLISHED, device=0.0)) == 1
    assert width(IlpSettings(device=0.0)) == 8


def test_without_decode_in_the_estimate_it_believes_what_will_be_late() -> None:
    """Diffuse ends at 32 s on 1 device and at 16 on 2, decode takes 2 s; the deadline is 33 s."""

    def width(covers: Covers) -> int:
        floor = driver(
            node(devices=2), cost=costs(8.0, 4.0), setup=IlpSettings(covers=covers, device=-1.0)
        )
        floor.arrive(demand("a", 0, 33, shape=LARGE, steps=4))
        floor.finish("a")
        return widths(floor)["a"]

    assert width(Covers.DIFFUSE) == 1
    assert width(Covers.REST) == 2


def test_a_type_with_fewer_handoffs_is_preferred() -> None:
    whole = node("z-whole", 1)
    alone = replace(node("a-alone", 1), capable=frozenset((D,)))
    encoder, decoder = worker("e", E), worker("c", C)
    floor = driver(alone, encoder, decoder, cost=costs(*LINEAR))
    floor.arrive(demand("a", deadline_s=1e3, shape=LARGE))
    floor.state.roster.put(whole)
    floor.finish("a")

    assert floor.where("a") == "z-whole"


def test_what_no_degree_is_efficient_for_still_runs() -> None:
    """Contradictory filters leave a quarter of the published trace waiting for ever (3.6)."""
    only_wide = replace(node(), strategies=UP_TO_8[2:])
    steep = costs(8.0, 6.0, 5.0, 4.5)
    floor = driver(only_wide, worker("e", E), worker("c", C), cost=steep)
    floor.arrive(demand("a", deadline_s=1e3, shape=LARGE))
    floor.finish("a")

    assert widths(floor) == {"a": 4}


def test_a_call_is_filled_with_its_like() -> None:
    floor = driver(node(devices=1, slots=3), cost=costs(*LINEAR))
    for index in range(4):
        floor.state.apply(Arrived(demand=demand(f"r{index}", index, 1e3, shape=LARGE)))
    floor.send(Woken())
    floor.now = 1.0
    while not widths(floor):
        floor.finish(floor.running()[0])

    assert widths(floor) == {"r0": 1, "r1": 1, "r2": 1}


def test_without_any_knowledge_of_costs_work_goes_on() -> None:
    floor = driver(node())
    floor.arrive(demand("a"))
    for _ in range(3):
        floor.now += 1.0
        floor.finish("a")

    assert not floor.state.journeys
    assert [type(action) for action in floor.actions].count(Start) == 3
