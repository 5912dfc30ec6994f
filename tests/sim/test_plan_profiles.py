"""The profile that ships for a model is found by the names that a pipeline gives it."""

import pytest

from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import v1alpha1
from tridentserve.manifest.profile_files import BUILTIN_NAMES
from tridentserve.sim.plan.profiles import named_by


def pipeline(uri: str, name: str = "mine") -> v1alpha1.DiffusionPipeline:
    return v1alpha1.parse(
        {
            "apiVersion": "tridentserve.io/v1alpha1",
            "kind": "DiffusionPipeline",
            "metadata": {"name": name},
            "spec": {"model": {"uri": uri}},
        }
    )


@pytest.mark.parametrize(
    ("uri", "profile"),
    [
        ("pvc://models/flux", "flux"),
        ("pvc://models/FLUX.1-dev", "flux"),
        ("pvc://models/black-forest-labs/flux1-schnell", "flux"),
        ("file:///models/flux-512", "flux"),
        ("pvc://models/stable-diffusion-3-medium", "sd3"),
        ("file:///models/sd3", "sd3"),
        ("pvc://models/CogVideoX-5b", "cogvideox"),
        ("pvc://models/hunyuan-video", "hunyuanvideo"),
        ("pvc://models/HunyuanVideo", "hunyuanvideo"),
    ],
)
def test_usual_names_stand_for_the_profile_of_their_model(uri: str, profile: str) -> None:
    assert named_by(pipeline(uri)) == (profile, f"spec.model.uri {uri}")


@pytest.mark.parametrize("name", BUILTIN_NAMES)
def test_every_profile_that_ships_is_found_by_its_own_name(name: str) -> None:
    assert named_by(pipeline("pvc://models/a", name)) == (name, f"metadata.name {name}")


def test_the_model_says_more_than_the_name_of_the_pipeline() -> None:
    assert named_by(pipeline("pvc://models/sd3", "flux"))[0] == "sd3"


@pytest.mark.parametrize(
    "uri",
    [
        "pvc://models/shapes",
        "pvc://models/FLUX.2-dev",
        "pvc://models/stable-diffusion-3.5-large",
        "pvc://models/stable-diffusion-xl",
        "pvc://models/sd35",
        "pvc://models/HunyuanVideo-1.5",
        "pvc://models/CogVideoX1.5-5B",
        "pvc://models/flux-and-sd3",
    ],
)
def test_a_model_that_no_profile_is_about_asks_for_one_and_hears_which_ship(uri: str) -> None:
    with pytest.raises(InvalidFieldError) as raised:
        named_by(pipeline(uri))
    assert raised.value.field == "--profile"
    for word in (uri, "mine", *BUILTIN_NAMES):
        assert word in raised.value.problem
