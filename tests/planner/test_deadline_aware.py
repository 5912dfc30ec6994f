"""What DeadlineAware promises: degrees worth their price, wide work not starved, nobody forgotten.

What every dispatch planner keeps to is in `contract/`; here is what only this one does.
"""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.planner.contract.stress import Story, costs, fleet, tell
from tests.planner.floor import Driver, chain, demand, state_of, worker
from tests.planner.pricing import UP_TO_8, call, step

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Action,
    Event,
    PlanChanged,
    Resize,
    Segment,
    StepFinished,
    WakeAt,
    Woken,
)
from tridentserve.domain.ids import RequestId
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.profiles import Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.clearing import Clearing
from tridentserve.planner.dispatch.deadline_aware import DeadlineAware
from tridentserve.planner.dispatch.desk import Desk, Settings
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.options import Option, Options
from tridentserve.planner.dispatch.outlook import Outlook
from tridentserve.planner.dispatch.pricing import Pricing
from tridentserve.planner.dispatch.redecision import Redecision
from tridentserve.planner.dispatch.reservation import Drains, Reservation
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.dispatch.thrift import Thrift
from tridentserve.planner.dispatch.urgency import HORIZON_S, PATIENCE
from tridentserve.planner.dispatch.water_filling import WaterFilling
from tridentserve.planner.registry import dispatch_planner
from tridentserve.planner.state import State

E, D, C = STAGES
SMALL, LARGE = Shape(height=64, width=64), Shape(height=512, width=512)
ALONE = Settings(pricing=Pricing(), reservation=None, water_filling=None)
"""Only the price decides."""


