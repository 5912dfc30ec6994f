"""Profile files: the authors' figures digit for digit, assumptions by name, faults by place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import profile_files
from tridentserve.manifest.profile_files import BUILTIN_NAMES, builtin, read

E, D, C = STAGES
ODD = Shape(height=768, width=432, frames=33)
CLIP = Shape(height=768, width=1360, frames=81)
SHIPPED = Path(profile_files.__file__).parent / "profiles"


def one(
    profile: Profile, stage: Stage, shape: Shape, strategy: Strategy = SINGLE, batch: int = 1
) -> Sample:
    (found,) = (
        sample
        for sample in profile.samples
        if (sample.stage, sample.shape, sample.strategy, sample.batch)
        == (stage, shape, strategy, batch)
    )
    return found


def step(profile: Profile, shape: Shape, degree: int) -> float:
    return one(profile, D, shape, Strategy(ulysses=degree)).step_s


def image(side: int) -> Shape:
    return Shape(height=side, width=side)


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_every_shipped_profile_says_all_that_a_planner_asks(name: str) -> None:
    profile = builtin(name)

    assert profile.name == name
    assert profile.architecture is not None
    assert profile.link is not None
    assert profile.usable_bytes == 45_000_000_000 < profile.device_memory_bytes
    assert all(profile.weights(stage) > 0 for stage in STAGES)
    for shape in {sample.shape for sample in profile.samples}:
        for stage in STAGES:
            sample = one(profile, stage, shape)
            assert sample.fixed_s + sample.step_s > 0
            assert sample.peak_bytes > 0
    assert all(one.source and one.unit for one in profile.assumptions)


def test_the_names_are_those_of_the_files() -> None:
    assert sorted(BUILTIN_NAMES) == sorted(path.stem for path in SHIPPED.glob("*.json"))


@pytest.mark.parametrize(
    ("name", "shape", "seconds"),
    [
        ("cogvideox", CLIP, (30.5, 17.75, 9.1, 4.75)),
        ("hunyuanvideo", Shape(height=720, width=1280, frames=129), (118, 64.48, 31.92, 16.35)),
        ("flux", image(2048), (4.67, 2.85, 1.48, 1.28)),
        ("sd3", image(1536), (0.595238095, 0.367430923, 0.297619048, 0.17303433)),
    ],
)
def test_the_table_is_the_authors(name: str, shape: Shape, seconds: tuple[float, ...]) -> None:
    for variant in ("raw", "repaired"):
        profile = builtin(name, variant=variant)

        assert tuple(step(profile, shape, degree) for degree in (1, 2, 4, 8)) == seconds


def test_a_variant_is_a_named_set_of_repairs() -> None:
    seconds = {
        variant: step(builtin("cogvideox", variant=variant), ODD, 2)
        for variant in ("raw", "repaired", "interpolated")
    }

    assert seconds == {"raw": 0.751879699, "repaired": 1.32, "interpolated": 1.37}


def test_decode_follows_its_assumption() -> None:
    for seconds in (2.0, 10.5, 15.5, 24.0):
        profile = builtin("cogvideox", assumptions={"decode_s": seconds})
        smaller = Shape(height=768, width=1360, frames=17)

        assert one(profile, C, CLIP).fixed_s == seconds
        assert one(profile, C, smaller).fixed_s == pytest.approx(seconds * 17 / 81)
        assert profile.assumption("decode_s") == seconds
    assert one(builtin("cogvideox"), C, CLIP).fixed_s == 10.5


def test_tiling_trades_time_for_memory() -> None:
    whole = one(builtin("flux", assumptions={"decode_tiled": 0}), C, image(2048))
    tiled = one(builtin("flux", assumptions={"decode_tiled": 1}), C, image(2048))

    assert tiled.fixed_s == pytest.approx(whole.fixed_s * 1.78)
    assert tiled.peak_bytes < whole.peak_bytes


def test_seconds_of_a_decoder_that_tiles_are_those_with_tiles() -> None:
    clip = Shape(height=720, width=1280, frames=129)

    assert one(builtin("hunyuanvideo"), C, clip).fixed_s == 47
    untiled = builtin("hunyuanvideo", assumptions={"decode_tiled": 0})
    assert one(untiled, C, clip).fixed_s == pytest.approx(47 / 2.37)


def test_memory_can_be_swept_and_guidance_doubles_activations() -> None:
    usual = one(builtin("cogvideox"), D, CLIP)
    swept = one(builtin("cogvideox", assumptions={"diffuse_peak_kb_per_token": 50}), D, CLIP)

    assert usual.peak_bytes == 45_106 * 2 * 100_000
    assert swept.peak_bytes * 2 == usual.peak_bytes
    assert one(builtin("hunyuanvideo"), D, Shape(height=720, width=1280)).peak_bytes == 385_600_000


def test_sequence_parallelism_divides_activations_and_not_weights() -> None:
    profile = builtin("cogvideox")
    eighth = one(profile, D, CLIP, Strategy(ulysses=8))

    assert eighth.peak_bytes == pytest.approx(one(profile, D, CLIP).peak_bytes / 8, abs=1)
    assert profile.weights(D) == 10_000_000_000


def test_guidance_is_twice_the_work_where_the_model_runs_twice() -> None:
    assert {name: builtin(name).branches for name in BUILTIN_NAMES} == {
        "cogvideox": 2,
        "sd3": 2,
        "flux": 1,
        "hunyuanvideo": 1,
    }


def test_batches_grow_as_the_rule_allows_up_to_the_best_one() -> None:
    profile = builtin("sd3")
    alone = one(profile, D, image(128))

    assert profile.best_batch_of(image(128)) == 4
    assert profile.best_batch_of(image(4096)) == 1
    assert profile.best_batch_of(Shape(height=128, width=128, frames=17)) == 1
    assert one(profile, D, image(128), batch=4).step_s == pytest.approx(alone.step_s * 1.44)
    assert not [s for s in profile.samples if s.batch > 1 and s.shape == image(512)]


def test_hand_offs_are_embeddings_and_latents() -> None:
    profile = builtin("cogvideox")

    assert profile.handoff_bytes(E, CLIP) == 226 * 4096 * 2 * 2
    assert profile.handoff_bytes(D, CLIP) == 16 * 21 * 96 * 170 * 2
    assert profile.handoff_bytes(C, CLIP) == 0


@pytest.mark.parametrize(
    ("ask", "blamed"),
    [
        (lambda: builtin("wan"), "profile"),
        (lambda: builtin("flux", variant="interpolated"), "variant"),
        (lambda: builtin("flux", assumptions={"decode": 1}), "assumptions.decode"),
        (lambda: builtin("flux", assumptions={"decode_s": 0}), "assumptions: decode_s.value"),
        (lambda: builtin("flux", assumptions={"decode_s": float("nan")}), "decode_s.value"),
        (lambda: builtin("flux", assumptions={"decode_tiled": 0.5}), "decode_tiled.value"),
    ],
)
def test_what_is_asked_wrongly_is_named(ask: Callable[[], Profile], blamed: str) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        ask()
    assert blamed in refused.value.field


def changed(tmp_path: Path, change: Callable[[Any], object]) -> Path:
    document = json.loads((SHIPPED / "sd3.json").read_text())
    change(document)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))
    return path


def test_a_file_of_ones_own_is_read_alike(tmp_path: Path) -> None:
    path = changed(tmp_path, lambda document: document.update(name="mine"))

    assert read(path).samples == builtin("sd3").samples
    assert read(path).name == "mine"


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        (lambda d: d.pop("guided"), "guided"),
        (lambda d: d.update(colour="red"), "colour"),
        (lambda d: d["assumptions"]["decode_s"].update(unit="ms"), "assumptions.decode_s.unit"),
        (lambda d: d["assumptions"]["decode_s"].pop("source"), "assumptions.decode_s.source"),
        (lambda d: d["diffuse"]["rows"][1].update(shape="256"), "diffuse.rows.1.shape"),
        (lambda d: d["diffuse"]["rows"][1].update(shape="0x1x1"), "diffuse.rows.1.shape"),
        (lambda d: d["diffuse"]["rows"][1]["seconds"].pop(), "diffuse"),
        (lambda d: d["diffuse"]["rows"][0]["seconds"].__setitem__(0, -1), "rows.0.seconds.0"),
        (lambda d: d["diffuse"]["rows"].append(d["diffuse"]["rows"][0]), "diffuse"),
        (lambda d: d["diffuse"].update(degrees=[2, 1, 4, 8]), "diffuse"),
        (lambda d: d["diffuse"]["repairs"].update(raw=[]), "diffuse"),
    ],
)
def test_a_fault_names_file_and_field(
    tmp_path: Path, change: Callable[[Any], object], blamed: str
) -> None:
    with pytest.raises(InvalidFieldError) as refused:
        read(changed(tmp_path, change))
    assert "mine.json: " in refused.value.field
    assert refused.value.field.endswith(blamed)


def test_broken_json_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"format": 1,\n "name": }')

    with pytest.raises(InvalidFieldError) as refused:
        read(path)
    assert refused.value.field == f"{path}:2:10"


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    path.write_text('{"format": 1, "format": 1}')

    with pytest.raises(InvalidFieldError, match="format: must not appear twice"):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match=r"none\.json: cannot be read"):
        read(tmp_path / "none.json")


MEASURED = (
    {"stage": "decode", "shape": "512x512x1", "fixed_s": 0.7, "tiled": False, "peak_bytes": 5},
    {"stage": "decode", "shape": "512x512x1", "fixed_s": 0.9, "tiled": True, "peak_bytes": 3},
    {"stage": "encode", "shape": "512x512x1", "fixed_s": 0.2, "fraction_percent": 50},
)


def test_measured_rows_take_the_place_of_assumptions(tmp_path: Path) -> None:
    block = {"source": "bench", "rows": list(MEASURED)}
    path = changed(tmp_path, lambda document: document.update(measured=block))
    whole, tiled = read(path), read(path, assumptions={"decode_tiled": 1})

    assert one(whole, C, image(512)).fixed_s == 0.7
    assert (one(tiled, C, image(512)).fixed_s, one(tiled, C, image(512)).peak_bytes) == (0.9, 3)
    shares = {s.fraction_percent: s.fixed_s for s in whole.samples if s.stage is E}
    assert shares == {100: 0.12, 50: 0.2}


@pytest.mark.parametrize(
    "row",
    [
        {"stage": "decode", "shape": "512x512x1", "fixed_s": 0.7},
        {"stage": "encode", "shape": "512x512x1", "fixed_s": 0.7, "tiled": True},
        {"stage": "encode", "shape": "512x512x1", "fixed_s": 0},
    ],
)
def test_a_measured_row_that_cannot_be_is_refused(tmp_path: Path, row: dict[str, object]) -> None:
    block = {"source": "bench", "rows": [row]}

    with pytest.raises(InvalidFieldError, match=r"measured\.rows\.0"):
        read(changed(tmp_path, lambda document: document.update(measured=block)))


def test_a_saturation_point_is_read(tmp_path: Path) -> None:
    point = {"source": "bench", "compute_percent": 40, "bandwidth_percent": 90}
    path = changed(tmp_path, lambda document: document.update(saturation={"decode": point}))

    ((stage, saturation),) = read(path).saturation
    assert (stage, saturation.compute_percent, saturation.bandwidth_percent) == (C, 40, 90)
