"""The cost model on the paper's profiles: told as published, sensible between and beyond."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.domain.fractions import Fraction, Saturation
from tridentserve.domain.profiles import Estimate, Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.profile_files import BUILTIN_NAMES, builtin
from tridentserve.planner.cost import CostModel

E, D, C = STAGES
CLIP = Shape(height=768, width=1360, frames=81)
PICTURE = Shape(height=1024, width=1024)
DEGREES = tuple(Strategy(ulysses=degree) for degree in (1, 2, 4, 8))
PROFILES = {name: builtin(name) for name in BUILTIN_NAMES}


def told(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate


def step_s(
    cost: CostModel, shape: Shape, strategy: Strategy = SINGLE, *, guidance: bool = True
) -> float:
    return told(cost.estimate(D, shape, 1, 100, strategy=strategy, guidance=guidance)).mean_s


def without(profile: Profile, shape: Shape) -> Profile:
    return replace(profile, samples=tuple(one for one in profile.samples if one.shape != shape))


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_every_published_figure_is_told_back(name: str) -> None:
    cost = CostModel(PROFILES[name])

    for sample in PROFILES[name].samples:
        estimate = told(
            cost.estimate(
                sample.stage, sample.shape, 3, 100, sample.batch, strategy=sample.strategy
            )
        )
        assert estimate.mean_s == pytest.approx(sample.fixed_s + 3 * sample.step_s)
        assert estimate.peak_bytes == sample.peak_bytes


@pytest.mark.parametrize(("name", "error"), [("cogvideox", 0.03), ("hunyuanvideo", 0.05)])
def test_a_video_that_was_left_out_is_found_again_from_its_neighbours(
    name: str, error: float
) -> None:
    profile = PROFILES[name]
    assert profile.architecture is not None
    shapes = sorted({one.shape for one in profile.samples}, key=profile.architecture.tokens)
    errors = [
        abs(
            step_s(CostModel(without(profile, one.shape)), one.shape, one.strategy) / one.step_s - 1
        )
        for one in profile.samples
        if one.stage is D and one.shape in shapes[1:-1]
    ]

    assert sum(errors) / len(errors) < error


def test_tokens_find_it_again_where_volume_does_not() -> None:
    # 768x432x33 has 2.5 times the volume of 768x1360x1, and lies right between its neighbours.
    left_out = Shape(height=768, width=1360, frames=1)
    profile = without(PROFILES["cogvideox"], left_out)
    by_tokens = step_s(CostModel(profile), left_out)
    by_volume = step_s(CostModel(replace(profile, architecture=None)), left_out)

    assert by_tokens == pytest.approx(1.26, rel=0.05)
    assert by_volume != pytest.approx(1.26, rel=0.3)


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_a_degree_that_nobody_measured_comes_from_one_device(name: str) -> None:
    profile = PROFILES[name]
    single = tuple(one for one in profile.samples if one.strategy == SINGLE)
    cost = CostModel(replace(profile, samples=single))
    large = max((one for one in profile.samples if one.stage is D), key=lambda one: one.step_s)

    for strategy in DEGREES[1:]:
        published = step_s(CostModel(profile), large.shape, strategy)
        assert step_s(cost, large.shape, strategy) == pytest.approx(published, rel=0.35)
    peaks = [
        told(cost.estimate(D, large.shape, 1, 100, strategy=one)).peak_bytes for one in DEGREES
    ]
    assert peaks == [pytest.approx(large.peak_bytes / degree, abs=1) for degree in (1, 2, 4, 8)]


def test_splitting_guidance_halves_a_guided_model_and_no_other() -> None:
    halves = Strategy(cfg=2)
    clip, picture = Shape(height=768, width=1360, frames=81), PICTURE
    cogvideox, flux = CostModel(PROFILES["cogvideox"]), CostModel(PROFILES["flux"])

    assert step_s(cogvideox, clip, halves) == pytest.approx(step_s(cogvideox, clip) / 2)
    assert step_s(flux, picture, halves) == pytest.approx(step_s(flux, picture))


def test_a_request_without_guidance_is_half_the_work_of_a_guided_model() -> None:
    sd3, flux = CostModel(PROFILES["sd3"]), CostModel(PROFILES["flux"])

    assert step_s(sd3, PICTURE, guidance=False) == pytest.approx(step_s(sd3, PICTURE) / 2)
    assert step_s(flux, PICTURE, guidance=False) == pytest.approx(step_s(flux, PICTURE))


def test_without_an_architecture_more_devices_gain_nothing_until_they_are_seen_to() -> None:
    cost = CostModel()
    cost.observe(D, PICTURE, 1, 100, 2.0)
    two = Strategy(ulysses=2)
    guessed = step_s(cost, PICTURE, two)
    cost.observe(D, PICTURE, 1, 100, 1.2, strategy=two)

    assert guessed == pytest.approx(2.0)
    assert step_s(cost, PICTURE, two) == pytest.approx(1.2)
    assert step_s(cost, PICTURE) == pytest.approx(2.0)


def test_decode_takes_as_long_on_several_devices_and_its_tiles_share_the_peak() -> None:
    cost = CostModel(PROFILES["flux"])
    alone, two, tiles = (
        told(cost.estimate(C, PICTURE, 1, 100, strategy=one))
        for one in (SINGLE, Strategy(ulysses=2), Strategy(vae_tiles=2))
    )

    assert alone.mean_s == two.mean_s == tiles.mean_s
    assert alone.peak_bytes == two.peak_bytes == 2 * tiles.peak_bytes


def test_strategies_are_those_that_something_is_known_of() -> None:
    cost = CostModel(PROFILES["cogvideox"])
    between = Shape(height=768, width=768, frames=49)

    assert cost.strategies(D, CLIP) == DEGREES
    assert cost.strategies(D, between) == DEGREES
    assert cost.strategies(C, CLIP) == (SINGLE,)
    assert CostModel().strategies(D, CLIP) == (SINGLE,)

    tried = Strategy(cfg=2)
    cost.observe(D, CLIP, 1, 100, 15.0, strategy=tried)
    assert cost.strategies(D, CLIP) == (SINGLE, DEGREES[1], tried, *DEGREES[2:])

    # A call of the shape in between does not hide what its neighbours can do.
    cost.observe(D, between, 1, 100, 10.0)
    assert set(DEGREES) <= set(cost.strategies(D, between))


def test_the_fastest_is_the_best_of_the_strategies() -> None:
    cogvideox, sd3 = CostModel(PROFILES["cogvideox"]), CostModel(PROFILES["sd3"])

    assert told(cogvideox.fastest(D, CLIP, 6)).mean_s == pytest.approx(6 * 4.75)
    small = Shape(height=512, width=512)
    assert told(sd3.fastest(D, small, 1)).mean_s == pytest.approx(0.059171598)
    assert CostModel().fastest(D, CLIP, 6) is None


def test_a_batch_that_nobody_measured_takes_as_much_more_time_and_memory() -> None:
    cost = CostModel(PROFILES["cogvideox"])
    one, three = (told(cost.estimate(D, CLIP, 6, 100, batch)) for batch in (1, 3))

    assert three.mean_s == pytest.approx(3 * one.mean_s)
    assert three.peak_bytes == 3 * one.peak_bytes


def test_beyond_the_largest_shape_memory_grows_on() -> None:
    cost = CostModel(PROFILES["cogvideox"])
    longer = replace(CLIP, frames=161)
    known, more = (told(cost.estimate(C, one, 1, 100)).peak_bytes for one in (CLIP, longer))

    assert more == pytest.approx(known * 161 / 81)


def test_the_first_call_of_a_shape_pays_for_its_warm_up() -> None:
    cost = CostModel(PROFILES["flux"])
    warm, cold = (
        told(cost.estimate(D, PICTURE, 28, 100, first_shape=one)) for one in (False, True)
    )

    assert cold.mean_s - warm.mean_s == pytest.approx(0.5)
    assert cold.q90_s - warm.q90_s == pytest.approx(0.5)


# --- stores and shares of a device ----------------------------------------------------------------


def test_redis_takes_its_measured_time_and_not_a_bandwidth() -> None:
    cost = CostModel()

    assert 0.050 <= cost.handoff_s("redis", 32_000_000) <= 0.140
    assert cost.handoff_s("redis", 4_000_000) == pytest.approx(8.2e-3)
    assert cost.handoff_s("redis", 1) == cost.handoff_s("redis", 500_000)
    assert cost.handoff_s("redis", 64_000_000) == pytest.approx(2 * 52e-3)


def test_other_stores_are_a_fixed_part_and_a_bandwidth() -> None:
    cost = CostModel()

    assert cost.handoff_s("shm", 100_000_000) == pytest.approx(0.012)
    assert cost.handoff_s("nccl", 0) == pytest.approx(0.002)
    assert cost.handoff_s("memory", 100_000_000) == 0
    with pytest.raises(InvalidFieldError, match="store"):
        cost.handoff_s("disk", 1)


@given(sizes=st.lists(st.integers(0, 10**9), min_size=2, max_size=2))
def test_more_bytes_never_pass_sooner(sizes: list[int]) -> None:
    small, large = sorted(sizes)

    for store in ("memory", "shm", "nccl", "redis"):
        assert 0 <= CostModel().handoff_s(store, small) <= CostModel().handoff_s(store, large)


def saturated(percent: int, bandwidth: int = 0) -> CostModel:
    point = Saturation(compute_percent=percent, bandwidth_percent=bandwidth)
    sample = Sample(stage=C, shape=PICTURE, fixed_s=1.0)
    return CostModel(Profile(name="p", source="s", samples=(sample,), saturation=((C, point),)))


def test_beyond_the_saturation_point_a_larger_share_changes_nothing() -> None:
    cost = saturated(40)
    seconds = [told(cost.estimate(C, PICTURE, 1, percent)).mean_s for percent in (100, 60, 40, 20)]

    assert seconds == [pytest.approx(one) for one in (1.0, 1.0, 1.0, 2.0)]


def test_a_share_of_the_bandwidth_slows_down_what_waits_for_memory() -> None:
    half = Fraction(compute_percent=50, bandwidth_percent=50)

    assert told(saturated(40, 80).shared(C, PICTURE, 1, half)).mean_s == pytest.approx(1.6)
    assert told(saturated(40, 40).shared(C, PICTURE, 1, half)).mean_s == pytest.approx(1.0)


def test_neighbours_on_a_device_interfere_as_the_profile_assumes() -> None:
    cost = CostModel(PROFILES["flux"])
    whole = Fraction(compute_percent=100)
    alone = told(cost.shared(D, PICTURE, 28, whole))
    beside = told(cost.shared(D, PICTURE, 28, whole, beside=(C,)))
    both = told(cost.shared(D, PICTURE, 28, whole, beside=(C, E)))

    assert alone == cost.estimate(D, PICTURE, 28, 100)
    assert beside.mean_s == pytest.approx(1.2 * alone.mean_s)
    assert both.q90_s == pytest.approx(1.2 * 1.1 * alone.q90_s)


@pytest.mark.parametrize("share", [{"guaranteed": False}, {"enforced": False}])
def test_a_share_that_is_no_promise_is_known_half_as_well(share: dict[str, bool]) -> None:
    cost = CostModel(PROFILES["flux"])
    sure = told(cost.shared(D, PICTURE, 28, Fraction(compute_percent=50)))
    unsure = told(cost.shared(D, PICTURE, 28, Fraction(compute_percent=50, **share)))

    assert unsure.confidence == pytest.approx(sure.confidence / 2)
    assert unsure.mean_s == sure.mean_s


def test_a_share_of_nothing_known_is_not_known() -> None:
    assert CostModel().shared(D, PICTURE, 28, Fraction(compute_percent=50)) is None


# --- whatever is asked ----------------------------------------------------------------------------

SIDES = st.integers(4, 256).map(lambda patches: 16 * patches)
STRATEGIES = st.sampled_from(
    (
        *DEGREES,
        Strategy(ulysses=3),
        Strategy(cfg=2, ulysses=2),
        Strategy(ring=4),
        Strategy(vae_tiles=2),
    )
)


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(BUILTIN_NAMES),
    stage=st.sampled_from(STAGES),
    height=SIDES,
    width=SIDES,
    frames=st.integers(1, 257),
    steps=st.integers(1, 100),
    fraction=st.integers(1, 100),
    batch=st.integers(1, 8),
    strategy=STRATEGIES,
)
def test_every_answer_is_positive_and_finite_and_its_confidence_a_share(
    name: str,
    stage: Stage,
    height: int,
    width: int,
    frames: int,
    steps: int,
    fraction: int,
    batch: int,
    strategy: Strategy,
) -> None:
    shape = Shape(height=height, width=width, frames=frames)
    cost = CostModel(PROFILES[name])
    estimate = told(cost.estimate(stage, shape, steps, fraction, batch, strategy=strategy))

    assert 0 < estimate.mean_s <= estimate.q90_s < float("inf")
    assert 0 < estimate.confidence < 1
    assert estimate.peak_bytes > 0


def monotone(profile: Profile, degree: Strategy) -> Profile:
    """The diffuse rows of a degree, without those that are faster than a smaller one."""
    assert profile.architecture is not None
    rows: list[Sample] = []
    for sample in sorted(
        (one for one in profile.samples if one.strategy == degree and one.batch == 1),
        key=lambda one: profile.architecture.tokens(one.shape) if profile.architecture else 0,
    ):
        if sample.stage is D and (not rows or sample.step_s >= rows[-1].step_s):
            rows.append(sample)
    return replace(profile, samples=tuple(rows))


MONOTONE = {
    (name, degree): monotone(PROFILES[name], degree) for name in BUILTIN_NAMES for degree in DEGREES
}


@settings(max_examples=150, deadline=None)
@given(
    rows=st.sampled_from(sorted(MONOTONE, key=str)),
    height=SIDES,
    width=SIDES,
    frames=st.integers(1, 257),
    more=st.integers(0, 32),
    steps=st.integers(1, 50),
)
def test_more_tokens_or_steps_never_take_less_time_or_memory(
    rows: tuple[str, Strategy], height: int, width: int, frames: int, more: int, steps: int
) -> None:
    cost = CostModel(MONOTONE[rows])
    small = Shape(height=height, width=width, frames=frames)
    large = Shape(height=height + 16 * more, width=width, frames=frames + more)
    asked = [(small, steps), (large, steps), (large, steps + 1)]
    found = [told(cost.estimate(D, one, n, 100, strategy=rows[1])) for one, n in asked]

    assert all(a.mean_s <= b.mean_s * (1 + 1e-9) for a, b in pairwise(found))
    assert all(a.peak_bytes <= b.peak_bytes for a, b in pairwise(found))
