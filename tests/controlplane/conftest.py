"""Control planes for the tests of the control plane: no node, no cluster, just that program."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tridentserve_local.toolchain import tools
from tridentserve_local.toolchain.errors import ToolMissingError
from tridentserve_local.toolchain.trial import Ready, Trial


@pytest.fixture(scope="session")
def programs() -> tuple[Path, Path]:
    """The control plane and kubectl; where they cannot be had, the tests are skipped, loudly."""
    try:
        return tools.controlplane().path, tools.kubectl().path
    except ToolMissingError as error:
        sys.stderr.write(f"\nno test of the control plane runs: {error}\n")
        pytest.skip(str(error))


@pytest.fixture
def trial(programs: tuple[Path, Path], tmp_path: Path) -> Iterator[Trial]:
    """Starts control planes for one test."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    made = Trial(*programs, temporary)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def shared(
    programs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ready]:
    """One control plane for all tests of a module that do not stop it."""
    made = Trial(*programs, tmp_path_factory.mktemp("temporary"))
    try:
        yield made.start()[1]
    finally:
        made.close()