def model(peak_bytes: int = 0) -> CostModel:
    """Encode takes 0.1 s, decode 1 s; a step of SMALL 1 s on one device, of LARGE 8 s.

    Args:
        peak_bytes: that LARGE needs in all, of which a device has 10.
    """
    known = []
    for shape, seconds in ((SMALL, (1.0, 0.6, 0.4, 0.3)), (LARGE, (8.0, 4.2, 2.2, 1.2))):
        bytes_ = peak_bytes if shape == LARGE else 0
        known += [
            step(s, one, shape=shape, peak_bytes=bytes_ // one.degree)
            for s, one in zip(seconds, UP_TO_8, strict=True)
        ]
        known += [call(E, 0.1, shape=shape), call(C, 1.0, shape=shape)]
    return CostModel(Profile(name="test", source="test", samples=tuple(known), usable_bytes=10))


def node(name: str, devices: int = 8) -> Worker:
    """A worker of all stages that runs several calls at once."""
    held = tuple(f"{name}/gpu{index}" for index in range(devices))
    one = worker(name, *STAGES, devices=held)
    return replace(one, strategies=UP_TO_8, concurrent=True)


def driver(chosen: Settings | None = None, *nodes: Worker, cost: CostModel | None = None) -> Driver:
    planner = DeadlineAware(cost or model(), chosen)
    return Driver(planner=planner, state=state_of(*(nodes or (node("n1"),))))


def segment(floor: Driver, name: str) -> Segment:
    """What a request runs in."""
    return next(
        one
        for host in floor.state.workers
        for one in floor.state.running(host)
        if one.requests[0].request == name
    )


def diffuse(floor: Driver, name: str, deadline_s: float, shape: Shape = LARGE) -> None:
    """A request arrives and gets past encode."""
    floor.arrive(demand(name, floor.now, floor.now + deadline_s, shape=shape))
    floor.finish(name)


def waits(floor: Driver, name: str) -> bool:
    return floor.state.journeys[RequestId(name)].running is None


# --- 1: the price ---------------------------------------------------------------------------------


def test_alone_on_the_cluster_the_fastest_degree_is_worth_it() -> None:
    floor = driver(ALONE)
    diffuse(floor, "a", 1000)

    assert segment(floor, "a").strategy.degree == 8


def test_among_many_the_efficient_degree_is_worth_it() -> None:
    floor = driver(replace(ALONE, pricing=Pricing(beta=100, stretch=100)))
    for index in range(4):
        diffuse(floor, f"r{index}", 1000)

    assert segment(floor, "r3").strategy.degree == 1


def test_a_deadline_that_one_device_would_miss_raises_the_degree_and_no_further() -> None:
    floor = driver(replace(ALONE, pricing=Pricing(beta=100, stretch=100)))
    diffuse(floor, "a", 30)  # 4 steps of 4.2 s and decode, with what they may take longer

    assert segment(floor, "a").strategy.degree == 2


def test_a_degree_is_on_time_by_what_all_pictures_of_a_request_take() -> None:
    floor = driver(replace(ALONE, pricing=Pricing(beta=100, stretch=100)))
    for name, count in (("one", 1), ("two", 2)):
        floor.arrive(demand(name, 0.0, 50.0, shape=LARGE, count=count))
        floor.finish(name)

    assert segment(floor, "one").strategy.degree == 1  # 32 s and decode
    assert segment(floor, "two").strategy.degree == 2  # 33.6 s and twice decode


def test_decode_counts_when_a_degree_is_said_to_be_on_time() -> None:
    """On one device diffusion takes 32 s: in time for 40, were it not for decode."""
    known = [step(one, s, shape=LARGE) for s, one in zip(UP_TO_8, (8, 4.2, 2.2, 1.2), strict=True)]
    known += [call(E, 0.1, shape=LARGE), call(C, 20.0, shape=LARGE)]
    cost = CostModel(Profile(name="test", source="test", samples=tuple(known)))
    floor = driver(replace(ALONE, pricing=Pricing(beta=100, stretch=100)), cost=cost)
    diffuse(floor, "a", 50)

    assert segment(floor, "a").strategy.degree > 1


def test_without_pricing_the_degree_is_the_largest_efficient_one() -> None:
    floor = driver(replace(ALONE, pricing=None))
    diffuse(floor, "a", 1000, SMALL)
    diffuse(floor, "b", 1000, LARGE)

    assert segment(floor, "a").strategy.degree == 2
    assert waits(floor, "b")  # for 8: 6 are vacant


def _held_back(patience: float) -> Driver:
    """`b` saves 4 s by 8 devices over 4; it comes at 0, when `a` decodes on one of them."""
    floor = driver(replace(ALONE, pricing=Pricing(beta=1, patience=patience)))
    diffuse(floor, "a", 1000, SMALL)
    floor.finish("a")
    diffuse(floor, "b", 1000, LARGE)
    return floor


def test_who_finds_its_degree_taken_waits_as_long_as_it_saves_and_no_longer() -> None:
    floor = _held_back(1.0)
    floor.now = 3.9
    floor.send(Woken())
    waited = waits(floor, "b")
    floor.now = 4.1
    floor.send(Woken())

    assert waited
    assert segment(floor, "b").strategy.degree == 4


def test_who_is_held_back_asks_for_the_moment_when_it_takes_less() -> None:
    asked = [one.at_s for one in _held_back(1.0).actions if isinstance(one, WakeAt)]

    assert asked == [pytest.approx(4.0)]


def test_without_patience_it_takes_at_once_what_is_free() -> None:
    assert segment(_held_back(0.0), "b").strategy.degree == 4


def test_in_a_crowd_nobody_is_held_back() -> None:
    floor = driver(replace(ALONE, pricing=Pricing(beta=1, crowded=0.2)))
    diffuse(floor, "a", 1000, SMALL)
    floor.finish("a")
    diffuse(floor, "b", 1000, LARGE)

    assert segment(floor, "b").strategy.degree == 4
    assert not any(isinstance(one, WakeAt) for one in floor.actions)


def test_a_smaller_degree_that_would_be_late_is_never_taken_instead() -> None:
    floor = driver(replace(ALONE, pricing=Pricing(beta=1, patience=0.0)))
    diffuse(floor, "a", 1000, SMALL)
    floor.finish("a")
    diffuse(floor, "b", 9, LARGE)  # 4.8 s on 8 devices, 8.8 on 4, and decode

    assert waits(floor, "b")


@pytest.mark.parametrize(
    ("prices", "planned", "degree"),
    [
        (((E, 1.0), (D, 10.0)), True, 1),
        (((E, 1.0), (D, 10.0)), False, 8),
        (((E, 10.0), (D, 1.003)), True, 8),
        (((D, 0.0),), True, 8),
        ((), True, 8),
    ],
)
def test_where_the_placement_says_that_devices_are_scarce_they_are_dear(
    prices: tuple[tuple[Stage, float], ...], planned: bool, degree: int
) -> None:
    floor = driver(replace(ALONE, pricing=Pricing(planned=planned)))
    floor.send(PlanChanged(plan=PlacementPlan(pools=(), reasons=(), prices=prices)))
    diffuse(floor, "a", 1000)

    assert segment(floor, "a").strategy.degree == degree


# --- 2: drained nodes -----------------------------------------------------------------------------


def _urgent_and_small(reservation: Reservation | None, nodes: int = 2) -> Driver:
    """`wide` needs all of a node to be on time, 7 of one are vacant; small work comes after it."""
    chosen = Settings(
        pricing=Pricing(beta=100, stretch=100), reservation=reservation, water_filling=None
    )
    floor = driver(chosen, *(node(f"n{index}") for index in range(nodes)))
    for index in range(1, nodes):
        diffuse(floor, f"full{index}", 11, LARGE)
    diffuse(floor, "first", 1000, SMALL)
    floor.now = 1.0
    floor.arrive(demand("wide", 1.0, 1.0 + 10.5, shape=LARGE), demand("s", 1.0, 900.0, shape=SMALL))
    floor.finish("wide")
    floor.finish("s")
    return floor


def test_a_node_is_kept_for_a_request_that_needs_all_of_it() -> None:
    floor = _urgent_and_small(Reservation())

    assert waits(floor, "wide")
    assert waits(floor, "s")
    floor.finish("first")
    assert len(segment(floor, "wide").devices) == 8


def test_the_only_node_is_not_kept_for_who_fits_on_less() -> None:
    floor = _urgent_and_small(Reservation(), nodes=1)

    assert waits(floor, "wide")
    assert not waits(floor, "s")


def test_a_node_is_kept_where_workers_of_one_device_serve_the_others() -> None:
    """It is the only one of its size, and not all that there is."""
    chosen = Settings(pricing=Pricing(beta=100, stretch=100), water_filling=None)
    floor = driver(chosen, node("n1"), node("single", 1))
    for name in ("first", "second"):
        diffuse(floor, name, 1000, SMALL)
    diffuse(floor, "wide", 10.5, LARGE)
    diffuse(floor, "s", 900, SMALL)

    assert {floor.where("first"), floor.where("second")} == {"n1", "single"}
    assert waits(floor, "wide")
    assert waits(floor, "s")


def test_the_only_node_is_kept_for_who_fits_on_nothing_less() -> None:
    floor = driver(cost=model(peak_bytes=80), chosen=Settings(water_filling=None))
    diffuse(floor, "first", 1000, SMALL)
    diffuse(floor, "wide", 10.5, LARGE)
    diffuse(floor, "s", 900, SMALL)

    assert waits(floor, "s")
    floor.finish("first")
    assert len(segment(floor, "wide").devices) == 8


def test_the_only_encoder_is_not_kept_for_who_would_have_to_leave_it() -> None:
    """`wide` has aged, and would have the encoder sooner than the other node, were it no guest."""
    diffuser = replace(node("n2"), capable=frozenset((D,)), resident=frozenset((D,)))
    chosen = Settings(water_filling=None)
    floor = driver(chosen, node("n1"), diffuser, cost=model(peak_bytes=80))
    diffuse(floor, "s", 10_000, SMALL)
    floor.now = 500.0
    floor.arrive(demand("wide", 0.0, 1.0, shape=LARGE))
    floor.finish("wide")
    floor.arrive(demand("new", 500.0, 10_000, shape=SMALL))

    assert floor.where("s") == "n2"
    assert waits(floor, "wide")
    assert floor.where("new") == "n1"


def test_without_reservation_small_work_goes_first() -> None:
    floor = _urgent_and_small(None)

    assert not waits(floor, "s")


@pytest.mark.parametrize(("nodes", "most"), [(1, 0), (2, 1), (4, 1), (8, 2), (16, 4), (32, 4)])
def test_no_more_than_a_share_of_the_nodes_drains_at_a_time(nodes: int, most: int) -> None:
    state = state_of(*(node(f"n{index:02}") for index in range(nodes)))
    options = Options(model())
    clearing = Clearing(state, Floor(state), Running(options), 0.0)
    drains = Drains(Reservation(), clearing, 0.0, nodes)
    wide = Offers(options).among(state.roster.kinds(D), D, LARGE, 4)[-1]
    for _ in range(nodes):
        if drains.would_keep(wide):
            drains.keep(wide, frozenset())
    single = Offers(options).among(state.roster.kinds(D), D, LARGE, 4)[0]

    assert wide.degree == 8
    assert len(drains.barred(replace(single, option=None))) == most


# --- 3: places ------------------------------------------------------------------------------------


def test_decode_goes_where_it_breaks_the_fewest_groups_of_devices() -> None:
    floor = driver(replace(ALONE, pricing=None), node("n1"), node("n2"))
    diffuse(floor, "large", 1000, LARGE)  # 8 of one node
    diffuse(floor, "small", 1000, SMALL)  # 2 of the other
    hosts = floor.where("large"), floor.where("small")
    floor.finish("large")

    assert hosts[0] != hosts[1]
    assert floor.where("large") == hosts[1]  # 6 left there, against a whole node where it ran


def test_with_that_switched_off_decode_stays_where_its_input_is() -> None:
    chosen = replace(ALONE, pricing=None, defragmentation=False)
    floor = driver(chosen, node("n1"), node("n2"))
    diffuse(floor, "large", 1000, LARGE)
    diffuse(floor, "small", 1000, SMALL)
    host = floor.where("large")
    floor.finish("large")

    assert floor.where("large") == host


def test_a_call_goes_where_it_puts_off_the_least_when_all_is_vacant() -> None:
    """`long` runs for 13 s on half of a node; what is short ends before it, and would not on n1."""
    pricing = Pricing(beta=100, stretch=100)
    floor = driver(replace(ALONE, pricing=pricing), node("n1"), node("n2"))
    diffuse(floor, "short", 1000, SMALL)
    diffuse(floor, "long", 14.2, LARGE)
    floor.now = 1.0
    diffuse(floor, "next", 1000, SMALL)

    assert floor.where("next") == floor.where("long")


# --- 4: idle devices ------------------------------------------------------------------------------


@pytest.mark.parametrize(("filling", "degree"), [(None, 1), (WaterFilling(efficiency=0.5), 8)])
def test_when_nothing_waits_idle_devices_make_it_faster(
    filling: WaterFilling | None, degree: int
) -> None:
    pricing = Pricing(beta=100, stretch=100)
    floor = driver(Settings(pricing=pricing, reservation=None, water_filling=filling))
    diffuse(floor, "a", 1000)

    assert segment(floor, "a").strategy.degree == degree


# --- 5: changing what runs ------------------------------------------------------------------------

ELASTIC = Settings(
    pricing=Pricing(beta=100, stretch=100),
    water_filling=None,
    redecision=Redecision(cap=1, urgent_s=30.0),
)


def _boundary(floor: Driver, name: str, done: int) -> None:
    floor.send(StepFinished(segment=segment(floor, name).id, step=done))


def test_what_runs_grows_into_idle_devices_once_and_no_more() -> None:
    floor = driver(ELASTIC)
    diffuse(floor, "a", 1000)
    floor.send(Woken())
    _boundary(floor, "a", 1)
    grown = segment(floor, "a")
    floor.send(Woken())

    assert (grown.strategy.degree, len(grown.devices)) == (8, 8)
    assert sum(isinstance(one, Resize) for one in floor.actions) == 1


def test_a_growth_that_costs_more_than_it_saves_is_left_alone() -> None:
    dear = replace(ELASTIC, redecision=Redecision(cost_s=60.0))
    floor = driver(dear)
    diffuse(floor, "a", 1000)
    floor.send(Woken())

    assert not any(isinstance(one, Resize) for one in floor.actions)


def test_who_has_time_gives_devices_to_who_has_not() -> None:
    floor = driver(replace(ELASTIC, pricing=None))
    diffuse(floor, "patient", 5000)
    floor.now = 0.5
    floor.arrive(demand("urgent", 0.5, 30.0, shape=SMALL))
    before = segment(floor, "patient").strategy.degree
    _boundary(floor, "patient", 1)

    assert before == 8
    assert segment(floor, "patient").strategy.degree == 4
    assert not waits(floor, "urgent")


def test_production_never_asks_for_what_its_router_cannot_do() -> None:
    planner = dispatch_planner("DeadlineAware", model())
    floor = Driver(planner=planner, state=state_of(node("n1")))
    floor.arrive(*(demand(f"r{index}", 0, 40, shape=LARGE) for index in range(12)))
    rng = Random(0)
    while floor.finish_some(rng):
        floor.now += 1.0

    assert not any(isinstance(one, Resize) for one in floor.actions)


# --- 6: thrift ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thrift", "others", "degree"), [(Thrift(), 0, 8), (Thrift(), 2, 4), (None, 2, 8)]
)
def test_while_others_wait_no_degree_is_offered_that_wastes_devices(
    thrift: Thrift | None, others: int, degree: int
) -> None:
    """LARGE uses 8 devices at .83 and 4 at .91; with two others .4 + 2 x 2 / 8 is asked for."""
    only = replace(node("n1"), capable=frozenset({D}), resident=frozenset({D}))
    cheap = replace(ALONE, pricing=Pricing(beta=0), thrift=thrift)
    floor = driver(cheap, only, worker("enc", E), worker("dec", C))
    diffuse(floor, "runs", 1000, SMALL)
    diffuse(floor, "wide", 14, LARGE)
    for index in range(others):
        diffuse(floor, f"s{index}", 1000, SMALL)
    floor.finish("runs")

    assert segment(floor, "wide").strategy.degree == degree


