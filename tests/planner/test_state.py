"""The state: one mutator, nothing impossible gets in, and what it keeps ready is always true."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.floor import Driver, chain, demand, state_of, worker

from tridentserve.domain.dispatch import (
    Action,
    Arrived,
    Cursor,
    Demand,
    Event,
    Left,
    PlanChanged,
    Refuse,
    Reserve,
    Resize,
    Resume,
    Segment,
    StageFailed,
    StageFinished,
    Start,
    StepFinished,
    WakeAt,
    WorkerDown,
    WorkerDraining,
    WorkerUp,
    Yield,
)
from tridentserve.domain.ids import DeviceId, Epoch, RequestId, SegmentId, WorkerId
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.planner.state import State

E, D, C = STAGES
GPUS = tuple(DeviceId(f"n1/gpu{index}") for index in range(4))


def start(
    name: str,
    on: str,
    *requests: str,
    stage: Stage = E,
    devices: tuple[DeviceId, ...] = (),
    strategy: Strategy = SINGLE,
    epoch: int = 1,
    boundary: int | None = None,
) -> Start:
    return Start(
        segment=Segment(
            id=SegmentId(name),
            worker=WorkerId(on),
            stage=stage,
            devices=devices,
            strategy=strategy,
            requests=tuple(Cursor(request=RequestId(one)) for one in requests or (name,)),
            epoch=Epoch(epoch),
            boundary=boundary,
        ),
        reason="test",
    )


def reserve(name: str, stage: Stage, on: str) -> Reserve:
    return Reserve(request=RequestId(name), stage=stage, worker=WorkerId(on), reason="")


def resize(name: str, *devices: DeviceId, epoch: int = 2) -> Resize:
    strategy = Strategy(ulysses=max(1, len(devices)))
    return Resize(
        segment=SegmentId(name), devices=devices, strategy=strategy, epoch=Epoch(epoch), reason=""
    )


def finished(name: str, stage: Stage = E) -> StageFinished:
    return StageFinished(request=RequestId(name), stage=stage, seconds=1.0)


def failed(name: str, stage: Stage = E, again: Stage | None = None) -> StageFailed:
    return StageFailed(
        request=RequestId(name), stage=stage, again=again or stage, excluded=frozenset()
    )


def with_requests(*names: str) -> State:
    state = state_of(*chain())
    for name in names:
        state.apply(Arrived(demand=demand(name)))
    return state


IMPOSSIBLE: list[tuple[str, Event | Action]] = [
    ("arrives twice", Arrived(demand=demand("a"))),
    ("starts where no slot is free", start("b", "encode-d1")),
    ("starts twice", start("a", "diffuse-d1")),
    ("starts on a worker that is gone", start("b", "nowhere")),
    ("starts at a stage it does not wait for", start("b", "diffuse-d1", stage=D)),
    ("starts without ever having arrived", start("x", "diffuse-d1", stage=D)),
    ("finishes what it does not run", finished("b")),
    ("finishes another stage", finished("a", D)),
    ("finishes though it is gone", finished("x")),
    ("fails though it is gone", failed("x")),
    ("reserves though it is gone", reserve("x", D, "w")),
    ("resizes what does not run", resize("x")),
    ("yields what does not run", Yield(segment=SegmentId("x"), epoch=Epoch(2), reason="")),
    ("resumes what did not yield", Resume(segment=start("a", "encode-d1").segment, reason="")),
]  # fmt: skip


@pytest.mark.parametrize(
    "change", [change for _, change in IMPOSSIBLE], ids=[n for n, _ in IMPOSSIBLE]
)
def test_what_contradicts_the_state_is_refused_and_changes_nothing(change: Event | Action) -> None:
    state = with_requests("a", "b")
    state.apply(start("a", "encode-d1"))
    before = view(state)

    with pytest.raises(ValueError, match=r"."):
        state.apply(change)

    assert view(state) == before


@pytest.mark.parametrize(
    "change",
    [
        Left(request=RequestId("x")),
        Refuse(request=RequestId("x"), reason=""),
        WorkerDown(worker=WorkerId("x")),
        WorkerDraining(worker=WorkerId("x")),
        StepFinished(segment=SegmentId("x"), step=3),
        WakeAt(at_s=1.0, reason=""),
    ],
)
def test_what_says_nothing_about_the_state_is_ignored(change: Event | Action) -> None:
    state = with_requests("a")
    before = view(state)

    state.apply(change)

    assert view(state) == before


def test_a_journey_is_bound_to_the_content_of_its_first_segment_and_freed_by_a_new_beginning() -> (
    None
):
    state = with_requests("a")
    state.apply(start("a", "encode-d1"))
    state.apply(finished("a"))
    bound = state.journeys[RequestId("a")]
    state.apply(failed("a", D, again=E))
    free = state.journeys[RequestId("a")]

    assert (bound.digest, bound.revision, bound.producer) == ("d1", "r-d1", "encode-d1")
    assert (free.digest, free.revision, free.producer) == (None, None, None)


def test_a_retry_at_the_same_stage_keeps_content_and_producer() -> None:
    state = with_requests("a")
    state.apply(start("a", "encode-d1"))
    state.apply(finished("a"))
    state.apply(start("a2", "diffuse-d1", "a", stage=D))
    state.apply(failed("a", D))

    journey = state.journeys[RequestId("a")]
    assert (journey.digest, journey.producer, journey.running) == ("d1", "encode-d1", None)


def test_a_reservation_for_the_next_stage_outlives_the_start_of_this_one() -> None:
    state = with_requests("a")
    state.apply(Reserve(request=RequestId("a"), stage=D, worker=WorkerId("diffuse-d1"), reason=""))
    state.apply(start("a", "encode-d1"))
    while_running = state.journeys[RequestId("a")].preferred
    state.apply(finished("a"))
    while_waiting = state.journeys[RequestId("a")].preferred
    state.apply(start("a2", "diffuse-d1", "a", stage=D))

    assert while_running == while_waiting == "diffuse-d1"
    assert state.journeys[RequestId("a")].preferred is None
    assert state.reserved(WorkerId("diffuse-d1")) == 0


def test_work_on_a_worker_that_went_down_is_reported_request_by_request() -> None:
    state = with_requests("a")
    state.apply(start("a", "encode-d1"))
    state.apply(WorkerDown(worker=WorkerId("encode-d1")))
    state.apply(failed("a"))

    assert [one.demand.id for one in state.waiting(E)] == ["a"]
    assert state.free_slots(WorkerId("encode-d1")) == 0


def test_a_new_plan_is_kept() -> None:
    state, plan = State(), PlacementPlan(pools=(), reasons=())

    state.apply(PlanChanged(plan=plan))

    assert state.plan is plan


# --- what later planners will ask of the same types -----------------------------------------------


def wide() -> State:
    state = state_of(worker("d", D, devices=GPUS, slots=4), worker("e", E, slots=4), worker("c", C))
    for name in ("a", "b", "x"):
        state.apply(Arrived(demand=demand(name)))
        state.apply(start(f"e-{name}", "e", name))
        state.apply(finished(name))
    return state


def test_a_segment_grows_and_shrinks_at_its_step_boundaries() -> None:
    state = wide()
    state.apply(start("s", "d", "a", stage=D, devices=GPUS[:1], boundary=5))
    state.apply(resize("s", *GPUS))
    promised = state.lessees(GPUS[3])
    before = state.running(WorkerId("d"))[0]
    state.apply(StepFinished(segment=SegmentId("s"), step=5))
    grown = state.running(WorkerId("d"))[0]
    state.apply(resize("s", GPUS[2], epoch=3))
    state.apply(StepFinished(segment=SegmentId("s"), step=6))

    assert promised == {"d"}  # nobody else takes what it is about to grow into
    assert before.strategy == SINGLE
    assert (grown.devices, grown.strategy.degree, grown.epoch) == (GPUS, 4, 2)
    assert grown.requests == (Cursor(request=RequestId("a"), step=5),)
    assert [device for device in GPUS if state.lessees(device)] == [GPUS[2]]


def test_a_segment_yields_at_its_next_boundary_and_goes_on_elsewhere_later() -> None:
    state = wide()
    state.apply(start("s", "d", "a", stage=D, devices=GPUS[:2], strategy=Strategy(ulysses=2)))
    state.apply(Yield(segment=SegmentId("s"), epoch=Epoch(2), reason="urgent work"))
    still = state.running(WorkerId("d"))
    state.apply(StepFinished(segment=SegmentId("s"), step=3))
    parked = state.parked[SegmentId("s")]
    idle = not any(state.lessees(device) for device in GPUS)
    state.apply(start("urgent", "d", "b", stage=D, devices=GPUS[:2]))
    again = replace(parked, devices=GPUS[2:], epoch=Epoch(3))
    state.apply(Resume(segment=again, reason="room again"))

    assert len(still) == 1
    assert idle
    assert parked.requests == (Cursor(request=RequestId("a"), step=3),)
    assert not state.parked
    assert state.free_slots(WorkerId("d")) == 2
    state.apply(finished("a", D))
    assert [one.demand.id for one in state.waiting(C)] == ["a"]


def test_a_request_can_leave_while_its_segment_has_yielded() -> None:
    state = wide()
    state.apply(start("s", "d", "a", stage=D, devices=GPUS[:1]))
    state.apply(Yield(segment=SegmentId("s"), epoch=Epoch(2), reason=""))
    state.apply(StepFinished(segment=SegmentId("s"), step=1))
    state.apply(Left(request=RequestId("a")))

    assert not state.parked
    assert RequestId("a") not in state.journeys


def test_a_segment_of_several_requests_lives_until_its_last_one_is_done() -> None:
    state = wide()
    state.apply(start("batch", "d", "a", "b", "x", stage=D, devices=GPUS[:1]))
    slots = [state.free_slots(WorkerId("d"))]
    state.apply(StepFinished(segment=SegmentId("batch"), step=2))
    state.apply(finished("b", D))
    slots.append(state.free_slots(WorkerId("d")))
    (segment,) = state.running(WorkerId("d"))
    state.apply(finished("a", D))
    state.apply(failed("x", D))
    slots.append(state.free_slots(WorkerId("d")))

    assert slots == [1, 2, 4]
    assert segment.requests == (
        Cursor(request=RequestId("a"), step=2),
        Cursor(request=RequestId("x"), step=2),
    )
    assert not state.lessees(GPUS[0])


def test_a_batch_takes_all_of_its_slots_or_none() -> None:
    state = state_of(worker("e", E, slots=2))
    for name in ("a", "b", "c"):
        state.apply(Arrived(demand=demand(name)))

    with pytest.raises(ValueError, match="no free slot"):
        state.apply(start("batch", "e", "a", "b", "c"))

    assert len(state.waiting(E)) == 3


def test_two_pipelines_share_a_device_one_at_a_time() -> None:
    state = state_of(
        worker("ours", E, devices=("n1/gpu0",), pipeline="default/flux"),
        worker("theirs", E, devices=("n1/gpu0",), pipeline="default/wan"),
    )
    state.apply(Arrived(demand=demand("a", pipeline="default/flux")))
    state.apply(Arrived(demand=demand("b", pipeline="default/wan")))
    state.apply(start("s1", "ours", "a", devices=GPUS[:1]))

    with pytest.raises(ValueError, match="leased"):
        state.apply(start("s2", "theirs", "b", devices=GPUS[:1]))
    state.apply(finished("a"))
    state.apply(start("s2", "theirs", "b", devices=GPUS[:1]))

    assert state.lessees(GPUS[0]) == {"theirs"}


def test_a_segment_cannot_grow_into_a_device_that_another_runs_on() -> None:
    state = state_of(worker("one", E, devices=GPUS[:2]), worker("other", E, devices=GPUS[1:2]))
    for name in ("a", "b"):
        state.apply(Arrived(demand=demand(name)))
    state.apply(start("s1", "one", "a", devices=GPUS[:1]))
    state.apply(start("s2", "other", "b", devices=GPUS[1:2]))

    with pytest.raises(ValueError, match="leased"):
        state.apply(resize("s1", *GPUS[:2]))


# --- kept up to date change by change, equal to counted from scratch ------------------------------


def view(state: State) -> object:
    """All that can be read."""
    return (
        dict(state.journeys),
        {stage: state.waiting(stage) for stage in STAGES},
        dict(state.workers),
        {name: (state.running(name), state.free_slots(name)) for name in state.workers},
        dict(state.parked),
    )


def recounted(state: State) -> None:
    """Compare every index with what journeys and segments say."""
    journeys = list(state.journeys.values())
    for stage in STAGES:
        waiting = {one.demand.id for one in journeys if one.stage is stage and not one.running}
        assert {one.demand.id for one in state.waiting(stage)} == waiting
    held = {one: state.running(one) for one in state.workers}
    every = [segment for segments in held.values() for segment in segments]
    placed = [cursor.request for segment in every for cursor in segment.requests]
    assert len(placed) == len(set(placed))
    leases: dict[DeviceId, set[WorkerId]] = {}
    for name, segments in held.items():
        used = sum(len(segment.requests) for segment in segments)
        known = state.workers[name]
        assert used <= known.slots
        assert state.free_slots(name) == (0 if known.draining else known.slots - used)
        room = (
            0
            if known.draining or segments
            else sum(not (state.lessees(device) - {name}) for device in known.devices)
        )
        assert state.roster.vacant(name) == len(state.roster.vacant_devices(known)) == room
        kind = state.roster.kind(name)
        assert known.draining or (kind is not None and name in kind.rooms[room])
        for segment in segments:
            for device in segment.devices:
                leases.setdefault(device, set()).add(name)
    for device in GPUS:
        assert state.lessees(device) == leases.get(device, set())
    reserved = Counter(one.preferred for one in journeys if one.preferred is not None)
    for name in state.workers:
        assert state.reserved(name) == reserved[name]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999))
def test_indexes_kept_change_by_change_equal_a_count_from_scratch(seed: int) -> None:
    rng = Random(seed)
    workers = [
        worker(
            f"w{index}",
            *rng.sample(STAGES, rng.randint(1, 3)),
            devices=GPUS[index % 3 : index % 3 + 2],
            slots=rng.randint(1, 3),
        )
        for index in range(5)
    ]
    floor = Driver(planner=Fifo(), state=state_of(*workers))
    for index in range(80):
        running = [one for one in floor.state.journeys.values() if one.running]
        choice = rng.random()
        if choice < 0.4 or not running:
            one: Demand = demand(f"r{index}", index)
            floor.send(Arrived(demand=one))
        else:
            name = str(rng.choice(running).demand.id)
            if choice < 0.8:
                floor.finish(name)
            elif choice < 0.9:
                floor.fail(name, again=rng.choice([None, E]))
            else:
                floor.send(Left(request=RequestId(name)))
        if rng.random() < 0.05:
            floor.send(WorkerDraining(worker=rng.choice(workers).id))
        if rng.random() < 0.05:
            floor.send(WorkerUp(worker=rng.choice(workers)))
        recounted(floor.state)
