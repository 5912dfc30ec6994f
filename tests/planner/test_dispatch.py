"""What Fifo and EarliestDeadline promise, by story and for whatever happens."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.floor import SQUARE, Driver, chain, demand, renamed, state_of, worker

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Arrived,
    Event,
    Left,
    Reserve,
    StageFailed,
    StageFinished,
    Start,
    Woken,
    WorkerDown,
    WorkerDraining,
    WorkerUp,
)
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.workers import hosts, stranded
from tridentserve.planner.registry import DISPATCH_NAMES, dispatch_planner
from tridentserve.planner.state import Journey, State

E, D, C = STAGES
PRIORITY: dict[str, Callable[[Journey], float]] = {
    "Fifo": lambda journey: journey.demand.arrived_s,
    "ShortestRemaining": lambda journey: journey.demand.arrived_s,  # where nothing is known
    "EarliestDeadline": lambda journey: max(journey.demand.deadline_s, journey.demand.arrived_s),
    "DeadlineAware": lambda journey: max(journey.demand.deadline_s, journey.demand.arrived_s),
}


def driver(name: str = "Fifo", *workers: Worker) -> Driver:
    return Driver(planner=dispatch_planner(name, CostModel()), state=state_of(*workers))


def test_a_request_walks_through_the_three_stages() -> None:
    floor = driver("Fifo", *chain())

    floor.arrive(demand("a"))
    places = [floor.where("a")]
    for _ in range(2):
        floor.finish("a")
        places.append(floor.where("a"))
    floor.finish("a")

    assert places == ["encode-d1", "diffuse-d1", "decode-d1"]
    assert not floor.state.journeys


def test_every_segment_has_a_name_and_an_epoch_of_its_own() -> None:
    floor = driver("Fifo", *chain())
    floor.arrive(demand("a"))
    floor.fail("a")
    floor.finish("a")

    assert [(start.segment.id, start.segment.epoch) for start in floor.started] == [
        ("a/encode/1", 1),
        ("a/encode/2", 2),
        ("a/diffuse/3", 3),
    ]


@pytest.mark.parametrize(
    ("name", "expected"), [("Fifo", ["a", "b", "c"]), ("EarliestDeadline", ["a", "c", "b"])]
)
def test_who_goes_first_is_the_order_of_arrival_or_of_deadlines(
    name: str, expected: list[str]
) -> None:
    floor = driver(name, *chain())
    floor.arrive(demand("a", 1, 90), demand("b", 2, 80), demand("c", 3, 70))
    for _ in range(9):
        floor.finish(floor.running()[0])

    assert [
        start.segment.requests[0].request for start in floor.started if start.segment.stage is E
    ] == expected


def test_a_deadline_in_the_past_does_not_go_before_earlier_deadlines_that_have_passed_too() -> None:
    floor = driver("EarliestDeadline", *chain())
    floor.arrive(demand("a", 0, 50), demand("late", 1, 20), demand("greedy", 30, -1e9))
    floor.finish("a")

    assert floor.where("late") == "encode-d1"


@pytest.mark.parametrize("name", DISPATCH_NAMES)
def test_the_consumer_is_reserved_before_the_producer_starts(name: str) -> None:
    near, far = worker("near", D, domain="m1"), worker("far", D, domain="m2")
    floor = driver(name, worker("e", E, domain="m1"), far, near, worker("c", C))

    floor.arrive(demand("a"))

    reserve, start = floor.actions
    assert isinstance(reserve, Reserve)
    assert (reserve.stage, reserve.worker) == (D, "near")
    assert isinstance(start, Start)
    floor.finish("a")
    assert floor.where("a") == "near"


def test_reservations_are_spread_over_consumers() -> None:
    floor = driver(
        "Fifo", *(worker(f"e{i}", E) for i in range(4)), worker("d1", D), worker("d2", D),
        worker("c", C),
    )  # fmt: skip

    floor.arrive(*(demand(f"r{i}") for i in range(4)))

    reserved = [action.worker for action in floor.actions if isinstance(action, Reserve)]
    assert sorted(reserved) == ["d1", "d1", "d2", "d2"]


def test_a_reserved_worker_that_is_busy_is_not_waited_for() -> None:
    floor = driver("Fifo", worker("e", E), worker("d1", D), worker("d2", D), worker("c", C))
    floor.arrive(demand("a"))
    preferred = floor.state.journeys[demand("a").id].preferred
    assert preferred is not None
    floor.send(WorkerDown(worker=preferred))
    floor.finish("a")

    assert floor.where("a") in {"d1", "d2"} - {preferred}


def test_a_worker_in_the_producers_memory_is_taken_where_none_was_reserved() -> None:
    floor = driver("Fifo", worker("e", E, domain="m1"))
    floor.arrive(demand("a"))
    floor.finish("a")
    floor.state.apply(WorkerUp(worker=worker("a-far", D, domain="m2")))
    floor.state.apply(WorkerUp(worker=worker("z-near", D, domain="m1")))
    floor.send(Woken())

    assert floor.where("a") == "z-near"


def test_the_larger_fraction_is_taken_first() -> None:
    floor = driver("Fifo", worker("a-slow", E, fraction=25), worker("b-fast", E, fraction=100))

    floor.arrive(demand("a"))

    assert floor.where("a") == "b-fast"


def test_an_excluded_worker_is_waited_around_but_not_for_ever() -> None:
    floor = driver("Fifo", *chain(), worker("encode-2", E))
    floor.arrive(demand("a"), demand("b"))
    first = floor.where("a")
    assert first is not None
    floor.fail("a", first)
    waits = floor.where("a")
    other = floor.where("b")
    assert other is not None
    floor.finish("b")

    assert waits is None
    assert floor.where("a") == other

    floor.send(WorkerDown(worker=WorkerId(other)))
    floor.fail("a", first)
    assert floor.where("a") == first  # no other is left


def test_a_draining_worker_finishes_and_gets_nothing_new() -> None:
    floor = driver("Fifo", *chain())
    floor.arrive(demand("a"))
    floor.send(WorkerDraining(worker=WorkerId("encode-d1")))
    floor.arrive(demand("b"))
    floor.finish("a")

    assert floor.where("a") == "diffuse-d1"
    assert floor.where("b") is None


def test_a_journey_never_mixes_contents() -> None:
    floor = driver("Fifo", *chain("d1"))
    floor.arrive(demand("a"))
    floor.send(WorkerUp(worker=worker("faster", D, digest="d2", fraction=400)))
    floor.finish("a")

    assert floor.where("a") == "diffuse-d1"


def test_a_first_segment_runs_on_content_that_can_finish_it() -> None:
    floor = driver("Fifo", worker("half", E, digest="d2", fraction=400), *chain("d1"))

    floor.arrive(demand("a"), demand("b"))

    assert floor.where("a") == "encode-d1"
    assert floor.where("b") is None


@pytest.mark.parametrize("policy", ["Fifo", "EarliestDeadline", "DeadlineAware"])
def test_a_first_segment_follows_when_another_content_can_finish_it(policy: str) -> None:
    floor = driver(policy, *chain("d1"), worker("encode-d2", E, digest="d2"))
    floor.arrive(demand("before"))
    for _ in STAGES:
        floor.finish("before")
    for stage in (D, C):
        floor.send(WorkerUp(worker=worker(f"{stage}-d2", stage, digest="d2")))
    floor.send(WorkerDraining(worker=WorkerId("diffuse-d1")))

    floor.arrive(demand("after"))

    assert floor.where("after") == "encode-d2"


def test_without_any_complete_chain_work_goes_as_far_as_it_can() -> None:
    floor = driver("Fifo", worker("e", E))

    floor.arrive(demand("a"))

    assert floor.where("a") == "e"


def test_journeys_of_a_content_that_goes_away_are_stranded_and_can_begin_again() -> None:
    floor = driver("Fifo", *chain("d1"))
    floor.arrive(demand("a"))
    floor.send(WorkerDraining(worker=WorkerId("diffuse-d1")))
    floor.finish("a")
    alone = stranded(floor.state)
    for one in chain("d2"):
        floor.send(WorkerUp(worker=one))
    found = stranded(floor.state)
    still_waits = floor.where("a")
    floor.fail("a", again=E)

    assert alone == []  # nothing else could serve it: it waits
    assert [journey.demand.id for journey in found] == ["a"]
    assert still_waits is None
    assert floor.where("a") == "encode-d2"
    assert stranded(floor.state) == []


def test_old_and_new_content_are_served_in_one_order() -> None:
    floor = driver("Fifo", *chain("d1"))
    floor.arrive(demand("old", 0))
    floor.finish("old")
    for one in chain("d2"):
        floor.send(WorkerUp(worker=one))
    floor.arrive(demand("new", 1))
    floor.finish("old")

    assert floor.where("old") == "decode-d1"
    assert floor.where("new") in {"encode-d1", "encode-d2"}


def test_two_workers_of_one_device_never_run_at_the_same_time() -> None:
    floor = driver("Fifo", *(worker(f"{stage}", stage, devices=("n1/gpu0",)) for stage in STAGES))
    floor.arrive(demand("a"), demand("b"))
    before = floor.running()
    floor.finish("a")

    assert before == ["a"]
    assert floor.running() == ["a"]
    assert floor.where("a") == "diffuse"


def test_isolated_workers_of_one_device_run_side_by_side() -> None:
    floor = driver(
        "Fifo",
        *(worker(f"{stage}", stage, devices=("n1/gpu0",), isolated=True) for stage in STAGES),
    )
    floor.arrive(demand("a"), demand("b"))
    floor.finish("a")

    assert floor.running() == ["a", "b"]


def test_small_work_does_not_starve_what_needs_several_devices() -> None:
    """While `wide` waits for gpu0, nothing that came later may take gpu1 from under it."""
    both = worker("wide", D, devices=("n1/gpu0", "n1/gpu1"))
    wide = replace(both, strategies=(Strategy(ulysses=2),))
    floor = driver(
        "Fifo", wide, worker("e0", E, devices=("n1/gpu0",)), worker("e1", E, devices=("n1/gpu1",)),
        worker("c", C),
    )  # fmt: skip
    floor.arrive(demand("big", 0))
    floor.arrive(demand("s1", 1), demand("s2", 2), demand("s3", 3))
    floor.finish("big")
    while floor.where("big") is None:
        floor.finish(next(name for name in floor.running()))
        assert len(floor.started) < 5

    assert floor.where("big") == "wide"


def test_a_batch_is_started_together_and_only_of_one_kind() -> None:
    floor = driver("Fifo", worker("e", E, slots=3), worker("d", D), worker("c", C))
    other = Shape(height=128, width=64)
    floor.arrive(demand("a", 0))
    floor.arrive(demand("b", 1), demand("x", 2, shape=other), demand("c", 3), demand("d", 4))
    alone = floor.running()
    floor.finish("a")

    assert alone == ["a"]
    assert [name for name in floor.running() if floor.where(name) == "e"] == ["b", "c", "d"]


@pytest.mark.parametrize("name", DISPATCH_NAMES)
def test_a_batch_has_no_more_requests_than_the_memory_has_peaks_for(name: str) -> None:
    sample = Sample(stage=E, shape=SQUARE, fixed_s=1.0, peak_bytes=10)
    cost = CostModel(Profile(name="p", source="test", samples=(sample,), usable_bytes=29))
    floor = Driver(
        dispatch_planner(name, cost),
        state_of(worker("e", E, slots=4), worker("d", D), worker("c", C)),
    )
    floor.arrive(*(demand(each) for each in "abcd"))
    floor.finish("a")

    assert [one for one in floor.running() if floor.where(one) == "e"] == ["b", "c"]


def test_pipelines_do_not_take_each_others_workers() -> None:
    mine = [renamed(one, f"mine-{one.id}") for one in chain()]
    floor = driver("Fifo", *mine)
    floor.arrive(
        demand("theirs", pipeline="default/other"), demand("ours", pipeline="default/flux")
    )

    assert floor.running() == ["ours"]


@pytest.mark.parametrize("name", DISPATCH_NAMES)
def test_nothing_at_all_is_no_problem(name: str) -> None:
    assert driver(name).send(Woken()) == []


def test_an_unknown_name_says_what_there_is() -> None:
    with pytest.raises(ValueError, match="EarliestDeadline, Fifo"):
        dispatch_planner("Magic", CostModel())


# --- whatever happens -----------------------------------------------------------------------------


@st.composite
def floors(draw: st.DrawFn) -> list[Worker]:
    """Workers that share devices, host one stage or several, of two contents."""
    workers = []
    for index in range(draw(st.integers(1, 6))):
        stages = draw(st.sampled_from([(E,), (D,), (C,), (E, C), (E, D, C)]))
        held = draw(st.sets(st.integers(0, 3), min_size=1, max_size=2))
        workers.append(
            worker(
                f"w{index}",
                *stages,
                devices=tuple(f"n1/gpu{one}" for one in sorted(held)),
                digest=draw(st.sampled_from(["d1", "d1", "d2"])),
                slots=draw(st.integers(1, 3)),
                domain=draw(st.sampled_from([None, "m1", "m2"])),
                isolated=draw(st.booleans()),
            )
        )
    return [*workers, *(worker(f"last-{stage}", stage) for stage in STAGES)]


def check_order(state: State, started: Start, priority: Callable[[Journey], float]) -> None:
    """Nobody with a higher priority was left waiting for the worker that this request got."""
    chosen = state.workers[started.segment.worker]
    mine = state.journeys[started.segment.requests[0].request]
    running = state.running(chosen.id)
    for other in state.waiting(started.segment.stage):
        could = (
            hosts(chosen, other.demand, other.stage, other.digest)
            and chosen.id not in other.excluded
            and other.digest is not None
            and len(running) == 1
        )
        assert not could or priority(other) >= priority(mine)


@settings(max_examples=80, deadline=None)
@given(workers=floors(), name=st.sampled_from(DISPATCH_NAMES), seed=st.integers(0, 9999))
def test_whatever_happens_everything_is_served_in_order_and_nothing_is_overbooked(
    workers: list[Worker], name: str, seed: int
) -> None:
    rng = Random(seed)
    floor = driver(name, *workers)
    twin = driver(name, *workers)
    for index in range(60):
        floor.now = twin.now = float(index)
        events = _some_event(rng, floor, index)
        for event in events:
            actions = floor.send(event)
            assert twin.send(event) == actions  # deterministic
            for action in actions:
                if isinstance(action, Start):
                    check_order(floor.state, action, PRIORITY[name])
    for one in workers:
        floor.send(WorkerUp(worker=one))
    for journey in list(floor.state.journeys.values()):
        if journey.running is None and journey.digest is not None:
            floor.fail(str(journey.demand.id), again=E)  # its content may be gone
    left = 10_000
    while floor.state.journeys:
        assert floor.finish_some(rng), "requests wait, and nothing runs"
        for journey in stranded(floor.state):
            floor.fail(str(journey.demand.id), again=E)
        left -= 1
        assert left


def _some_event(rng: Random, floor: Driver, index: int) -> list[Event]:
    running = [journey for journey in floor.state.journeys.values() if journey.running]
    kinds = ["arrive", "arrive", "arrive", "finish", "finish", "fail", "leave", "worker"]
    kind = rng.choice(kinds)
    if kind == "arrive":
        shape = Shape(height=64, width=rng.choice([64, 128]))
        return [Arrived(demand=demand(f"r{index}", index, index + rng.randrange(50), shape=shape))]
    if kind == "worker":
        known = [one for one in floor.state.workers if not one.startswith("last")]
        if not known:
            return []
        chosen = rng.choice(known)
        if rng.random() < 0.5:
            return [WorkerDraining(worker=chosen)]
        return [WorkerUp(worker=floor.state.workers[chosen])]
    if not running:
        return []
    journey = rng.choice(running)
    request, stage = journey.demand.id, journey.stage
    if kind == "leave":
        return [Left(request=request)]
    if kind == "fail":
        excluded = frozenset(rng.sample(sorted(floor.state.workers), 1))
        return [
            StageFailed(
                request=journey.demand.id,
                stage=journey.stage,
                again=journey.stage,
                excluded=excluded,
            )
        ]
    return [StageFinished(request=request, stage=stage, seconds=1.0)]