@given(least=st.floats(0, 2), efficiencies=st.lists(st.floats(0.01, 1.5), min_size=1, max_size=4))
def test_the_most_efficient_degree_is_always_offered(
    least: float, efficiencies: list[float]
) -> None:
    offers = tuple(
        Offer(degree=strategy.degree, kinds=(), option=_option(strategy, efficiency))
        for strategy, efficiency in zip(UP_TO_8, efficiencies, strict=False)
    )
    whole = Outlook(offers=offers, is_known=True).completed()
    offered = whole.by_efficiency(least)
    kept = [one.option.efficiency for one in offered.offers if one.option is not None]

    assert kept == [one for one in efficiencies if one >= min(least, max(efficiencies))]
    assert offered.soonest_s == whole.fastest_s <= offered.fastest_s


def _option(strategy: Strategy, efficiency: float) -> Option:
    seconds = 10 / (strategy.degree * efficiency)
    return Option(
        strategy=strategy,
        degree=strategy.degree,
        mean_s=seconds,
        q90_s=seconds,
        device_s=seconds * strategy.degree,
        efficiency=efficiency,
    )


# --- late and far deadlines -----------------------------------------------------------------------


@pytest.mark.parametrize(("slack_s", "first"), [(3, "fine"), (60, "late")])
def test_what_is_late_goes_before_what_can_wait_for_it_and_after_what_cannot(
    slack_s: float, first: str
) -> None:
    """One device; each takes 4 steps of a second, and 1 s of decode."""
    floor = driver(replace(ALONE, pricing=Pricing(crowded=10)), node("n1", 1))
    diffuse(floor, "runs", 100, SMALL)
    floor.now = 10.0
    floor.arrive(demand("late", 0, 9, shape=SMALL))
    floor.arrive(demand("fine", 10, 10 + 6 + slack_s, shape=SMALL))
    while floor.running():
        floor.finish(floor.running()[0])
    diffused = [one.segment.requests[0].request for one in floor.started if one.segment.stage is D]

    assert diffused[:2] == ["runs", first]


