"""What tells the modern opponents apart: rounds, pauses by deadline, the shortest work packed."""

from collections.abc import Sequence

from tests.planner.floor import Driver, demand, state_of
from tests.planner.pricing import UP_TO_8, call, step
from tests.planner.test_deadline_aware import LARGE, SMALL, diffuse, model, node, segment, waits

from tridentserve.domain.dispatch import Demand, StepFinished, WakeAt, Woken, Yield
from tridentserve.domain.ids import RequestId
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.edf_preemptive import EdfPreemptive
from tridentserve.planner.dispatch.server_filling import ServerFilling
from tridentserve.planner.dispatch.tetri_rounds import ROUND_S, TetriRounds
from tridentserve.planner.protocols import DispatchPlanner


def driver(planner: DispatchPlanner, nodes: Sequence[str] = ("n1",)) -> Driver:
    return Driver(planner=planner, state=state_of(*(node(name) for name in nodes)))


def pauses(floor: Driver) -> list[Yield]:
    return [one for one in floor.actions if isinstance(one, Yield)]


def test_between_rounds_diffusion_waits_and_the_next_round_is_asked_for() -> None:
    floor = driver(TetriRounds(model()))
    diffuse(floor, "a", 1000)
    floor.now = ROUND_S / 2
    floor.send(Woken())
    early = waits(floor, "a")
    asked = [one.at_s for one in floor.actions if isinstance(one, WakeAt)]
    floor.now = ROUND_S
    floor.send(Woken())

    assert early
    assert asked[-1] == ROUND_S
    assert not waits(floor, "a")


def test_what_a_round_leaves_over_makes_those_faster_that_start() -> None:
    floor = driver(TetriRounds(model()))
    diffuse(floor, "a", 1000)
    floor.now = ROUND_S
    floor.send(Woken())

    assert segment(floor, "a").strategy.degree == 8


def _rounds(*devices: int) -> Driver:
    """Nodes of so many devices; `LARGE` fits on two and more only, and gains nothing by more."""
    known = [step(5.0, one, shape=LARGE, peak_bytes=20 // one.degree) for one in UP_TO_8]
    known += [step(4.0 / one.degree, one, shape=SMALL) for one in UP_TO_8]
    known += [
        call(stage, 1.0, shape=one)
        for stage in (Stage.ENCODE, Stage.DECODE)
        for one in (SMALL, LARGE)
    ]
    cost = CostModel(Profile(name="p", source="test", samples=tuple(known), usable_bytes=10))
    nodes = [node(f"n{index}", count) for index, count in enumerate(devices)]
    return Driver(planner=TetriRounds(cost), state=state_of(*nodes), now=1000.0)


def _next_round(floor: Driver, *demands: Demand) -> None:
    """These arrive and are encoded, and then it is time."""
    floor.send(Woken())
    for one in demands:
        floor.arrive(one)
        floor.finish(one.id)
    floor.now += ROUND_S
    floor.send(Woken())


def test_who_fits_nowhere_in_a_round_keeps_nobody_from_what_they_could_have() -> None:
    """All have aged."""
    floor = _rounds(2, 1, 1)
    _next_round(floor, demand("full", 0.0, 1.0, shape=LARGE))
    late = [demand(name, 2.0, 3.0, shape=SMALL) for name in ("a", "b")]
    _next_round(floor, demand("pair", 0.0, 1.0, shape=LARGE), *late)

    assert [waits(floor, name) for name in ("pair", "a", "b")] == [True, False, False]


def test_nobody_is_made_faster_on_the_devices_of_one_that_has_aged() -> None:
    """One node alone has two devices; with all four `s` would be the fastest."""
    floor = _rounds(4, 1, 1)
    on_time = demand("s", 1000.0, 2000.0, shape=SMALL)
    _next_round(floor, demand("pair", 0.0, 1.0, shape=LARGE), on_time)

    assert not waits(floor, "pair")


def _long_then_urgent(planner: DispatchPlanner) -> Driver:
    """Two long ones hold all devices; one that is short and urgent comes and waits."""
    floor = driver(planner)
    floor.arrive(*(demand(f"long{index}", 0, 4000 + index, shape=LARGE) for index in range(8)))
    while any(floor.state.journeys[RequestId(f"long{i}")].stage == "encode" for i in range(8)):
        floor.finish(next(n for n in floor.running() if segment(floor, n).stage == "encode"))
    floor.now = 1.0
    floor.arrive(demand("urgent", 1, 20, shape=SMALL))
    return floor


def test_the_urgent_have_one_with_a_later_deadline_paused_that_goes_on_afterwards() -> None:
    floor = _long_then_urgent(EdfPreemptive(model()))
    (paused,) = pauses(floor)
    victim = str(paused.segment).partition("/")[0]
    floor.send(StepFinished(segment=paused.segment, step=1))
    while RequestId("urgent") in floor.state.journeys:
        assert not waits(floor, "urgent")
        floor.finish("urgent")

    assert floor.where(victim) == "n1"
    assert not floor.state.parked


def test_nobody_is_paused_who_would_be_late_then() -> None:
    floor = driver(EdfPreemptive(model()))
    floor.arrive(*(demand(f"tight{index}", 0, 44, shape=LARGE) for index in range(3)))
    for index in range(3):
        floor.finish(f"tight{index}")
    floor.now = 4.0
    for index in range(3):
        diffuse(floor, f"urgent{index}", 36)  # before all the others, on 2 devices for 17 s

    assert waits(floor, "urgent2")
    assert pauses(floor) == []


def test_the_shortest_has_the_longest_paused_whatever_the_deadlines() -> None:
    floor = driver(ServerFilling(model()))
    diffuse(floor, "long", 5)
    held = len(segment(floor, "long").devices)
    floor.now = 0.5
    floor.arrive(demand("short", 0.5, 9000, shape=SMALL))

    assert held == 8
    assert [one.segment for one in pauses(floor)] == [segment(floor, "long").id]


def test_of_the_shortest_that_fill_the_devices_the_largest_need_is_served_first() -> None:
    floor = driver(ServerFilling(model()), ["n1", "n2"])
    diffuse(floor, "first", 1000)
    diffuse(floor, "second", 1000)
    floor.arrive(demand("narrow", 0, 1000, shape=SMALL))

    assert {floor.where("first"), floor.where("second")} == {"n1", "n2"}
