"""Memory of a device: weights that stay and the largest peaks, whatever the degree."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.manifest.profile_files import BUILTIN_NAMES, builtin
from tridentserve.planner import memory
from tridentserve.planner.cost import CostModel

E, D, C = STAGES
WHOLE = frozenset(STAGES)
GB = 1_000_000_000
DEGREES = tuple(Strategy(ulysses=degree) for degree in (1, 2, 4, 8))
LARGEST = {
    "cogvideox": Shape(height=768, width=1360, frames=81),
    "hunyuanvideo": Shape(height=720, width=1280, frames=129),
    "flux": Shape(height=2048, width=2048),
    "sd3": Shape(height=1536, width=1536),
}
PROFILES = {name: builtin(name) for name in BUILTIN_NAMES}


@pytest.mark.parametrize(
    ("name", "fits"),
    [("cogvideox", True), ("sd3", True), ("flux", False), ("hunyuanvideo", False)],
)
def test_the_paper_s_pipelines_fit_one_device_whole_or_not(name: str, fits: bool) -> None:
    for strategy in DEGREES:
        assert memory.fits(PROFILES[name], WHOLE, LARGEST[name], strategy, 45 * GB) is fits


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_what_does_not_fit_whole_fits_with_encode_elsewhere(name: str) -> None:
    assert memory.fits(PROFILES[name], frozenset({D, C}), LARGEST[name])
    assert memory.fits(PROFILES[name], frozenset({E}), LARGEST[name])


def test_that_flux_does_not_fit_rests_on_an_untiled_decoder() -> None:
    tiled = builtin("flux", assumptions={"decode_tiled": 1})
    smaller = builtin("flux", assumptions={"decode_peak_gb": 2.5})

    assert memory.fits(tiled, WHOLE, LARGEST["flux"])
    assert memory.fits(smaller, WHOLE, LARGEST["flux"])


def test_tiles_on_several_devices_share_the_peak_of_decode() -> None:
    flux, large = PROFILES["flux"], Shape(height=4096, width=4096)

    assert not memory.fits(flux, frozenset({C}), large)
    assert memory.fits(flux, frozenset({C}), large, Strategy(vae_tiles=2))


def test_a_device_holds_all_weights_and_one_peak_at_a_time() -> None:
    profile, clip = PROFILES["cogvideox"], LARGEST["cogvideox"]
    weights = sum(profile.weights(stage) for stage in STAGES)
    peaks = sorted(memory.peak_bytes(profile, stage, clip) for stage in STAGES)

    assert memory.device_bytes(profile, WHOLE, clip) == weights + peaks[-1]
    assert memory.device_bytes(profile, WHOLE, clip, concurrent=2) == weights + sum(peaks[1:])


def test_sequence_parallelism_never_shrinks_weights() -> None:
    profile, clip = PROFILES["hunyuanvideo"], LARGEST["hunyuanvideo"]
    sizes = [memory.device_bytes(profile, frozenset({D}), clip, one) for one in DEGREES]

    assert all(larger > smaller for larger, smaller in pairwise(sizes))
    assert sizes[-1] > profile.weights(D)
    assert (sizes[0] - profile.weights(D)) == pytest.approx(8 * (sizes[-1] - profile.weights(D)))


def test_a_split_that_was_never_measured_divides_activations() -> None:
    profile, clip = PROFILES["cogvideox"], LARGEST["cogvideox"]
    whole = memory.peak_bytes(profile, D, clip)

    assert memory.peak_bytes(profile, D, clip, Strategy(ulysses=3)) == round(whole / 3)
    assert memory.peak_bytes(profile, D, clip, Strategy(cfg=2, ring=2)) == round(whole / 4)
    flux, picture = PROFILES["flux"], LARGEST["flux"]
    alone = memory.peak_bytes(flux, D, picture)
    assert memory.peak_bytes(flux, D, picture, Strategy(cfg=2)) == alone  # no second branch


def test_who_states_no_memory_is_no_gate() -> None:
    sample = Sample(stage=D, shape=LARGEST["flux"], fixed_s=1.0)

    assert memory.fits(Profile(name="p", source="s", samples=(sample,)), WHOLE, LARGEST["flux"])


def test_a_single_known_peak_is_never_taken_for_less() -> None:
    known = Shape(height=512, width=512)
    sample = Sample(stage=C, shape=known, fixed_s=1.0, peak_bytes=100)
    profile = Profile(name="p", source="s", samples=(sample,))

    assert memory.peak_bytes(profile, C, Shape(height=64, width=64)) == 100
    assert memory.peak_bytes(profile, C, Shape(height=1024, width=512)) == 200


@pytest.mark.parametrize(("side", "batch"), [(2048, 1), (1024, 6), (512, 8)])
def test_a_batch_brings_a_peak_a_request(side: int, batch: int) -> None:
    cost, shape = CostModel(PROFILES["flux"]), Shape(height=side, width=side)

    assert memory.most(cost, frozenset({D, C}), C, shape, slots=8) == batch


def test_a_batch_that_a_profile_knows_is_believed() -> None:
    one = Sample(stage=C, shape=LARGEST["flux"], fixed_s=1.0, peak_bytes=10)
    four = replace(one, batch=4, peak_bytes=15)
    known = CostModel(Profile(name="p", source="s", samples=(one, four), usable_bytes=20))

    assert memory.most(known, frozenset({C}), C, LARGEST["flux"], slots=5) == 5
    assert memory.most(known, frozenset({C}), C, LARGEST["flux"], slots=6) == 5


def test_tiles_on_several_devices_make_room_for_more() -> None:
    one = Sample(stage=C, shape=LARGEST["flux"], fixed_s=1.0, peak_bytes=10)
    cost = CostModel(Profile(name="p", source="s", samples=(one,), usable_bytes=20))
    tiles = Strategy(vae_tiles=2)

    assert memory.most(cost, frozenset({C}), C, LARGEST["flux"], slots=8) == 2
    assert memory.most(cost, frozenset({C}), C, LARGEST["flux"], tiles, slots=8) == 4


def test_slots_alone_bound_a_batch_where_no_memory_is_stated() -> None:
    assert memory.most(CostModel(), WHOLE, C, LARGEST["flux"], slots=8) == 8


SIDES = st.integers(64, 4096).map(lambda side: side // 16 * 16)


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(BUILTIN_NAMES),
    stage=st.sampled_from(STAGES),
    height=SIDES,
    width=SIDES,
    frames=st.integers(1, 129),
    more=st.integers(0, 64),
    strategy=st.sampled_from((SINGLE, *DEGREES, Strategy(ulysses=3), Strategy(vae_tiles=2))),
)
def test_more_to_draw_never_takes_less_memory(
    name: str, stage: Stage, height: int, width: int, frames: int, more: int, strategy: Strategy
) -> None:
    profile = PROFILES[name]
    small = Shape(height=height, width=width, frames=frames)
    large = Shape(height=height + 16 * more, width=width, frames=frames + more)
    less, most = (memory.peak_bytes(profile, stage, one, strategy) for one in (small, large))

    # A measured degree was rounded for itself, a derived one after the division.
    assert 0 < less <= most + 1