def test_in_a_crowd_what_is_late_comes_after_all_that_is_on_time() -> None:
    floor = driver(ALONE, node("n1", 1))
    diffuse(floor, "runs", 100, SMALL)
    floor.now = 10.0
    floor.arrive(demand("late", 0, 9, shape=SMALL), demand("fine", 10, 900, shape=SMALL))
    while floor.running():
        floor.finish(floor.running()[0])
    diffused = [one.segment.requests[0].request for one in floor.started if one.segment.stage is D]

    assert diffused == ["runs", "fine", "late"]


def test_late_work_displaces_nothing_that_is_on_time_until_it_has_aged() -> None:
    floor = driver(replace(ALONE, mingling=False), node("n1", 1))
    floor.arrive(demand("runs", 0, 100, shape=SMALL))
    floor.now = 10.0
    floor.arrive(demand("late", 0, 9, shape=SMALL), demand("fine", 10, 100, shape=SMALL))
    floor.finish("runs")
    first = floor.running()

    assert first == ["runs"] or "late" not in first
    floor.now = 9 + (PATIENCE + 1) * 10
    floor.arrive(demand("newer", floor.now, floor.now + 200, shape=SMALL))
    while "late" not in floor.running():
        floor.finish(floor.running()[0])
        assert "newer" not in floor.running()


