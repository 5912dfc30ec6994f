"""The cost model: exact where it measured, sensible elsewhere, never misled by nonsense."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.cost.cells import CellKey
from tridentserve.planner.cost.guessing import Guess, Guesser
from tridentserve.planner.cost.interpolation import Point, seconds_at

E, D, C = STAGES
SMALL, MIDDLE, LARGE = (Shape(height=side, width=64) for side in (64, 128, 256))


def mean(
    cost: CostModel,
    stage: Stage,
    shape: Shape = SMALL,
    steps: int = 4,
    fraction: int = 100,
    batch: int = 1,
) -> float:
    estimate = cost.estimate(stage, shape, steps, fraction, batch)
    assert estimate is not None
    return estimate.mean_s


def measured(*calls: tuple[Stage, Shape, float]) -> CostModel:
    cost = CostModel()
    for stage, shape, seconds in calls:
        cost.observe(stage, shape, 1, 100, seconds)
    return cost


def test_measured_seconds_do_not_make_peaks_forgotten() -> None:
    sample = Sample(stage=C, shape=SMALL, fixed_s=1.0, peak_bytes=100)
    cost = CostModel(Profile(name="p", source="s", samples=(sample,)))
    before = [cost.estimate(C, SMALL, 1, 100, batch) for batch in (1, 2, 4)]
    cost.observe(C, SMALL, 1, 100, 3.0, batch=2)
    cost.observe(C, LARGE, 1, 100, 3.0)
    after = [cost.estimate(C, SMALL, 1, 100, batch) for batch in (1, 2, 4)]
    larger = cost.estimate(C, LARGE, 1, 100)

    assert [one and one.peak_bytes for one in before] == [100, 200, 400]
    assert [one and one.peak_bytes for one in after] == [100, 200, 400]
    assert larger is not None
    assert larger.peak_bytes == 400


def test_nothing_is_known_of_a_stage_that_never_ran() -> None:
    cost = measured((E, SMALL, 0.1))

    assert cost.estimate(D, SMALL, 4, 100) is None
    assert cost.request(SMALL, 4) is None
    assert cost.deadline(SMALL, 4, 250) is None


def test_a_measured_call_is_told_back() -> None:
    assert mean(measured((C, SMALL, 0.3)), C) == pytest.approx(0.3)


def test_diffuse_is_learnt_by_the_step() -> None:
    cost = CostModel()
    cost.observe(D, SMALL, 4, 100, 2.0)

    assert mean(cost, D, steps=4) == pytest.approx(2.0)
    assert mean(cost, D, steps=20) == pytest.approx(10.0)


def test_a_fraction_that_was_never_measured_takes_as_much_longer() -> None:
    cost = measured((C, SMALL, 0.3))

    assert mean(cost, C, fraction=25) == pytest.approx(1.2)
    assert mean(cost, C, fraction=200) == pytest.approx(0.15)


def test_the_nearest_measured_fraction_is_the_one_to_estimate_from() -> None:
    cost = CostModel()
    cost.observe(C, SMALL, 1, 100, 0.3)
    cost.observe(C, SMALL, 1, 25, 0.5)

    assert mean(cost, C, fraction=20) == pytest.approx(0.5 * 25 / 20)
    assert mean(cost, C, fraction=50) == pytest.approx(0.6)  # as near to 100 as to 25: the larger


def test_a_batch_gains_nothing_until_it_was_seen_to() -> None:
    cost = measured((C, SMALL, 0.3))
    guessed = mean(cost, C, batch=4)
    cost.observe(C, SMALL, 1, 100, 0.5, batch=4)

    assert guessed == pytest.approx(1.2)
    assert mean(cost, C, batch=4) == pytest.approx(0.5)
    assert mean(cost, C, batch=1) == pytest.approx(0.3)


def test_between_two_shapes_lies_a_straight_line() -> None:
    cost = measured((C, SMALL, 1.0), (C, LARGE, 4.0))

    assert mean(cost, C, MIDDLE) == pytest.approx(2.0)


def test_beyond_the_known_shapes_the_line_goes_on_but_not_to_nothing() -> None:
    cost = measured((C, MIDDLE, 1.0), (C, LARGE, 3.0))

    assert mean(cost, C, Shape(height=384, width=64)) == pytest.approx(5.0)
    assert mean(cost, C, Shape(height=8, width=64)) == pytest.approx(0.1)


@pytest.mark.parametrize("noise", [0.98, 1.0, 1.02])
def test_two_sizes_that_are_near_to_one_another_say_nothing_of_far_ones(noise: float) -> None:
    near = Shape(height=130, width=64)
    cost = measured((C, MIDDLE, 1.0), (C, near, 130 / 128 * noise))

    assert mean(cost, C, LARGE) == pytest.approx(1.9, rel=0.03)
    assert mean(cost, C, SMALL) == pytest.approx(0.55, rel=0.03)


def test_beyond_sizes_that_took_less_the_larger_they_were_nothing_is_cheaper() -> None:
    cost = measured((C, SMALL, 3.0), (C, MIDDLE, 2.0))

    assert mean(cost, C, LARGE) == pytest.approx(2.0)
    assert mean(cost, C, Shape(height=32, width=64)) == pytest.approx(3.0)


def test_encode_beyond_the_measured_sizes_takes_what_the_nearest_took() -> None:
    cost = measured((E, SMALL, 0.1), (E, MIDDLE, 0.13))

    assert mean(cost, E, LARGE) == pytest.approx(0.13)


def test_where_less_was_measured_than_communication_takes_the_line_is_straight() -> None:
    low = Point(size=1000, seconds=1.0, communication_s=2.0)
    high = Point(size=3000, seconds=9.0, communication_s=1.0)
    asked = Point(size=2000, communication_s=1.5)

    assert seconds_at(low, high, asked, curved=True) == pytest.approx(5.0)


def test_one_known_shape_has_a_fixed_part_and_encode_knows_no_shape() -> None:
    cost = measured((C, SMALL, 1.0), (E, SMALL, 0.2))

    assert mean(cost, C, MIDDLE) == pytest.approx(0.1 + 0.9 * 2)
    assert mean(cost, E, LARGE) == pytest.approx(0.2)


def test_shapes_of_one_volume_do_not_confuse_it() -> None:
    cost = measured((C, Shape(height=64, width=128), 1.0), (C, Shape(height=128, width=64), 3.0))

    assert mean(cost, C, Shape(height=256, width=32)) in (1.0, 3.0)


def test_estimates_are_less_sure_and_wider_than_measurements() -> None:
    cost = CostModel()
    for _ in range(20):
        cost.observe(C, SMALL, 1, 100, 0.3)
    known, fraction, shape = (
        cost.estimate(C, SMALL, 1, 100),
        cost.estimate(C, SMALL, 1, 50),
        cost.estimate(C, LARGE, 1, 50),
    )

    assert known is not None
    assert fraction is not None
    assert shape is not None
    assert 1 > known.confidence > fraction.confidence > shape.confidence > 0
    assert known.q90_s / known.mean_s < fraction.q90_s / fraction.mean_s


def test_the_mean_follows_a_drift_and_the_spread_shrinks_with_steadiness() -> None:
    cost = CostModel()
    for _ in range(50):
        cost.observe(C, SMALL, 1, 100, 1.0)
    steady = cost.estimate(C, SMALL, 1, 100)
    for _ in range(50):
        cost.observe(C, SMALL, 1, 100, 2.0)

    assert steady is not None
    assert steady.q90_s == pytest.approx(1.0, rel=0.1)
    assert mean(cost, C) == pytest.approx(2.0, rel=0.02)


def profile() -> Profile:
    return Profile(
        name="p",
        source="test",
        samples=(
            Sample(stage=E, shape=SMALL, fixed_s=0.1),
            Sample(stage=D, shape=SMALL, fixed_s=0.5, step_s=0.2, peak_bytes=7),
            Sample(stage=C, shape=SMALL, fixed_s=0.4),
            Sample(stage=C, shape=SMALL, fixed_s=0.1, strategy=Strategy(vae_tiles=4)),
        ),
    )


def test_a_profile_answers_before_the_first_request() -> None:
    estimate = CostModel(profile()).estimate(D, SMALL, 10, 100)

    assert estimate is not None
    assert estimate.mean_s == pytest.approx(2.5)
    assert estimate.q90_s > estimate.mean_s
    assert estimate.peak_bytes == 7


def test_a_shape_of_the_profile_has_its_own_strategies_and_any_other_its_neighbours_too() -> None:
    pair = Strategy(ulysses=2)
    samples = (
        Sample(stage=D, shape=SMALL, fixed_s=0.0, step_s=0.2),
        Sample(stage=D, shape=LARGE, fixed_s=0.0, step_s=0.4),
        Sample(stage=D, shape=LARGE, fixed_s=0.0, step_s=0.3, strategy=pair),
    )
    cost = CostModel(Profile(name="p", source="test", samples=samples))
    cost.observe(D, MIDDLE, 4, 100, 1.0)

    assert cost.strategies(D, SMALL) == (SINGLE,)
    assert cost.strategies(D, MIDDLE) == (SINGLE, pair)


def test_measurements_outweigh_a_profile_and_keep_its_fixed_part() -> None:
    cost = CostModel(profile())
    cost.observe(D, SMALL, 10, 100, 4.5)

    assert mean(cost, D, steps=10) == pytest.approx(4.5)
    assert mean(cost, D, steps=20) == pytest.approx(8.5)


def test_a_call_shorter_than_the_fixed_part_corrects_it() -> None:
    cost = CostModel(profile())
    cost.observe(D, SMALL, 10, 100, 0.4)

    assert mean(cost, D, steps=10) == pytest.approx(0.4)


def test_a_request_is_the_sum_of_what_is_left_of_it() -> None:
    cost = CostModel(profile())
    whole, rest = cost.request(SMALL, 10), cost.request(SMALL, 10, first=C)

    assert whole is not None
    assert rest is not None
    assert whole.mean_s == pytest.approx(0.1 + 2.5 + 0.4)
    assert rest.mean_s == pytest.approx(0.4)


def test_a_request_for_several_pictures_is_encoded_once_and_drawn_as_a_batch() -> None:
    cost = CostModel(profile())

    four = cost.request(SMALL, 10, 4)

    assert four is not None
    assert four.mean_s == pytest.approx(0.1 + 4 * (2.5 + 0.4))
    assert cost.deadline(SMALL, 10, 250, 4) == pytest.approx(2.5 * four.mean_s)


def test_calls_of_several_pictures_correct_what_a_profile_says_of_one() -> None:
    cost = CostModel(profile())
    for _ in range(50):
        cost.observe(D, SMALL, 10, 100, 4 * 2.5 * 3, 4)

    assert mean(cost, D, steps=10) > 1.5 * 2.5
    assert mean(cost, D, steps=10, batch=4) == pytest.approx(4 * 2.5 * 3, rel=0.1)


@pytest.mark.parametrize("gained", [1.0, 0.5, 0.25])
def test_calls_of_several_pictures_that_take_no_longer_than_so_many_move_nothing_else(
    gained: float,
) -> None:
    cost = CostModel(profile())
    before = mean(cost, D, steps=10), mean(cost, D, LARGE, steps=10), cost.deadline(LARGE, 10, 250)
    for batch in (2, 4, 8):
        for _ in range(10):
            cost.observe(D, SMALL, 10, 100, batch * 2.5 * gained, batch)
            cost.observe(C, SMALL, 1, 100, batch * 0.4 * gained, batch)

    assert before == (
        mean(cost, D, steps=10),
        mean(cost, D, LARGE, steps=10),
        cost.deadline(LARGE, 10, 250),
    )
    assert mean(cost, D, steps=10, batch=4) == pytest.approx(4 * 2.5 * gained)


def test_calls_of_one_picture_say_more_than_those_of_several() -> None:
    alone, beside = CostModel(profile()), CostModel(profile())
    for batch in (2, 4, 8):
        beside.observe(D, SMALL, 10, 100, batch * 2.5 * 1.5, batch)
    for cost in (alone, beside):
        cost.observe(D, SMALL, 10, 100, 2.5 * 4)
    for batch in (2, 4, 8, 16):
        beside.observe(D, SMALL, 10, 100, batch * 2.5 * 1.5, batch)

    assert mean(beside, D, LARGE) == pytest.approx(mean(alone, D, LARGE))
    assert mean(beside, D, LARGE) > mean(CostModel(profile()), D, LARGE)


def test_many_kinds_of_batches_leave_the_profile_its_cells() -> None:
    shapes = [Shape(height=64 + 8 * number, width=64) for number in range(30)]
    samples = tuple(
        Sample(stage=C, shape=shape, fixed_s=float(number + 1), peak_bytes=1 + number)
        for number, shape in enumerate(shapes)
    )
    cost = CostModel(Profile(name="p", source="s", samples=samples))
    for batch in range(2, 32):
        for number, shape in enumerate(shapes):
            cost.observe(C, shape, 1, 100, batch * (number + 1) / 2, batch)

    assert [mean(cost, C, shape) for shape in shapes] == [float(n + 1) for n in range(30)]


def test_the_deadline_is_the_scale_times_the_best_end_to_end_time() -> None:
    assert CostModel(profile()).deadline(SMALL, 10, 250) == pytest.approx(7.5)


def test_the_best_time_is_that_of_the_largest_fractions() -> None:
    cost = CostModel(profile(), largest_percent={D: 50})

    assert cost.deadline(SMALL, 10, 100) == pytest.approx(0.1 + 5.0 + 0.4)


@pytest.mark.parametrize(
    ("steps", "fraction", "seconds", "batch"),
    [
        (4, 100, 0.0, 1),
        (4, 100, -1.0, 1),
        (4, 100, float("nan"), 1),
        (4, 100, float("inf"), 1),
        (0, 100, 1.0, 1),
        (4, 0, 1.0, 1),
        (4, 100, 1.0, 0),
    ],
)
def test_what_cannot_be_teaches_nothing(
    steps: int, fraction: int, seconds: float, batch: int
) -> None:
    cost = CostModel()

    cost.observe(D, SMALL, steps, fraction, seconds, batch)

    assert cost.estimate(D, SMALL, 4, 100) is None


def test_callers_cannot_fill_the_memory_with_shapes() -> None:
    cost = CostModel()
    for side in range(1, 2001):
        cost.observe(C, Shape(height=side, width=64), 1, 100, 0.001 * side)

    assert mean(cost, C, Shape(height=2000, width=64)) == pytest.approx(2.0)
    assert sum(len(cost._book.told(stage)) for stage in STAGES) <= 512


def test_a_measurement_costs_one_look_at_the_cells_however_many_shapes_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cost, looks = CostModel(), 0
    for side in range(1, 301):
        cost.observe(C, Shape(height=side, width=64), 1, 100, 0.001 * side)
    converted = Guesser._converted

    def counted(guesser: Guesser, key: CellKey, asked: CellKey) -> Guess:
        nonlocal looks
        looks += 1
        return converted(guesser, key, asked)

    monkeypatch.setattr(Guesser, "_converted", counted)
    cost.observe(C, Shape(height=1, width=64), 1, 100, 1.0)
    for side in range(1001, 1101):
        assert mean(cost, C, Shape(height=side, width=64)) > 0

    assert looks == 300


def test_a_profile_of_more_cells_than_are_kept_leaves_room_for_what_is_measured() -> None:
    rows = tuple(
        Sample(stage=C, shape=Shape(height=side, width=64), fixed_s=0.001 * side)
        for side in range(1, 601)
    )
    cost = CostModel(Profile(name="large", source="", samples=rows))

    for side in range(1001, 1701):
        cost.observe(C, Shape(height=side, width=64), 1, 100, 0.001 * side)

    assert mean(cost, C, Shape(height=1700, width=64)) == pytest.approx(1.7)


CALLS = st.lists(
    st.tuples(
        st.sampled_from(STAGES),
        st.integers(8, 4096),
        st.integers(1, 100),
        st.sampled_from([10, 25, 100]),
        st.floats(1e-6, 1e4),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(
    calls=CALLS,
    side=st.integers(8, 4096),
    steps=st.integers(1, 100),
    fraction=st.integers(1, 800),
    batch=st.integers(1, 8),
)
def test_every_estimate_is_positive_and_finite(
    calls: list[tuple[Stage, int, int, int, float, int]],
    side: int,
    steps: int,
    fraction: int,
    batch: int,
) -> None:
    cost = CostModel()
    for stage, height, done, at, seconds, together in calls:
        cost.observe(stage, Shape(height=height, width=64), done, at, seconds, together)

    for stage in {call[0] for call in calls}:
        estimate = cost.estimate(stage, Shape(height=side, width=64), steps, fraction, batch)
        assert estimate is not None
        assert 0 < estimate.mean_s <= estimate.q90_s < float("inf")
        assert 0 < estimate.confidence < 1


@settings(max_examples=50, deadline=None)
@given(seconds=st.floats(0.01, 10), shape=st.integers(8, 1024))
def test_a_smaller_fraction_is_never_faster(seconds: float, shape: int) -> None:
    cost = measured((C, SMALL, seconds))
    times = [mean(cost, C, Shape(height=shape, width=64), fraction=f) for f in (100, 50, 25, 10)]

    assert all(faster < slower for faster, slower in pairwise(times))
