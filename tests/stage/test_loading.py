"""Which runner a model folder gets, and the sentence where it gets none."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tridentserve.domain.ids import ContentDigest
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import StageFailedError
from tridentserve.stage import loading
from tridentserve.stage.fakes import FAKE_MODEL, FakeRunner
from tridentserve.stage.loading import ModelError, load
from tridentserve.stage.settings import StageSettings
from tridentserve.stage.synthetic import SyntheticRunner

if TYPE_CHECKING:
    from tests.stage.conftest import MakeSettings

SLEEP = threading.Event().wait


def fake(settings: StageSettings) -> FakeRunner:
    """What an entry point names."""
    return FakeRunner(Stage.DECODE)


def broken(settings: StageSettings) -> FakeRunner:
    """A loader whose library gives up."""
    raise OSError("the file is cut short")


def unfit(settings: StageSettings) -> FakeRunner:
    """A loader that knows what is wrong."""
    raise StageFailedError("this family has no decoder")


def uninstalled(settings: StageSettings) -> FakeRunner:
    """A loader that lacks a library."""
    raise ImportError("No module named 'torch'")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace what is registered."""

    def use(*functions: Callable[[StageSettings], FakeRunner]) -> None:
        def found(*, group: str, name: str) -> tuple[EntryPoint, ...]:
            assert group == "tridentserve.runners"
            return tuple(_Registered(name, function, group) for function in functions)

        monkeypatch.setattr(loading, "entry_points", found)

    return use


class _Registered(EntryPoint):
    """An entry point that is loaded already."""

    def __init__(self, name: str, value: object, group: str) -> None:
        vars(self).update(name=name, group=group, value="", loaded=value)

    def load(self) -> object:
        return vars(self)["loaded"]


def test_a_synthetic_folder_gets_synthetic_runners(
    tmp_path: Path, make_settings: "MakeSettings"
) -> None:
    (tmp_path / "synthetic.json").write_text(json.dumps({"seconds": {"encode": 3}}))
    settings = make_settings("encode,diffuse,decode", model_dir=tmp_path)

    loaded = load(settings, SLEEP)

    assert tuple(loaded.runners) == STAGES
    assert all(isinstance(runner, SyntheticRunner) for runner in loaded.runners.values())
    assert len({runner.model.digest for runner in loaded.runners.values()}) == 1
    assert set(loaded.seconds) == set(STAGES)


def test_a_diffusers_folder_gets_what_is_registered(
    tmp_path: Path, make_settings: "MakeSettings", register: Callable[..., None]
) -> None:
    register(fake)
    (tmp_path / "model_index.json").write_text("{}")

    loaded = load(make_settings("decode", model_dir=tmp_path), SLEEP)

    assert isinstance(loaded.runners[Stage.DECODE], FakeRunner)


@pytest.mark.parametrize(
    ("loader", "sentence"),
    [
        (broken, "OSError: the file is cut short"),
        (unfit, "this family has no decoder"),
        (uninstalled, "pip install"),
    ],
)
def test_a_model_that_cannot_be_loaded_says_why(
    tmp_path: Path,
    make_settings: "MakeSettings",
    register: Callable[..., None],
    loader: Callable[[StageSettings], FakeRunner],
    sentence: str,
) -> None:
    register(loader)
    (tmp_path / "model_index.json").write_text("{}")

    with pytest.raises(ModelError, match=sentence):
        load(make_settings("decode", model_dir=tmp_path), SLEEP)


def test_without_a_runner_it_says_what_to_install(
    tmp_path: Path, make_settings: "MakeSettings", register: Callable[..., None]
) -> None:
    register()
    (tmp_path / "model_index.json").write_text("{}")

    with pytest.raises(ModelError, match="entry points"):
        load(make_settings("decode", model_dir=tmp_path), SLEEP)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        ({}, "holds no model"),
        ({"synthetic.json": "{"}, "is no JSON"),
        ({"synthetic.json": '{"sizeMultiple": -1}'}, "sizeMultiple"),
    ],
)
def test_a_bad_folder_is_told_with_its_path(
    tmp_path: Path,
    make_settings: "MakeSettings",
    content: dict[str, str] | None,
    sentence: str,
) -> None:
    folder = tmp_path / "model"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)

    with pytest.raises(ModelError, match=sentence) as caught:
        load(make_settings("decode", model_dir=folder), SLEEP)

    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_the_folders_place_is_no_folder(
    tmp_path: Path, make_settings: "MakeSettings"
) -> None:
    (tmp_path / "model").write_text("")

    with pytest.raises(ModelError, match="does not exist"):
        load(make_settings("decode", model_dir=tmp_path / "model"), SLEEP)


def test_a_model_that_changes_while_it_is_loaded_is_refused(
    tmp_path: Path, make_settings: "MakeSettings", register: Callable[..., None]
) -> None:
    digests = iter(("before", "after"))

    def changing(settings: StageSettings) -> FakeRunner:
        model = replace(FAKE_MODEL, digest=ContentDigest(next(digests)))
        return FakeRunner(Stage.DECODE, model=model)

    register(changing)
    (tmp_path / "model_index.json").write_text("{}")

    with pytest.raises(ModelError, match="changed while it was loaded"):
        load(make_settings("encode,decode", model_dir=tmp_path), SLEEP)