@pytest.mark.parametrize(("by_ratio", "first"), [(True, "large"), (False, "small")])
def test_of_the_late_goes_first_who_waited_the_most_for_what_it_needs(
    by_ratio: bool, first: str
) -> None:
    """`large` waited 3 times what it needs, `small` twice; neither has aged."""
    only = replace(node("n1", 1), capable=frozenset({D}), resident=frozenset({D}))
    floor = driver(replace(ALONE, by_ratio=by_ratio), only, worker("enc", E), worker("dec", C))
    diffuse(floor, "runs", 1000, SMALL)
    diffuse(floor, "large", 1, LARGE)
    floor.now = 90.0
    diffuse(floor, "small", 1, SMALL)
    floor.now = 100.0
    floor.finish("runs")

    assert segment(floor, first).stage is D


def test_what_is_late_takes_the_largest_efficient_degree_that_fits_however_dear() -> None:
    floor = driver(replace(ALONE, pricing=Pricing(beta=100)))
    diffuse(floor, "a", 1, LARGE)
    first = segment(floor, "a").strategy.degree
    floor.finish("a")  # decodes on one device
    diffuse(floor, "b", 1, LARGE)

    assert (first, segment(floor, "b").strategy.degree) == (8, 4)


@pytest.mark.parametrize("far", [HORIZON_S * 10, float("inf")])
def test_a_far_deadline_does_not_wait_for_ever(far: float) -> None:
    floor = driver(ALONE, node("n1", 1))
    floor.arrive(demand("runs", 0, 100, shape=SMALL), demand("far", 0, far, shape=SMALL))
    floor.now = 2 * HORIZON_S
    floor.arrive(demand("new", floor.now, floor.now + 50, shape=SMALL))
    while "far" not in floor.running():
        floor.finish(floor.running()[0])

    assert waits(floor, "new")


