"""A worker that hardly anybody else can replace is left to the stage that needs it."""

from dataclasses import replace

import pytest
from tests.planner.floor import Driver, demand, state_of, worker
from tests.planner.pricing import UP_TO_8

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Arrived, Reserve, WorkerDown, WorkerUp
from tridentserve.domain.ids import RequestId, WorkerId
from tridentserve.domain.stages import STAGES
from tridentserve.planner.dispatch.backfill import Passing
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.guests import least_missed
from tridentserve.planner.dispatch.ordered import Rules

E, D, C = STAGES
BOTH, DECODER = worker("both", E, D), worker("c", C)


def diffusers(count: int) -> list[Worker]:
    return [worker(f"d{index}", D) for index in range(count)]


def driver(*workers: Worker) -> Driver:
    return Driver(planner=Fifo(), state=state_of(*workers))


def encoded(floor: Driver, *names: str) -> None:
    """Requests arrive and are encoded, one after the other."""
    for index, name in enumerate(names):
        floor.arrive(demand(name, index))
        floor.finish(name)


def places(floor: Driver, *names: str) -> list[str | None]:
    return [floor.where(name) for name in names]


def test_diffusion_leaves_the_only_encoder_for_another_diffuser_though_its_input_is_there() -> None:
    floor = driver(BOTH, *diffusers(1), DECODER)
    encoded(floor, "a")

    assert floor.where("a") == "d0"


def test_the_reader_of_the_input_is_reserved_where_it_will_run() -> None:
    floor = driver(BOTH, *diffusers(1), DECODER)
    floor.arrive(demand("a"))

    (reserve,) = [action for action in floor.actions if isinstance(action, Reserve)]
    assert reserve.worker == "d0"


def test_where_all_workers_host_the_same_stages_a_stage_stays_with_its_input() -> None:
    floor = driver(worker("w1", *STAGES), worker("w2", *STAGES))
    encoded(floor, "a")

    assert floor.where("a") == "w1"


def test_the_last_encoder_is_left_vacant_while_the_diffusers_have_nothing_else_to_do() -> None:
    floor = driver(BOTH, *diffusers(2), DECODER)
    encoded(floor, "a", "b", "c1", "c2")

    assert places(floor, "a", "b", "c1", "c2") == ["d0", "d1", None, None]


def test_diffusion_takes_the_last_encoder_once_the_diffusers_have_enough_to_do() -> None:
    floor = driver(BOTH, *diffusers(2), DECODER)
    encoded(floor, "a", "b", "c1", "c2", "c3")

    assert floor.where("c1") == "both"
    assert places(floor, "c2", "c3") == [None, None]


def test_encodes_that_wait_go_before_diffusion_until_too_much_of_that_waits() -> None:
    """In order of arrival all diffusion would go first; four calls in line for one diffuser do."""
    floor = driver(BOTH, *diffusers(1), DECODER)
    encoded(floor, "a", "b")
    floor.arrive(*(demand(f"new{index}", 10) for index in range(9)))
    encoding = []
    for index in range(4):
        encoding.append(floor.where(f"new{index}"))
        floor.finish(f"new{index}")

    assert encoding == ["both"] * 4
    assert places(floor, "b", "new4") == ["both", None]  # five wait for diffusion now


def test_of_several_devices_all_but_one_may_be_used_by_guests() -> None:
    nodes = [
        replace(
            worker(name, *stages, devices=tuple(f"{name}/{index}" for index in range(4))),
            concurrent=True,
        )
        for name, stages in (("both", (E, D)), ("d", (D,)))
    ]
    floor = driver(*nodes, DECODER)
    encoded(floor, *(f"r{index}" for index in range(9)))

    where = places(floor, *(f"r{index}" for index in range(9)))
    assert (where.count("d"), where.count("both"), where.count(None)) == (4, 3, 2)


def test_what_only_the_encoder_can_run_is_not_kept_from_it() -> None:
    floor = driver(BOTH, DECODER)
    encoded(floor, "a")

    assert floor.where("a") == "both"


def test_a_degree_that_only_the_encoder_has_is_not_kept_from_it() -> None:
    wide = replace(
        worker("both", E, D, devices=("x", "y")), strategies=UP_TO_8[:2], concurrent=True
    )
    state = state_of(wide, *diffusers(4), DECODER)
    state.apply(Arrived(demand=demand("a")))
    kind = state.roster.kind(wide.id)
    assert kind is not None
    waits = replace(state.journeys[RequestId("a")], stage=D)

    place = Floor(state).choose(waits, 2, among=(kind,))

    assert place is not None
    assert place.worker.id == "both"


def test_a_request_that_failed_on_all_others_may_use_the_encoder() -> None:
    floor = driver(BOTH, *diffusers(1), DECODER)
    encoded(floor, "a")
    floor.fail("a", "d0")

    assert floor.where("a") == "both"


def test_diffusers_of_another_content_do_not_make_the_encoder_scarce() -> None:
    others = [replace(one, digest=worker("x", D, digest="d2").digest) for one in diffusers(3)]
    floor = driver(BOTH, *others, DECODER)
    encoded(floor, "a")

    assert floor.where("a") == "both"


def test_workers_that_drain_do_not_count() -> None:
    floor = driver(BOTH, *(replace(one, draining=True) for one in diffusers(3)), DECODER)
    encoded(floor, "a")

    assert floor.where("a") == "both"


def test_the_least_scarce_of_several_that_scarcer_stages_need_comes_first() -> None:
    """Two devices decode and one encodes: neither worker is at home to diffusion."""
    floor = driver(BOTH, worker("dc", D, C), DECODER)
    encoded(floor, "a")

    assert floor.where("a") == "dc"


def test_kinds_that_are_missed_the_least_are_all_of_a_fleet_that_is_alike() -> None:
    roster = state_of(worker("a", *STAGES), worker("b", *STAGES, fraction=50)).roster
    kinds = roster.kinds(D)

    assert least_missed(roster, kinds, D) == kinds


def test_scarcity_follows_workers_that_come_and_go() -> None:
    state = state_of(BOTH, *diffusers(1))
    kind = state.roster.kind(WorkerId("both"))
    assert kind is not None
    before = (state.roster.scarcer(kind, D), state.roster.loss(kind, D))
    state.apply(WorkerDown(worker=WorkerId("d0")))
    without = (state.roster.scarcer(kind, D), state.roster.loss(kind, D))
    state.apply(WorkerUp(worker=diffusers(1)[0]))

    assert before == ((E,), 1.0)
    assert without == ((), 0.0)
    assert state.roster.scarcer(kind, D) == (E,)


@pytest.mark.parametrize("passing", [Passing.STRICT, Passing.RESERVATION])
def test_diffusion_in_line_claims_no_worker_that_it_has_to_leave_to_encode(
    passing: Passing,
) -> None:
    rules = Rules(passing=passing)
    state = state_of(BOTH, *diffusers(1), DECODER)
    floor = Driver(planner=Fifo(rules=rules), state=state)
    encoded(floor, "a", "b")
    floor.arrive(demand("new", 10))

    assert places(floor, "a", "b", "new") == ["d0", None, "both"]
