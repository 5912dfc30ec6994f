"""Which degrees the rules take, of what workers offer."""

from dataclasses import replace

import pytest
from tests.planner.floor import Driver, demand, state_of, worker
from tests.planner.pricing import LARGE, SMALL, UP_TO_8, costs, model, samples, step

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Arrived, PlanChanged
from tridentserve.domain.plans import Flow, PlacementPlan, PoolShape
from tridentserve.domain.stages import STAGES
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.backfill import Passing
from tridentserve.planner.dispatch.degrees import (
    DegreeRule,
    Fixed,
    KStar,
    LargestEfficientThatFits,
    Scene,
    Widest,
)
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.offers import Offers, WholeOffers
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.ordered import Rules
from tridentserve.planner.dispatch.planned import AsPlanned
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.dispatch.starting import started
from tridentserve.planner.state import Journey, State

E, D, C = STAGES
WAITING = Journey(demand=demand("a", shape=LARGE), stage=D)
PAPER = (22.14, 13.07, 6.77, 3.56)
"""CogVideoX 768x1360x65: efficient up to 4 devices."""


def node(name: str = "n", devices: int = 8, stages: tuple = STAGES) -> Worker:  # type: ignore[type-arg]
    held = tuple(f"{name}/gpu{index}" for index in range(devices))
    strategies = tuple(one for one in UP_TO_8 if one.degree <= devices)
    one = worker(name, *stages, devices=held)
    return replace(one, strategies=strategies, concurrent=True)


def scene(*workers: Worker, cost: CostModel | None = None, whole: bool = False) -> Scene:
    options = Options(cost or costs(*PAPER))
    state = state_of(*workers)
    offers = WholeOffers(options) if whole else Offers(options)
    return Scene(state=state, floor=Floor(state), offers=offers)


def degrees(rule: DegreeRule, around: Scene, journey: Journey = WAITING) -> list[int]:
    return [offer.degree for offer in rule.choices(journey, around)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Widest(), [8]),
        (Fixed(1), [1]),
        (Fixed(4), [4]),
        (Fixed(5), [4]),
        (KStar(), [4]),
        (KStar(0.0), [8]),
        (LargestEfficientThatFits(), [4, 2, 1]),
        (LargestEfficientThatFits(0.84), [2, 1]),
    ],
)
def test_each_rule_takes_its_degrees_the_best_first(rule: DegreeRule, expected: list[int]) -> None:
    assert degrees(rule, scene(node())) == expected


@pytest.mark.parametrize("rule", [Widest(), Fixed(1), KStar(), LargestEfficientThatFits()])
def test_every_rule_takes_the_widest_where_nothing_is_known(rule: DegreeRule) -> None:
    around = scene(node(), cost=CostModel())

    assert degrees(rule, around) == [8]
    assert degrees(rule, scene()) == []  # and nothing where there is nobody


def test_a_degree_that_nobody_offers_is_replaced_by_the_least_that_somebody_does() -> None:
    wide = replace(node(), strategies=UP_TO_8[2:])

    assert degrees(Fixed(1), scene(wide)) == [4]


def test_widest_never_uses_a_worker_by_half() -> None:
    around = scene(node("n", 8), node("p", 2))
    found = Widest().choices(WAITING, around)

    assert [(offer.degree, [kind.devices for kind in offer.kinds]) for offer in found] == [
        (8, [8]),
        (2, [2]),
    ]


def test_encode_and_decode_take_one_device_unless_the_pipeline_is_one_block() -> None:
    encode, decode = replace(WAITING, stage=E), replace(WAITING, stage=C)
    apart, together = scene(node()), scene(node(), whole=True)

    assert [degrees(KStar(), apart, one) for one in (encode, WAITING, decode)] == [[1], [4], [1]]
    assert [degrees(KStar(), together, one) for one in (encode, WAITING, decode)] == [[4]] * 3


def test_a_block_runs_where_all_of_its_stages_are() -> None:
    around = scene(node("half", 8, (D, C)), node("whole", 2), whole=True)

    (offer,) = KStar().choices(WAITING, around)

    assert (offer.degree, [kind.devices for kind in offer.kinds]) == (2, [2])


# --- as planned -----------------------------------------------------------------------------------

WHOLE = PoolShape(stages=tuple(sorted(STAGES)), devices=8, fraction_percent=100)
PAIR = replace(WHOLE, devices=2)


def flow(pool: PoolShape, degree: int, share: float = 1.0, devices: int | None = None) -> Flow:
    return Flow(
        shape=LARGE,
        steps=4,
        stage=D,
        pool=pool,
        strategy=Strategy(ulysses=degree),
        share=share,
        devices=devices,
    )