def test_a_stream_of_urgent_work_starves_nobody() -> None:
    """On one device, twice as much arrives as it can do; all of what is late is served in turn."""
    floor = driver(ALONE, node("n1", 1))
    floor.arrive(demand("old", 0, 1, shape=SMALL))
    floor.arrive(*(demand(f"x{index}", 0, 6, shape=SMALL) for index in range(3)))
    for index in range(200):
        floor.now = index * 2.5
        floor.arrive(demand(f"r{index}", floor.now, floor.now + 8, shape=SMALL))
        floor.finish(floor.running()[0])
        if RequestId("old") not in floor.state.journeys:
            break

    assert floor.now < 1 + (PATIENCE + 4) * 6


# --- what is kept from one decision to the next ---------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99999))
def test_a_planner_built_anew_decides_as_one_that_saw_everything(seed: int) -> None:
    """Without clocks (no node drains, nobody asks when one is clear), the state says it all."""
    rng = Random(seed)
    workers = fleet(rng)
    cost = costs()
    chosen = Settings(reservation=None, nesting=False)
    floor = Driver(planner=DeadlineAware(cost, chosen), state=state_of(*workers))
    story = Story(rng, workers)
    for _ in range(40):
        floor.now += rng.choice([0.0, 0.1, 1.0, 5.0])
        for change in story.next(floor.state, floor.now):
            tell(floor, change)
        fresh = DeadlineAware(cost, chosen).decide(floor.state, Woken(), floor.now)
        assert fresh == floor.planner.decide(floor.state, Woken(), floor.now)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 99999), thrift=st.sampled_from([None, Thrift()]))
@example(seed=4, thrift=Thrift())  # a node that nobody will have is asked for first
@example(seed=32, thrift=None)  # a long call finds what a shorter one may still have
@example(seed=71, thrift=Thrift())  # only the last of those that would be tried is late
def test_who_is_passed_over_would_have_found_nothing(seed: int, thrift: Thrift | None) -> None:
    """What saves looking for places changes no decision, whatever room and nodes are left."""
    rng = Random(seed)
    workers = fleet(rng)
    cost = costs()
    chosen = Settings(pricing=Pricing(crowded=0.0), thrift=thrift)
    floor = Driver(planner=DeadlineAware(cost, chosen), state=state_of(*workers))
    patient = DeadlineAware(cost, chosen)
    original = floor.planner.decide

    def decide(state: State, event: Event, now: float) -> list[Action]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Desk, "_is_hopeless", lambda *_: False)
            patch.setattr(Desk, "_is_closed", lambda *_: False)
            looked_for = patient.decide(state, event, now)
        actions = original(state, event, now)
        assert actions == looked_for
        return actions

    floor.planner.decide = decide  # type: ignore[method-assign]
    story = Story(rng, workers)
    for _ in range(60):
        floor.now += rng.choice([0.0, 0.1, 1.0, 5.0])
        for change in story.next(floor.state, floor.now):
            tell(floor, change)


def test_what_is_unknown_goes_by_deadline_next_to_its_input() -> None:
    floor = driver(None, *chain(), cost=CostModel())
    floor.arrive(demand("a", 1, 90), demand("b", 2, 80), demand("c", 3, 70))
    for _ in range(9):
        floor.finish(floor.running()[0])

    encoded = [one.segment.requests[0].request for one in floor.started if one.segment.stage is E]
    assert encoded == ["a", "c", "b"]
