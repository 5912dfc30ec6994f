"""What the command refuses before it trains, draws or loads anything."""

from pathlib import Path

import pytest

from train_shapes import arguments
from train_shapes.__main__ import main

NO_COUNT = "0 is no whole number from 1 on"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("evaluate --captions 0", f"argument --captions: {NO_COUNT}"),
        ("evaluate --captions many", "many is no whole number"),
        ("evaluate --steps 0", f"argument --steps: {NO_COUNT}"),
        ("evaluate --sides 64 60", "argument --sides: 60 is no multiple of 8 from 16 to 128"),
        ("evaluate --sides 136", "argument --sides: 136 is no multiple"),
        ("evaluate --model none", "argument --model: none is no model folder"),
        ("evaluate", "argument --model: examples/models/shapes is no model folder"),
        ("evaluate --model model --report none/x.json", "--report: there is no folder none"),
        ("evaluate --model model --report model", "argument --report: model is a folder"),
        ("sheet --model model none/x.png", "argument picture: there is no folder none"),
        ("sheet --model model x.doc", "argument picture: x.doc must end in .png"),
        ("curve none x.png", "argument folder: none/vae.jsonl holds no losses: train first"),
        ("curve begun x.png", "argument folder: begun/flow.jsonl holds no losses: train first"),
        ("train --workers 0", f"argument --workers: {NO_COUNT}"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_before_anything_begins(
    given: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_index.json").write_text("{}")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "vae.jsonl").write_text('{"step": 0, "loss": 1.0}')
    (tmp_path / "begun" / "flow.jsonl").write_text("")
    with pytest.raises(SystemExit) as left:
        main(given.split())
    assert left.value.code == 2
    assert words in capsys.readouterr().err


def test_the_curve_of_a_training_is_drawn(tmp_path: Path) -> None:
    for name in arguments.TRAININGS:
        (tmp_path / f"{name}.jsonl").write_text('{"step": 0, "loss": 2.0}\n')
    assert main(["curve", str(tmp_path), str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("side", ["16", "64", "96", "128"])
def test_sides_that_the_model_has_positions_for_are_taken(side: str) -> None:
    assert arguments.side(side) == int(side)
