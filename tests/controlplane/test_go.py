"""The Go code is formatted, vetted, and passes its own tests."""

from pathlib import Path

import pytest

from tridentserve_local.toolchain import checkout, controlplane, golang, processes
from tridentserve_local.toolchain.errors import ToolMissingError
from tridentserve_local.toolchain.progress import silent

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def go(programs: tuple[Path, Path]) -> Path:
    """The Go that built the control plane, so its cache holds most of what the checks compile."""
    try:
        return golang.find(silent)
    except ToolMissingError as error:
        pytest.skip(str(error))


def run(*argv: str) -> str:
    return processes.run(argv, folder=checkout.CONTROL_PLANE, environment=controlplane.ENVIRONMENT)


def test_gofmt_would_change_nothing(go: Path) -> None:
    root = Path(run(str(go), "env", "GOROOT").strip())

    assert run(str(root / "bin" / "gofmt"), "-l", ".") == ""


def test_go_vet_finds_nothing(go: Path) -> None:
    run(str(go), "vet", *controlplane.OPTIONS, ".")


def test_its_own_tests_pass(go: Path) -> None:
    run(str(go), "test", "-vet=off", "-ldflags=-s -w", *controlplane.OPTIONS, ".")
