"""What measurements teach: cells first, then their stage, then the hardware; workers apart."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.domain.ids import WorkerId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.manifest.profile_files import builtin
from tridentserve.planner.cost import CostModel

E, D, C = STAGES
PROFILE = builtin("flux")
SHAPES = tuple(Shape(height=side, width=side) for side in (128, 256, 512, 1024, 2048))
SMALL, LARGE = SHAPES[0], SHAPES[-1]
FAST, SLOW = WorkerId("fast"), WorkerId("slow")


def mean(
    cost: CostModel,
    stage: Stage,
    shape: Shape,
    strategy: Strategy = SINGLE,
    worker: WorkerId | None = None,
) -> float:
    estimate = cost.estimate(stage, shape, 28, 100, strategy=strategy, worker=worker)
    assert estimate is not None
    return estimate.mean_s


def learn(cost: CostModel, stage: Stage, shape: Shape, factor: float, times: int = 1) -> None:
    usual = mean(CostModel(PROFILE), stage, shape)
    for _ in range(times):
        cost.observe(stage, shape, 28, 100, usual * factor)


def ratio(cost: CostModel, stage: Stage, shape: Shape, strategy: Strategy = SINGLE) -> float:
    return mean(cost, stage, shape, strategy) / mean(CostModel(PROFILE), stage, shape, strategy)


def test_the_first_measurement_says_how_fast_the_hardware_is() -> None:
    cost = CostModel(PROFILE)
    learn(cost, D, SMALL, 0.5)

    assert ratio(cost, D, SMALL) == pytest.approx(0.5)
    assert ratio(cost, D, LARGE, Strategy(ulysses=4)) == pytest.approx(0.5)
    assert ratio(cost, C, SMALL) == pytest.approx(0.5)


def test_a_stage_soon_speaks_for_itself() -> None:
    cost = CostModel(PROFILE)
    for shape in SHAPES[1:]:
        learn(cost, D, shape, 2.0)
        learn(cost, C, shape, 1.0)

    assert 1.6 < ratio(cost, D, SMALL) < 2.0
    assert 1.0 < ratio(cost, C, SMALL) < 1.2


def test_a_cell_outweighs_its_stage_call_by_call() -> None:
    cost = CostModel(PROFILE)
    for shape in SHAPES[1:]:
        learn(cost, D, shape, 1.0, times=5)
    seen = []
    for _ in range(4):
        learn(cost, D, SMALL, 1.8)
        seen.append(ratio(cost, D, SMALL))

    assert 1.3 < seen[0] < 1.8
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.8, rel=0.1)


def test_what_was_learnt_of_one_shape_says_less_than_a_measurement() -> None:
    cost = CostModel(PROFILE)
    learn(cost, D, SMALL, 2.0, times=5)
    measured = cost.estimate(D, SMALL, 28, 100)
    corrected = cost.estimate(D, LARGE, 28, 100)

    assert measured is not None
    assert corrected is not None
    assert measured.confidence > corrected.confidence


def test_a_busy_shape_has_one_vote_like_any_other() -> None:
    cost, balanced = CostModel(PROFILE), CostModel(PROFILE)
    learn(cost, D, SHAPES[1], 2.0, times=200)
    learn(cost, D, SHAPES[2], 1.0, times=10)
    for shape, factor in ((SHAPES[1], 2.0), (SHAPES[2], 1.0)):
        learn(balanced, D, shape, factor, times=10)

    assert ratio(cost, D, LARGE) == pytest.approx(ratio(balanced, D, LARGE), rel=0.02)


def test_a_profile_of_other_hardware_is_corrected_only_so_far_but_cells_all_the_way() -> None:
    cost = CostModel(PROFILE)
    learn(cost, D, SMALL, 50.0, times=60)

    assert ratio(cost, D, LARGE) == pytest.approx(10.0, rel=0.02)
    assert ratio(cost, D, SMALL) == pytest.approx(50.0, rel=0.03)


def test_without_a_profile_one_stage_teaches_nothing_of_another() -> None:
    cost = CostModel()
    cost.observe(D, SMALL, 28, 100, 5.0)
    cost.observe(D, SMALL, 28, 100, 5.0)

    assert cost.estimate(C, SMALL, 28, 100) is None


def test_a_slow_worker_is_told_apart_and_only_where_it_is_asked_for() -> None:
    cost = CostModel(PROFILE)
    usual = mean(cost, D, SMALL)
    for _ in range(40):
        cost.observe(D, SMALL, 28, 100, usual * 0.8, worker=FAST)
        cost.observe(D, SMALL, 28, 100, usual * 1.25, worker=SLOW)
    middle = mean(cost, D, SMALL)

    assert mean(cost, D, SMALL, worker=FAST) < 0.9 * middle
    assert mean(cost, D, SMALL, worker=SLOW) > 1.1 * middle
    assert mean(cost, C, LARGE, worker=SLOW) > 1.1 * mean(cost, C, LARGE)
    assert mean(cost, D, SMALL, worker=WorkerId("new")) == middle


def test_one_bad_call_does_not_condemn_a_worker() -> None:
    cost = CostModel(PROFILE)
    usual = mean(cost, D, SMALL)
    cost.observe(D, SMALL, 28, 100, usual * 100, worker=SLOW)

    assert mean(cost, C, SMALL, worker=SLOW) / mean(cost, C, SMALL) < 1.3


def test_the_correction_of_a_worker_is_bounded() -> None:
    cost = CostModel(PROFILE)
    usual = mean(cost, D, SMALL)
    for _ in range(100):
        cost.observe(D, SMALL, 28, 100, usual, worker=FAST)
        cost.observe(D, SMALL, 28, 100, usual, worker=FAST)
        cost.observe(D, SMALL, 28, 100, usual * 20, worker=SLOW)

    assert mean(cost, C, SMALL, worker=SLOW) <= 2.0 * mean(cost, C, SMALL) * (1 + 1e-9)


def test_callers_cannot_fill_the_memory_with_workers() -> None:
    cost = CostModel(PROFILE)
    for number in range(5000):
        cost.observe(D, SMALL, 28, 100, 1.5, worker=WorkerId(f"w{number}"))

    assert len(cost._workers) <= 4096


# --- the version ----------------------------------------------------------------------------------


def test_asking_changes_nothing() -> None:
    cost = CostModel(PROFILE)
    before = cost.version
    for shape in SHAPES:
        mean(cost, D, shape, Strategy(ulysses=3))
        cost.strategies(D, shape)

    assert cost.version == before


def test_what_is_as_expected_leaves_the_version_alone() -> None:
    cost = CostModel(PROFILE)
    learn(cost, D, SMALL, 1.0, times=60)
    settled = cost.version
    learn(cost, D, SMALL, 1.0, times=60)

    assert cost.version == settled


CALLS = st.lists(
    st.tuples(st.sampled_from(STAGES), st.sampled_from(SHAPES), st.floats(0.1, 10.0)),
    min_size=1,
    max_size=20,
)


@settings(max_examples=30, deadline=None)
@given(calls=CALLS)
def test_an_answer_changes_only_with_the_version(calls: list[tuple[Stage, Shape, float]]) -> None:
    cost = CostModel(PROFILE)
    asked = [(stage, shape) for stage in STAGES for shape in SHAPES]
    for stage, shape, factor in calls:
        before, version = [mean(cost, *one) for one in asked], cost.version
        learn(cost, stage, shape, factor)
        if cost.version == version:
            assert [mean(cost, *one) for one in asked] == before


@settings(max_examples=30, deadline=None)
@given(calls=CALLS)
def test_answers_lie_within_what_was_measured_of_them_and_the_profile(
    calls: list[tuple[Stage, Shape, float]],
) -> None:
    cost = CostModel(PROFILE)
    for stage, shape, factor in calls:
        learn(cost, stage, shape, factor)
    factors = [factor for _, _, factor in calls]

    for stage in STAGES:
        for shape in SHAPES:
            assert 0.98 * min(factors) <= ratio(cost, stage, shape) <= 1.02 * max(factors)
