"""Profiles of pipelines on a cluster: blamed by ConfigMap and key, believed as far as possible."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.manifest.profile_text import profile_text

from tridentserve.domain.ids import PipelineName
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.profile_choice import DEFAULT_KEY, BuiltinProfile, ConfigMapKey
from tridentserve.manifest.profile_files import BUILTIN_NAMES
from tridentserve.manifest.profile_served import believed, builtin, from_config_map
from tridentserve.manifest.v1alpha1 import parse
from tridentserve.planner.cost import CostModel
from tridentserve.planner.misfits import misfit, pools_of
from tridentserve.planner.roster import Roster

E, D, C = STAGES
REF = ConfigMapKey(name="own")
HUGE = Shape(height=8192, width=8192)
GPU = {"gpu": {"sharing": "Exclusive", "count": 1}}


def config_map(text: str, key: str = DEFAULT_KEY) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": "own"}, "data": {key: text}}


def spec(*on_gpu: Stage) -> PipelineSpec:
    body = {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"name": "flux"},
        "spec": {
            "model": {"uri": "pvc://models/flux"},
            "stages": {stage.value: GPU for stage in on_gpu},
        },
    }
    return parse(body).spec.to_domain(PipelineName("default/flux"))


def changed(**parts: Any) -> str:
    file = json.loads(profile_text())
    for name, value in parts.items():
        file[name] = {**file[name], **value} if isinstance(value, dict) else value
    return json.dumps(file)


def refused(text: str) -> str:
    with pytest.raises(InvalidFieldError) as raised:
        from_config_map(REF, "demo", config_map(text))
    return str(raised.value)


def test_the_resource_offers_exactly_the_profiles_that_ship() -> None:
    assert {one.value for one in BuiltinProfile} == set(BUILTIN_NAMES)
    assert [builtin(one).profile.name for one in BuiltinProfile] == list(BuiltinProfile)


def test_a_config_map_is_read_like_a_file() -> None:
    found = from_config_map(REF, "demo", config_map(profile_text(name="ours")))

    assert found.profile.name == "ours"
    assert found.vouched


def test_another_key_can_be_named() -> None:
    ref = ConfigMapKey(name="own", key="a100.json")

    assert from_config_map(ref, "demo", config_map(profile_text(), "a100.json")).profile.samples


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "spec.profile.configMapRef.name: there is no ConfigMap demo/own"),
        (
            {},
            "spec.profile.configMapRef.key: ConfigMap demo/own has no text profile.json;"
            " it has: none",
        ),
        (
            {"data": {"b": "", "a": ""}, "binaryData": {DEFAULT_KEY: "AA=="}},
            "spec.profile.configMapRef.key: ConfigMap demo/own has no text profile.json;"
            " it has: a, b",
        ),
        (
            config_map('{\n  "format": 1,\n}'),
            "spec.profile.configMapRef: ConfigMap demo/own, profile.json:3:1: is not JSON:",
        ),
        (
            config_map(changed(device={"memory": "much"})),
            "spec.profile.configMapRef: ConfigMap demo/own, profile.json: device.memory: ",
        ),
        (
            config_map('{"format": 1, "format": 1}'),
            "spec.profile.configMapRef: ConfigMap demo/own, profile.json: format: ",
        ),
        (
            config_map(" " * 300_000),
            "spec.profile.configMapRef: ConfigMap demo/own, profile.json: is longer than",
        ),
    ],
)
def test_what_cannot_be_read_names_field_config_map_key_and_place(
    body: dict[str, Any] | None, message: str
) -> None:
    with pytest.raises(InvalidFieldError) as raised:
        from_config_map(REF, "demo", body)

    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "9" * 5_000,
        changed(device={"memory": 1e300, "usable": 1e300}),
        changed(device={"memory": 10**400, "usable": 1}),
        changed(steps={"value": 10**400}),
        changed(diffuse={"rows": [{"shape": "64x64x1" + "0" * 400, "seconds": [1]}]}),
        changed(diffuse={"rows": [{"shape": "64x64x" + "9" * 5000, "seconds": [1]}]}),
        changed(best_batch={"batches": {"4096": 10**400}}),
        changed(
            best_batch={"unit": "requests by pixels", "source": "x", "batches": {"4096": 10**12}},
            assumptions={"batch_growth": {"value": 1e12, "unit": "1", "source": "x"}},
        ),
    ],
    ids=["deep", "long", "memory", "infinite", "steps", "frames", "digits", "batch", "growth"],
)
def test_no_number_however_absurd_ends_whoever_reads_it(text: str) -> None:
    assert "ConfigMap demo/own, profile.json" in refused(text)


def of_shapes(count: int) -> str:
    rows = [{"shape": f"{16 * side}x96x1", "seconds": [1.0]} for side in range(1, count + 1)]
    return changed(diffuse={"rows": rows}, best_batch=None)


def test_a_profile_leaves_a_cost_model_room_for_what_is_measured() -> None:
    served = from_config_map(REF, "demo", config_map(of_shapes(256)))
    model = CostModel(served.profile)

    for side in range(1, 600):
        model.observe(D, Shape(height=side, width=7), 4, 100, 1.0)

    assert "profile.json: says 257 kinds of call of " in refused(of_shapes(257))


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_is_in_a_config_map_is_read_or_refused_in_words(text: str) -> None:
    assert refused(text).startswith("spec.profile.configMapRef: ConfigMap demo/own, profile.json")


@pytest.mark.parametrize("name", BuiltinProfile)
def test_a_built_in_profile_refuses_nothing_on_any_nodes(name: BuiltinProfile) -> None:
    wanted = spec(*STAGES)

    profile = believed(builtin(name), wanted)

    assert profile.usable_bytes == profile.device_memory_bytes == 0
    assert misfit(CostModel(profile), Roster(), pools_of(wanted), HUGE) is None
    assert CostModel(builtin(name).profile).profile.usable_bytes


@pytest.mark.parametrize(
    ("on_gpu", "stage"), [(STAGES, E), ((D, C), D), ((C,), C), ((), None), ((E,), E)]
)
def test_a_profile_of_ones_own_refuses_by_the_stages_that_are_on_gpus(
    on_gpu: tuple[Stage, ...], stage: Stage | None
) -> None:
    wanted = spec(*on_gpu)
    served = from_config_map(REF, "demo", config_map(profile_text(usable_gb=1.0)))

    found = misfit(CostModel(believed(served, wanted)), Roster(), pools_of(wanted), HUGE)

    assert (None if found is None else found.stage) is stage


def test_seconds_are_believed_as_they_stand() -> None:
    for served in (
        builtin(BuiltinProfile.SD3),
        from_config_map(REF, "demo", config_map(profile_text())),
    ):
        raw, told = served.profile, believed(served, spec(D))

        for one, other in zip(raw.samples, told.samples, strict=True):
            assert (one.fixed_s, one.step_s) == (other.fixed_s, other.step_s)
        assert (told.steps, told.guided, told.link) == (raw.steps, raw.guided, raw.link)
