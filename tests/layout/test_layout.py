"""The layout keeps its promises: nothing at the root can be imported, least of all `operator`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    "core",
    "operator",
    "router",
    "services",
    "services/encoder",
    "services/diffuser",
    "services/decoder",
    "protos",
    "deploy",
    "deploy/local",
    "tests",
)


def test_source_roots_are_not_packages() -> None:
    assert [folder for folder in FOLDERS if (ROOT / folder / "__init__.py").exists()] == []


def test_operator_is_the_standard_librarys_at_the_root() -> None:
    # -S, since a .pth file may import `operator` at start-up and so hide the shadowing.
    code = "import operator; print(operator.itemgetter(0)('a'))"
    answer = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert answer.stdout == "a\n"
