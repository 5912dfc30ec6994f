"""What a model folder advises itself, and what of it is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.families.advice import ADVICE, advised
from tridentserve.families.folder import ModelFolder
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part
from tridentserve.families.protocol import Defaults

USUAL = Defaults(shape=Shape(height=64, width=64), steps=28, guidance=7.0, size_multiple=8)


def folder_with(path: Path, content: str | None) -> ModelFolder:
    if content is not None:
        (path / ADVICE).write_text(content)
    return ModelFolder(path=path, class_name="", components={})


@pytest.mark.parametrize("content", [None, "{}", '{"defaults": {}}'])
def test_without_advice_the_familys_defaults_hold(tmp_path: Path, content: str | None) -> None:
    assert advised(folder_with(tmp_path, content), USUAL) == USUAL


def test_advice_stands_above_the_family_and_leaves_to_it_what_it_does_not_say(
    tmp_path: Path,
) -> None:
    content = json.dumps({"defaults": {"width": 96, "steps": 20, "guidance": 4}})

    found = advised(folder_with(tmp_path, content), USUAL)

    assert found == Defaults(
        shape=Shape(height=64, width=96), steps=20, guidance=4.0, size_multiple=8
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", "tridentserve.json: is not a JSON object"),
        ("{", "tridentserve.json: is no JSON"),
        ('{"default": {}}', "tridentserve.json: default: is unknown; use defaults"),
        ('{"defaults": 3}', "tridentserve.json: defaults: is not a JSON object"),
        ('{"defaults": {"seed": 1}}', r"defaults\.seed: is unknown; use height, width, steps"),
        ('{"defaults": {"height": 0}}', r"defaults\.height: 0 is not a positive multiple of 8"),
        ('{"defaults": {"width": 68}}', r"defaults\.width: 68 is not a positive multiple of 8"),
        ('{"defaults": {"width": 64.0}}', r"defaults\.width: 64\.0 is not a positive multiple"),
        ('{"defaults": {"steps": true}}', r"defaults\.steps: True is not a positive multiple"),
        ('{"defaults": {"guidance": -1}}', r"defaults\.guidance: -1 is no number from 0 up"),
        ('{"defaults": {"guidance": NaN}}', r"defaults\.guidance: nan is no number from 0 up"),
        ('{"defaults": {"guidance": 1%s}}' % ("0" * 400), r"defaults\.guidance: 10+ is no number"),
        ('{"defaults": {"guidance": "4"}}', r"defaults\.guidance: '4' is no number from 0 up"),
    ],
)
def test_advice_that_no_request_could_follow_is_refused(
    tmp_path: Path, content: str, sentence: str
) -> None:
    with pytest.raises(InvalidFieldError, match=sentence):
        advised(folder_with(tmp_path, content), USUAL)


@pytest.mark.models
def test_every_stage_tells_of_the_advice_in_its_folder(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("sd3")
    advice: dict[str, Any] = {"height": 128, "width": 64, "steps": 5, "guidance": 2.5}
    (folder / ADVICE).write_text(json.dumps({"defaults": advice}))

    (info,) = {Part(folder, stage, LoadOptions(threads=1)).info for stage in STAGES}

    assert info.default_shape == Shape(height=128, width=64)
    assert (info.default_steps, info.default_guidance) == (5, 2.5)


@pytest.mark.models
def test_a_default_that_the_model_cannot_draw_is_refused_when_it_is_loaded(
    copy_of: Callable[[str], Path],
) -> None:
    folder = copy_of("sd3")
    (folder / ADVICE).write_text('{"defaults": {"height": 4096}}')

    with pytest.raises(InvalidFieldError, match="defaults: height: 4096 is more than this model's"):
        Part(folder, Stage.ENCODE, LoadOptions(threads=1))
