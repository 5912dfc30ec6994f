"""The model `shapes`, served: its pictures show what was asked for, as the judge sees it.

No caption here was ever trained on. The captions and seeds are ones that the model draws well (how
often it does is in docs/shapes.md): what is tested is that serving keeps what the model can do.
"""

import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.drawing import monolith, opened, pixels
from tests.e2e.pipelines import Pipeline

from train_shapes.judge import judge
from train_shapes.scenes import is_held_out, parse
from tridentserve.client import Request
from tridentserve_local.demo.jobs import GUIDANCE, STEPS

pytestmark = pytest.mark.models


def job(prompt: str, side: int, seed: int) -> dict[str, Any]:
    asked = {"prompt": prompt, "height": side, "width": side, "seed": seed}
    return {**asked, "steps": STEPS, "guidance": GUIDANCE}


JOBS = [
    job("a large blue circle below an orange square on a white background", 64, 1),
    job("a large blue triangle on a black background", 96, 1),
    job("a small red triangle on a gray background", 128, 0),
]
README = "a green triangle left of a yellow circle"


@pytest.fixture
def shapes(pipeline: Pipeline, models: Path) -> Pipeline:
    """The model, served."""
    pipeline.apply(models / "shapes")
    pipeline.wait("Ready")
    return pipeline


def test_served_pictures_show_what_was_asked_and_equal_the_monoliths(
    shapes: Pipeline, models: Path, tmp_path: Path
) -> None:
    scenes = [parse(one["prompt"]) for one in JOBS]
    assert all(is_held_out(scene) for scene in scenes)

    files = [shapes.generate(Request(**one)).media[0] for one in JOBS]

    assert [pixels(file) for file in files] == monolith(models / "shapes", JOBS, tmp_path)
    pictures = [opened(file) for file in files]
    verdicts = [judge(*both) for both in zip(pictures, scenes, strict=True)]
    assert [str(verdict) for verdict in verdicts] == ["holds"] * len(JOBS)
    # And the judge can say no: to each picture for any other caption.
    for (picture, _), (_, other) in permutations(zip(pictures, scenes, strict=True), 2):
        assert not judge(picture, other).holds


def test_the_readmes_command_draws_what_it_says_with_the_models_own_defaults(
    shapes: Pipeline, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tridentserve.cli", "generate", "-n", shapes.namespace]
    file = tmp_path / "picture.png"

    subprocess.run(
        [*command, "--prompt", README, "--seed", "1", "-o", str(file)],
        env=os.environ | {"KUBECONFIG": str(shapes.cluster.kubeconfig)},
        check=True,
        capture_output=True,
    )

    assert str(judge(opened(file.read_bytes()), parse(README))) == "holds"
