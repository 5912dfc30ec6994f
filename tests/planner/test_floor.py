"""What is free within one decision: groups of devices on workers that run several calls at once."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.floor import demand, state_of, worker

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Arrived, StageFinished, WorkerDown, WorkerUp
from tridentserve.domain.ids import DeviceId, RequestId, WorkerId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.dispatch.fits import Fit, emptiest, fewest_blocks_broken, tightest
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.places import Place, work_key
from tridentserve.planner.dispatch.starting import started
from tridentserve.planner.state import Journey, State

E, D, C = STAGES


def node(name: str, devices: int = 8, *, slots: int = 1, shared: tuple[str, ...] = ()) -> Worker:
    """A co-located worker over a node's devices, as placements project it."""
    held = tuple(f"{name}/gpu{index}" for index in range(devices)) + shared
    return replace(worker(name, *STAGES, devices=held, slots=slots), concurrent=True)


def waiting(*workers: Worker, requests: int = 8) -> State:
    """Requests that wait for encode."""
    state = state_of(*workers)
    for index in range(requests):
        state.apply(Arrived(demand=demand(f"r{index}", index)))
    return state


def journey(state: State, index: int = 0) -> Journey:
    return state.journeys[RequestId(f"r{index}")]


def run(state: State, index: int, degree: int, *, on: str | None = None) -> Place:
    """Start one request on so many devices, at once or on a named worker only."""
    floor = Floor(state)
    barred = frozenset(one for one in state.workers if on not in (None, one))
    place = floor.choose(journey(state, index), degree, barred=barred)
    assert place is not None
    floor.take(place, journey(state, index))
    for action in started(floor, journey(state, index), place, Strategy(ulysses=degree), "test"):
        state.apply(action)
    return place


def test_calls_on_devices_apart_run_on_one_worker_at_the_same_time() -> None:
    state = waiting(node("a"))

    taken = [device for degree in (4, 2, 1) for device in run(state, degree, degree).devices]

    assert len(set(taken)) == 7
    assert state.roster.vacant(WorkerId("a")) == 1
    assert Floor(state).choose(journey(state, 0), 2) is None


def test_a_worker_that_runs_one_call_at_a_time_has_no_room_beside_it() -> None:
    state = waiting(replace(node("a"), concurrent=False))

    run(state, 0, 2)

    assert Floor(state).choose(journey(state, 1), 1) is None


def test_a_finished_call_gives_its_devices_back() -> None:
    state = waiting(node("a"))
    run(state, 0, 8)
    full = Floor(state).choose(journey(state, 1), 1)

    state.apply(StageFinished(request=RequestId("r0"), stage=E, seconds=1.0))

    assert full is None
    assert Floor(state).choose(journey(state, 1), 8) is not None


@pytest.mark.parametrize(
    ("fit", "chosen"), [(tightest, "three"), (emptiest, "eight"), (fewest_blocks_broken, "three")]
)
def test_the_fit_decides_between_workers_that_are_alike(fit: Fit, chosen: str) -> None:
    state = waiting(node("eight"), node("five"), node("three"))
    run(state, 0, 3, on="five")
    run(state, 1, 5, on="three")

    place = Floor(state).choose(journey(state, 2), 1, fit=fit)

    assert place is not None
    assert (place.worker.id, len(place.devices)) == (chosen, 1)


def test_what_the_decision_took_is_not_offered_again() -> None:
    state = waiting(node("a"), node("b"))
    floor = Floor(state)
    used: list[DeviceId] = []
    for index in range(4):
        place = floor.choose(journey(state, index), 4)
        assert place is not None
        floor.take(place, journey(state, index))
        used += place.devices

    assert len(set(used)) == 16
    assert floor.choose(journey(state, 4), 1) is None
    assert not floor.open(E)
    assert +floor.vacancies(E) == {0: 2}


def test_a_batch_is_joined_by_the_same_work_on_the_same_devices_only() -> None:
    state = state_of(node("a", devices=1, slots=2))
    for name, side in (("r0", 64), ("r1", 128), ("r2", 64), ("r3", 64)):
        state.apply(Arrived(demand=demand(name, shape=Shape(height=side, width=64))))
    floor = Floor(state)
    first = floor.choose(journey(state, 0), 1)
    assert first is not None
    floor.take(first, journey(state, 0))

    other = floor.choose(journey(state, 1), 1)
    same = floor.choose(journey(state, 2), 1)
    assert same is not None
    floor.take(same, journey(state, 2))

    assert other is None
    assert same.devices == first.devices
    assert floor.choose(journey(state, 3), 1) is None


