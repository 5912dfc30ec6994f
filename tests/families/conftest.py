"""Tiny models, built once, and the stages of each, loaded once into this process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.work import Generation
from tridentserve.families.command import build
from tridentserve.families.loading import LoadOptions
from tridentserve.families.part import Part

MODELS = {
    "sd3": ("sd3", ""),
    "sd3-without-t5": ("sd3", "without-t5"),
    "flux": ("flux", ""),
    "flux-schnell": ("flux", "schnell"),
}
Parts = dict[Stage, Part]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model by its name above; not to be written."""
    import torch

    built: dict[str, Path] = {}
    # Beside other processes, a second thread makes torch many times slower, not faster.
    torch.set_num_threads(1)

    def folder(name: str) -> Path:
        if name not in built:
            family, variant = MODELS[name]
            built[name] = tmp_path_factory.mktemp("model") / name
            build(built[name], family=family, variant=variant)
        return built[name]

    return folder


@pytest.fixture
def copy_of(model: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a model's folder, to be spoilt."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(model(name), tmp_path / "copy"))

    return copy


@pytest.fixture(scope="session")
def parts(model: Callable[[str], Path]) -> Callable[[str], Parts]:
    """All stages of a model, with one thread."""
    loaded: dict[str, Parts] = {}

    def load(name: str) -> Parts:
        if name not in loaded:
            options = LoadOptions(threads=1)
            loaded[name] = {stage: Part(model(name), stage, options) for stage in STAGES}
        return loaded[name]

    return load


@pytest.fixture
def request_for() -> Callable[..., Generation]:
    """A request with everything filled in; keywords replace."""

    def make(height: int = 64, width: int = 64, **values: Any) -> Generation:
        defaults: dict[str, Any] = {
            "prompt": "a red cat",
            "negative_prompt": "",
            "steps": 3,
            "guidance": 5.0,
            "seed": 1,
            "count": 1,
            "output_format": "image/png",
        }
        return Generation(shape=Shape(height=height, width=width), **{**defaults, **values})

    return make
