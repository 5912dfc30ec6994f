"""A third family is a module and a line of metadata, and nothing else."""

import json
from pathlib import Path

import pytest

from tridentserve.errors import InvalidFieldError
from tridentserve.families import registry
from tridentserve.families.folder import open_folder

MODULE = """
class Third:
    name = "third"
    class_name = "ThirdPipeline"

FAMILY = Third()
"""


@pytest.fixture
def _third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with another family, as pip would have installed it."""
    (tmp_path / "third_family.py").write_text(MODULE)
    metadata = tmp_path / "third_family-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-family\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[tridentserve.families]\nthird = third_family:FAMILY\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def folder_of(path: Path, class_name: str) -> Path:
    folder = path / "model"
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": class_name}))
    return folder


@pytest.mark.parametrize(
    ("class_name", "name"), [("StableDiffusion3Pipeline", "sd3"), ("FluxPipeline", "flux")]
)
def test_the_class_of_the_index_leads_to_its_family(
    tmp_path: Path, class_name: str, name: str
) -> None:
    folder = open_folder(folder_of(tmp_path, class_name))

    assert registry.family_of(folder).name == name
    assert registry.family_by_name(name).class_name == class_name


def test_a_class_that_nobody_serves_is_refused(tmp_path: Path) -> None:
    folder = open_folder(folder_of(tmp_path, "ThirdPipeline"))

    with pytest.raises(InvalidFieldError, match="no installed family serves ThirdPipeline"):
        registry.family_of(folder)


@pytest.mark.usefixtures("_third")
def test_another_package_may_bring_a_family(tmp_path: Path) -> None:
    folder = open_folder(folder_of(tmp_path, "ThirdPipeline"))

    assert registry.family_names() == ("flux", "sd3", "third")
    assert registry.family_of(folder).name == "third"
