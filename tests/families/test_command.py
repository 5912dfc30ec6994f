"""`tridentserve models`: the same bytes each time, and nothing of the user's overwritten."""

import filecmp
from collections.abc import Callable
from pathlib import Path

import pytest

from tridentserve.cli.__main__ import main
from tridentserve.errors import InvalidFieldError
from tridentserve.families import building
from tridentserve.families.command import build
from tridentserve.families.digest import content_digest
from tridentserve.families.folder import open_folder
from tridentserve.families.registry import family_names

pytestmark = pytest.mark.models


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_the_same_arguments_make_the_same_bytes(tmp_path: Path, family: str) -> None:
    import torch

    build(tmp_path / "a", family=family, seed=3)
    torch.rand(5)
    build(tmp_path / "b", family=family, seed=3)
    build(tmp_path / "c", family=family, seed=4)

    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert set(tree(tmp_path / "a")) == set(tree(tmp_path / "c"))
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert not filecmp.cmp(tmp_path / "a" / weights, tmp_path / "c" / weights, shallow=False)


def test_building_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build(tmp_path / "model", family="sd3", seed=9)

    assert torch.equal(torch.rand(3), expected)


def test_a_tiny_model_is_tiny(model: Callable[[str], Path]) -> None:
    assert sum(len(content) for content in tree(model("sd3")).values()) < 3_000_000


def test_the_command_builds_and_tells_the_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    assert main(["models", "tiny", "--family", "sd3", "--variant", "without-t5", str(folder)]) == 0
    capsys.readouterr()
    assert main(["models", "digest", str(folder)]) == 0

    assert capsys.readouterr().out == f"{content_digest(folder)}\n"
    assert not open_folder(folder).has("text_encoder_3")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["digest", "."], "holds no model_index.json"),
        (["tiny", "--family", "sd3", "."], "is not empty; name a new folder"),
        (["tiny", "--family", "sd3", "mine.txt"], "mine.txt: is not a folder"),
        (["tiny", "--family", "sd3", "--variant", "x", "new"], "'x' is unknown; use without-t5"),
        (["tiny", "--family", "flux", "--variant", "x", "new"], "'x' is unknown; use schnell"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("keep")

    assert main(["models", *arguments]) == 1
    assert sentence in capsys.readouterr().err
    assert tree(tmp_path) == {"mine.txt": b"keep"}


def test_unknown_names_are_said_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match="'x' is not installed; use flux, sd3"):
        build(tmp_path / "model", family="x")
    with pytest.raises(InvalidFieldError, match="'huge' is unknown; use tiny or small"):
        build(tmp_path / "model", family="sd3", size="huge")


def test_every_size_and_family_is_offered() -> None:
    assert set(building.SIZE_NAMES) == {"tiny", "small"}
    assert {"sd3", "flux"} <= set(family_names())
