"""Static and Proportional: the figures of their plans, and what they do without figures."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.specs import codes, inputs, load, pipeline, plan_of, refused, size, stage_spec

from tridentserve.domain.load import UNKNOWN
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.placement.budget import gpu_percent
from tridentserve.planner.placement.proportional import Proportional
from tridentserve.planner.placement.static import Static
from tridentserve.planner.protocols import PlacementPlanner
from tridentserve.planner.registry import PLACEMENT_NAMES, placement_planner

E, D, C = STAGES
ALL = {"encode": {100: 0.1}, "diffuse": {100: 1.0}, "decode": {100: 0.2}}


def decode(**options: object) -> PipelineSpec:
    return pipeline(stage_spec(C, fractions=(25, 50, 100), most=4), **options)  # type: ignore[arg-type]


def test_workers_are_arrivals_times_seconds_over_the_target_utilisation() -> None:
    plan = Proportional().plan(inputs(pipeline(), load(2.0, **ALL)))

    assert size(plan, D) == (3, 100)  # 2.0 x 1.0 / 0.7 = 2.86
    assert size(plan, E) == size(plan, C) == (1, 100)


def test_reasons_quote_the_figures() -> None:
    spec = decode()

    plan = Proportional().plan(inputs(spec, load(2.4, decode={50: 0.31})))

    (reason,) = [reason for reason in plan.reasons if reason.stage is C]
    assert reason.message == "2.40 requests/s x 0.31 s at 50 % / 70 % = 2 workers"


def test_a_whole_number_of_workers_is_not_rounded_up() -> None:
    assert size(Proportional().plan(inputs(pipeline(), load(0.7, **ALL))), D) == (1, 100)


def test_fraction_and_workers_follow_a_rising_load() -> None:
    spec = decode(slo=1000)
    sizes = [
        size(Proportional().plan(inputs(spec, load(rate, decode={100: 1.0}))), C)
        for rate in (0.0, 0.1, 0.2, 1.0, 2.0, 2.8, 5.0)
    ]

    assert sizes == [(1, 25), (1, 25), (1, 50), (3, 50), (3, 100), (4, 100), (4, 100)]


def test_more_than_max_is_limited_and_says_so() -> None:
    plan = Proportional().plan(inputs(decode(), load(10.0, decode={100: 1.0})))

    assert plan.limited
    assert size(plan, C) == (4, 100)
    assert "15 workers, of which 4 can be had" in plan.reasons[-1].message


def test_no_load_keeps_the_least_at_the_smallest_fraction_that_is_fast_enough() -> None:
    assert size(Proportional().plan(inputs(decode(slo=300), load(0.0, decode={100: 1.0}))), C) == (
        1,
        50,
    )
    assert size(Proportional().plan(inputs(decode(slo=150), load(0.0, decode={100: 1.0}))), C) == (
        1,
        100,
    )


def test_no_load_and_next_to_none_get_the_same_plan() -> None:
    for slo in (150, 250, 450, 1050):
        none = Proportional().plan(inputs(decode(slo=slo), load(0.0, decode={50: 0.3})))
        little = Proportional().plan(inputs(decode(slo=slo), load(1e-6, decode={50: 0.3})))
        assert none.id == little.id


def test_measured_times_count_more_than_estimates_from_another_fraction() -> None:
    saturated = {25: 0.5, 100: 0.4}  # a quarter is nearly as fast as the whole

    plan = Proportional().plan(inputs(decode(slo=500), load(1.0, decode=saturated)))

    assert size(plan, C) == (1, 25)


@pytest.mark.parametrize("measured", [load(1.0), UNKNOWN, load(1.0, decode={100: float("nan")})])
def test_with_nothing_known_the_least_at_the_largest_fraction(measured: object) -> None:
    spec = pipeline(stage_spec(C, least=2, fractions=(25, 100)))

    plan = Proportional().plan(inputs(spec, measured))  # type: ignore[arg-type]

    assert size(plan, C) == (2, 100)
    assert codes(plan) == {"NothingKnown"}


@pytest.mark.parametrize("arrivals", [0.0, 3.0])
def test_a_stage_whose_seconds_are_unknown_keeps_the_workers_that_it_has(arrivals: float) -> None:
    spec = pipeline(stage_spec(C, fractions=(25, 100), most=4))
    before = plan_of(spec, decode=(4, 25))

    plan = Proportional().plan(inputs(spec, load(arrivals, encode={100: 0.1}), before))

    assert size(plan, C) == (4, 25)
    assert codes(plan, C) == {"SecondsUnknown"}


def test_what_is_held_gives_way_to_what_can_be_had() -> None:
    spec = pipeline(stage_spec(C, fractions=(25, 100), most=4))
    fewer = (refused(stage_spec(C), 100, 3),)
    none = (refused(stage_spec(C), 100, 1),)
    before = plan_of(spec, decode=(4, 100))

    assert size(Proportional().plan(inputs(spec, load(1.0), before, infeasible=fewer)), C) == (
        2,
        100,
    )
    assert size(Proportional().plan(inputs(spec, load(1.0), before, infeasible=none)), C) == (1, 25)


def test_a_profile_stands_in_until_there_are_measurements() -> None:
    samples = (
        Sample(stage=D, shape=Shape(height=64, width=64), fixed_s=0.2, step_s=0.1),
        Sample(stage=D, shape=Shape(height=128, width=64), fixed_s=0.2, step_s=0.3),
    )
    profile = Profile(name="p", source="test", samples=samples, steps=10)  # mean 2.2 s

    guessed = Proportional().plan(inputs(pipeline(), load(1.0), profile=profile))
    measured = Proportional().plan(inputs(pipeline(), load(1.0, **ALL), profile=profile))

    assert size(guessed, D) == (4, 100)
    assert size(measured, D) == (2, 100)


def test_unknown_arrivals_hold_the_plan_and_say_why() -> None:
    spec = pipeline()
    before = plan_of(spec, diffuse=(5, 100))

    plan = Proportional().plan(inputs(spec, load(None, **ALL), before))

    assert plan.id == before.id
    assert [(one.code, one.message) for one in plan.reasons] == [
        ("LoadUnknown", "held: Prometheus does not answer")
    ]


def test_a_fraction_that_could_not_be_had_is_avoided_until_it_expires() -> None:
    spec, measured = decode(), load(0.1, decode={100: 0.1})
    too_many = (refused(stage_spec(C), 25, 1, until_s=100.0),)

    during = Proportional().plan(inputs(spec, measured, infeasible=too_many, now=99.0))
    after = Proportional().plan(inputs(spec, measured, infeasible=too_many, now=100.0))

    assert size(during, C) == (1, 50)
    assert size(after, C) == (1, 25)


def test_a_number_of_workers_that_could_not_be_had_is_a_maximum() -> None:
    too_many = (refused(stage_spec(D), 100, 3, until_s=100.0),)

    plan = Proportional().plan(inputs(pipeline(), load(4.0, **ALL), infeasible=too_many))

    assert size(plan, D) == (2, 100)
    assert plan.limited


def test_where_nothing_can_be_had_there_is_still_a_plan() -> None:
    too_many = (refused(stage_spec(D), 100, 1, until_s=100.0),)

    assert size(
        Proportional().plan(inputs(pipeline(), load(4.0, **ALL), infeasible=too_many)), D
    ) == (1, 100)


def test_the_budget_is_shared_fairly_and_leaves_everyone_a_worker() -> None:
    stages = [stage_spec(stage, most=20, devices=1) for stage in STAGES]
    heavy = {"encode": {100: 1.0}, "diffuse": {100: 4.0}, "decode": {100: 2.0}}

    plan = Proportional().plan(inputs(pipeline(*stages, gpu_limit=700), load(1.4, **heavy)))

    assert [size(plan, stage)[0] for stage in STAGES] == [1, 4, 2]  # of 2, 8, 4
    assert plan.limited
    assert "1400 % of a GPU wanted, gpuLimitPercent 700 leaves 700 %" in plan.reasons[-1].message


def test_a_budget_below_one_chain_is_exceeded_and_said() -> None:
    stages = [stage_spec(stage, devices=1) for stage in STAGES]

    plan = Static().plan(inputs(pipeline(*stages, gpu_limit=200), UNKNOWN))

    assert gpu_percent(plan) == 300
    assert codes(plan) >= {"BudgetTooSmall"}


def test_static_keeps_the_least_at_the_largest_fraction_whatever_the_load() -> None:
    spec = pipeline(stage_spec(C, least=3, fractions=(25, 50)))
    plans = [Static().plan(inputs(spec, one)) for one in (UNKNOWN, load(0.0), load(99.0, **ALL))]

    assert {plan.id for plan in plans} == {plans[0].id}
    assert size(plans[0], C) == (3, 50)
    assert not plans[0].follows_load


def test_an_unknown_placement_says_what_there_is() -> None:
    with pytest.raises(ValueError, match="Proportional, Static"):
        placement_planner("Magic")


SECONDS = st.dictionaries(st.sampled_from([10, 25, 50, 100]), st.floats(1e-6, 1e4), max_size=3)
ODD = st.one_of(
    SECONDS, st.dictionaries(st.just(100), st.sampled_from([0.0, -1.0, float("nan"), float("inf")]))
)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(PLACEMENT_NAMES),
    rate=st.one_of(st.none(), st.floats(0, 1e5)),
    times=ODD,
    fractions=st.sets(st.sampled_from([10, 25, 50, 100]), min_size=1),
    least=st.integers(1, 5),
    more=st.integers(0, 50),
    devices=st.integers(0, 8),
    limit=st.integers(0, 5000),
    slo=st.integers(100, 10_000),
    target=st.integers(1, 95),
    had=st.lists(st.tuples(st.sampled_from([10, 25, 50, 100]), st.integers(1, 5)), max_size=3),
)
def test_every_plan_is_within_the_specification_and_the_same_again(
    name: str,
    rate: float | None,
    times: dict[int, float],
    fractions: set[int],
    least: int,
    more: int,
    devices: int,
    limit: int,
    slo: int,
    target: int,
    had: list[tuple[int, int]],
) -> None:
    spec = pipeline(
        stage_spec(C, least, least + more, tuple(sorted(fractions)), devices),
        slo=slo,
        target=target,
        gpu_limit=limit,
    )
    asked = inputs(
        spec,
        load(rate, decode=times),
        infeasible=tuple(refused(spec.stage(C), fraction, workers) for fraction, workers in had),
    )
    planner: PlacementPlanner = placement_planner(name)

    plan = planner.plan(asked)

    workers, fraction = size(plan, Stage.DECODE)
    assert planner.plan(asked) == plan
    assert 1 <= workers <= least + more
    assert fraction in fractions
    assert gpu_percent(plan) <= max(limit, devices * fraction)


@settings(max_examples=100, deadline=None)
@given(
    rates=st.lists(st.floats(0, 20), min_size=2, max_size=2),
    slo=st.integers(100, 2000),
    target=st.integers(10, 95),
    seconds=st.floats(0.01, 5),
)
def test_more_load_never_makes_a_smaller_fraction_while_max_holds(
    rates: list[float], slo: int, target: int, seconds: float
) -> None:
    spec = pipeline(stage_spec(C, most=1000, fractions=(25, 50, 100)), slo=slo, target=target)
    lower, higher = (
        size(Proportional().plan(inputs(spec, load(rate, decode={100: seconds}))), C)
        for rate in sorted(rates)
    )

    assert lower[1] <= higher[1]
    assert lower[0] * lower[1] <= higher[0] * higher[1] + 100