def test_encode_does_not_care_how_many_pictures_are_wanted_but_diffuse_does() -> None:
    state = state_of(node("a", devices=1, slots=2), node("b", devices=1, slots=2))
    for name, count in (("r0", 1), ("r1", 4)):
        state.apply(Arrived(demand=demand(name, count=count)))
    keys = []
    for stage in (E, D):
        keys.append([work_key(replace(journey(state, index), stage=stage)) for index in (0, 1)])

    assert keys[0][0] == keys[0][1]
    assert keys[1][0] != keys[1][1]


def test_nobody_joins_a_batch_beyond_what_the_memory_is_enough_for() -> None:
    state = waiting(node("a", devices=1, slots=4), requests=4)
    floor = Floor(state, lambda kind, one, degree: 2)
    for index in (0, 1):
        place = floor.choose(journey(state, index), 1)
        assert place is not None
        floor.take(place, journey(state, index))

    assert floor.choose(journey(state, 2), 1) is None
    assert not floor.open(E)


def test_a_batch_is_of_one_stage_also_on_a_worker_that_hosts_several() -> None:
    state = waiting(node("a", devices=1, slots=4), requests=2)
    run(state, 0, 1)
    state.apply(StageFinished(request=RequestId("r0"), stage=E, seconds=1.0))
    floor = Floor(state)
    place = floor.choose(journey(state, 0), 1)  # diffuse
    assert place is not None
    floor.take(place, journey(state, 0))

    assert floor.choose(journey(state, 1), 1) is None  # encode, of the same work


def test_the_next_stage_stays_with_its_input_unless_it_need_not() -> None:
    state = waiting(node("a"), node("b"))
    run(state, 0, 1, on="b")
    state.apply(StageFinished(request=RequestId("r0"), stage=E, seconds=1.0))
    run(state, 1, 4, on="b")

    near = Floor(state).choose(journey(state, 0), 2)
    anywhere = Floor(state).choose(journey(state, 0), 2, fit=emptiest, near=False)

    assert near is not None
    assert anywhere is not None
    assert (near.worker.id, anywhere.worker.id) == ("b", "a")


def test_barred_workers_are_left_alone() -> None:
    state = waiting(node("a"), node("b"))

    place = Floor(state).choose(journey(state), 1, barred=frozenset({WorkerId("a")}))

    assert place is not None
    assert place.worker.id == "b"


def check(state: State) -> None:
    """No device carries two calls, and the index equals one that is made from scratch."""
    for name, held in state.workers.items():
        used = [device for segment in state.running(name) for device in segment.devices]
        assert len(used) == len(set(used))
        leased = {one for one in held.devices if state.lessees(one)}
        assert state.roster.vacant(name) == len(held.devices) - len(leased)
    again = state_of(*state.workers.values())
    for stage in STAGES:
        alike = {(kind.capable, kind.devices): kind.size for kind in state.roster.kinds(stage)}
        anew = {(kind.capable, kind.devices): kind.size for kind in again.roster.kinds(stage)}
        assert alike == anew
        assert state.roster.capable(stage) == again.roster.capable(stage)
    assert state.complete == again.complete


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999))
def test_groups_never_overlap_whatever_comes_and_goes(seed: int) -> None:
    rng = Random(seed)
    shared = ("x/gpu0", "x/gpu1")
    workers = [node("a"), node("b", 4), node("c", 2, shared=shared), node("d", 1, shared=shared)]
    state = state_of(*workers)
    for index in range(60):
        state.apply(Arrived(demand=demand(f"r{index}", index)))
        floor = Floor(state)
        for one in [waits for stage in STAGES for waits in state.waiting(stage)]:
            degree = rng.choice([1, 1, 2, 4, 8])
            fit = rng.choice([tightest, emptiest, fewest_blocks_broken])
            place = floor.choose(one, degree, fit=fit, near=rng.random() < 0.5)
            if place is None:
                continue
            floor.take(place, one)
            for action in started(floor, one, place, Strategy(ulysses=degree), "test"):
                state.apply(action)
        running = [one for one in state.journeys.values() if one.running is not None]
        for one in rng.sample(running, min(2, len(running))):
            state.apply(StageFinished(request=one.demand.id, stage=one.stage, seconds=1.0))
        check(state)
    for name in tuple(state.workers):
        state.apply(WorkerDown(worker=name))
        check(state)
    for back in workers:
        state.apply(WorkerUp(worker=back))
        check(state)


def test_decode_finds_a_worker_of_another_stage_set_after_its_producer_is_gone() -> None:
    state = waiting(node("a"), worker("c", Stage.DECODE), requests=1)
    for stage, degree in ((E, 1), (D, 4)):
        run(state, 0, degree)
        state.apply(StageFinished(request=RequestId("r0"), stage=stage, seconds=1.0))
    state.apply(WorkerDown(worker=WorkerId("a")))

    place = Floor(state).choose(journey(state), 1)

    assert place is not None
    assert place.worker.id == "c"
