"""A key differs when, and only when, what it was made from does."""

import shutil
from pathlib import Path

import pytest

from tridentserve_local.toolchain import bootstrap, checkout, controlplane, keys


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    return tmp_path


def key_of(tree: Path) -> str:
    return keys.of_files(tree, [tree / "a", tree / "b"], machine="x86_64")


def test_the_order_of_files_does_not_matter(tree: Path) -> None:
    assert key_of(tree) == keys.of_files(tree, [tree / "b", tree / "a"], machine="x86_64")


def test_the_place_of_the_tree_does_not_matter(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(tree, elsewhere, dirs_exist_ok=True)

    assert key_of(elsewhere) == key_of(tree)


def test_a_content_matters(tree: Path) -> None:
    before = key_of(tree)
    (tree / "a").write_text("changed")

    assert key_of(tree) != before


def test_contents_that_change_places_matter(tree: Path) -> None:
    before = key_of(tree)
    (tree / "a").write_text("2")
    (tree / "b").write_text("1")

    assert key_of(tree) != before


def test_text_that_moves_from_a_name_to_its_content_matters() -> None:
    assert keys.of_contents({"ab": b"c"}) != keys.of_contents({"a": b"bc"})


def test_a_file_cannot_pass_for_a_value(tree: Path) -> None:
    (tree / "machine").write_text("x86_64")

    with_file = keys.of_files(tree, [tree / "a", tree / "machine"])

    assert with_file != keys.of_files(tree, [tree / "a"], machine="x86_64")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return shutil.copytree(checkout.CONTROL_PLANE, tmp_path / "controlplane")


@pytest.mark.parametrize("name", ["main.go", "go.mod", "go.sum", "new.go"])
def test_the_control_plane_is_built_anew_when_its_sources_change(sources: Path, name: str) -> None:
    before = controlplane.key(sources)
    with (sources / name).open("a") as file:
        file.write("\n// changed\n")

    assert controlplane.key(sources) != before


@pytest.mark.parametrize("name", ["README.md", "pin-kubernetes.sh", "controlplane_test.go"])
def test_the_control_plane_is_not_built_anew_for_what_is_not_in_it(
    sources: Path, name: str
) -> None:
    before = controlplane.key(sources)
    with (sources / name).open("a") as file:
        file.write("changed\n")

    assert controlplane.key(sources) == before


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    shutil.copytree(checkout.ROOT / "protos", root / "protos")
    shutil.copy(checkout.ROOT / "pyproject.toml", root)
    (root / "README.md").write_text("read me")
    return root


@pytest.mark.parametrize("name", ["pyproject.toml", "protos/build.py", "protos/x/new.proto"])
def test_the_packages_are_installed_anew_when_what_they_come_from_changes(
    project: Path, name: str
) -> None:
    before = bootstrap.python_key(project, "3.11")
    (project / name).parent.mkdir(exist_ok=True)
    with (project / name).open("a") as file:
        file.write("\n")

    assert bootstrap.python_key(project, "3.11") != before


def test_another_python_is_installed_for_anew(project: Path) -> None:
    assert bootstrap.python_key(project, "3.12") != bootstrap.python_key(project, "3.11")


def test_an_edit_of_the_readme_installs_nothing(project: Path) -> None:
    before = bootstrap.python_key(project, "3.11")
    (project / "README.md").write_text("read me again")

    assert bootstrap.python_key(project, "3.11") == before