def planned(*flows: Flow) -> Scene:
    around = scene(node("n"), node("p", 2))
    around.state.apply(PlanChanged(plan=PlacementPlan(pools=(), reasons=(), flows=flows)))
    return around


def test_a_class_goes_to_the_pools_of_its_flows_the_largest_share_first() -> None:
    around = planned(flow(PAIR, 1, 0.25), flow(WHOLE, 2, 0.75))
    found = AsPlanned(KStar()).choices(WAITING, around)

    assert [(offer.degree, [kind.devices for kind in offer.kinds]) for offer in found] == [
        (2, [8]),
        (1, [2]),
    ]


def test_a_class_that_the_plan_does_not_name_goes_by_the_other_rule() -> None:
    other = replace(WAITING, demand=demand("b", shape=SMALL))
    gone = replace(PAIR, devices=4)

    assert degrees(AsPlanned(KStar()), scene(node())) == [4]
    assert degrees(AsPlanned(Fixed(2)), planned(flow(PAIR, 1)), other) == [2]
    assert degrees(AsPlanned(Fixed(2)), planned(flow(gone, 1))) == [2]


def start(state: State, name: str, degree: int) -> None:
    """One more of the class runs encode on the node."""
    state.apply(Arrived(demand=demand(name, shape=LARGE)))
    floor, journey = Floor(state), state.journeys[demand(name).id]
    place = floor.choose(journey, degree, barred=frozenset({worker("p").id}))
    assert place is not None
    floor.take(place, journey)
    for action in started(floor, journey, place, Strategy(ulysses=degree), "test"):
        state.apply(action)


def test_a_bound_on_devices_counts_what_the_class_runs_of_the_stage() -> None:
    bounded = replace(flow(WHOLE, 2, devices=4), stage=E)
    around = planned(bounded)
    encode = replace(WAITING, stage=E)
    rule = AsPlanned(Widest())
    found = []
    for index in range(3):
        again = replace(around, floor=Floor(around.state), offers=_two(around))
        found.append(degrees(rule, again, encode))
        start(around.state, f"r{index}", 2)

    assert found == [[2], [2], []]


def test_a_bound_below_one_call_lets_one_call_through() -> None:
    around = planned(flow(WHOLE, 4, devices=2))

    assert degrees(AsPlanned(KStar()), around) == [4]


GUIDED = Strategy(cfg=2)
"""Slower than two devices by `ulysses` here, and what the plan wants all the same."""


def guided(strategies: tuple[Strategy, ...]) -> Scene:
    """A node with these strategies; the plan wants guidance on two devices."""
    known = (*samples(8.0, 4.0, 2.0, 1.0), step(5.0, GUIDED))
    around = scene(replace(node(), strategies=strategies), cost=model(*known))
    flows = (replace(flow(WHOLE, 2), strategy=GUIDED),)
    around.state.apply(PlanChanged(plan=PlacementPlan(pools=(), reasons=(), flows=flows)))
    return around


def test_a_flow_s_own_strategy_is_used_though_another_of_its_degree_is_faster() -> None:
    around = guided((*UP_TO_8, GUIDED))

    (offer,) = AsPlanned(KStar()).choices(WAITING, around)

    assert (offer.degree, offer.strategy) == (2, GUIDED)
    assert offer.option is not None
    assert (offer.option.strategy, offer.option.mean_s) == (GUIDED, 4 * 5.0)


def test_a_strategy_that_the_pool_has_not_is_replaced_by_the_fastest_of_its_degree() -> None:
    (offer,) = AsPlanned(KStar()).choices(WAITING, guided(UP_TO_8))

    assert (offer.degree, offer.strategy) == (2, None)
    assert offer.option is not None
    assert offer.option.strategy == UP_TO_8[1]


def test_a_planner_starts_and_predicts_what_the_flow_says() -> None:
    around, cost = guided((*UP_TO_8, GUIDED)), model(*samples(8.0, 4.0), step(5.0, GUIDED))
    rules = Rules(degrees=AsPlanned(KStar()), passing=Passing.RESERVATION)
    planner = Fifo(cost, rules)
    floor = Driver(planner=planner, state=around.state)
    floor.arrive(demand("a", shape=LARGE))
    floor.finish("a")

    segment = floor.started[-1].segment
    remaining_s = Running(Options(cost)).remaining_s(floor.state, segment, 0.0)
    assert (segment.stage, segment.strategy) == (D, GUIDED)
    assert remaining_s == 4 * 5.0


def _two(around: Scene) -> Offers:
    """Offers of diffuse for encode too, so that encode has a degree of two."""
    return WholeOffers(around.offers.options)
