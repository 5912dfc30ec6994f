"""The set-up of a fresh clone, by the command of `make`, with a Python and a Go that pretend.

The clone holds the toolchain itself; its `.venv/bin/python` and the `go` on PATH are scripts that
write down how they were called, so nothing is fetched, and each test takes a second.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tridentserve_local.toolchain import checkout

WriteProgram = Callable[[Path, str], Path]

TOOLS = (
    "kubectl-1.37.1/kubectl",
    "helm-2.0.0/helm",
    "redis-server-6.2.912183/redis-server",
)
GO = """
echo "go $*" >> "$LOG"
case "$*" in
  version) echo go version go1.26.8 linux/amd64 ;;
  "list -deps .") echo internal/goarch ;;
  *) [ -z "$GO_FAILS" ] || { echo no such module; exit 1; }
     [ -z "$GO_HANGS" ] || { echo $$ > "$GO_HANGS"; exec sleep 1000; }
     while [ "$1" != -o ]; do shift; done
     touch "$2"; chmod +x "$2" ;;
esac
"""
PYTHON = """
echo "python $*" >> "$LOG"
case "$*" in
  *--editable*) [ -z "$PIP_FAILS" ] || { echo no matching distribution; exit 1; } ;;
esac
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A clone of the repository on a machine of its own."""

    root: Path
    environment: dict[str, str]

    def start(self, *options: str, **variables: str) -> subprocess.Popen[str]:
        """Begin the set-up."""
        return subprocess.Popen(
            [sys.executable, "-m", "tridentserve_local.toolchain", "setup", *options],
            cwd=self.root,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def set_up(self, *options: str, **variables: str) -> tuple[int, str]:
        """Do the set-up; returns its status and what it printed."""
        with self.start(*options, **variables) as process:
            assert process.stdout is not None
            printed = process.stdout.read()
        return process.returncode, printed

    def calls(self) -> list[str]:
        """What was called since the last time: installations and builds."""
        log = Path(self.environment["LOG"])
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [word for line in lines for word in ("--editable", "build") if word in line.split()]


@pytest.fixture
def clone(tmp_path: Path, write_program: WriteProgram) -> Clone:
    root = tmp_path / "clone"
    toolchain = root / "deploy" / "local" / "tridentserve_local" / "toolchain"
    shutil.copytree(
        checkout.ROOT / "deploy/local/tridentserve_local/toolchain",
        toolchain,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (toolchain.parent / "__init__.py").touch()
    shutil.copytree(checkout.CONTROL_PLANE, root / "deploy" / "local" / "controlplane")
    (root / "protos").mkdir()
    (root / "protos" / "stage.proto").write_text('syntax = "proto3";')
    (root / "pyproject.toml").write_text("[project]")
    write_program(root / ".venv" / "bin" / "python", PYTHON)
    write_program(tmp_path / "bin" / "go", GO)
    for name in ("prometheus", "redis-server"):
        write_program(tmp_path / "bin" / name, "exit 0")
    for name in TOOLS:
        write_program(tmp_path / "cache" / name, "exit 0")
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(toolchain.parents[1]),
        "TRIDENTSERVE_CACHE": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
        "LOG": str(tmp_path / "calls"),
    }
    return Clone(root=root, environment=environment)


def test_a_fresh_clone_is_installed_and_its_control_plane_built(clone: Clone) -> None:
    status, printed = clone.set_up()

    assert status == 0, printed
    assert sorted(clone.calls()) == ["--editable", "build"]
    assert "the Python packages are installed" in printed
    assert "the control plane is built" in printed


def test_a_second_run_does_and_says_nothing(clone: Clone) -> None:
    clone.set_up()
    clone.calls()

    assert clone.set_up() == (0, "")
    assert clone.calls() == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("protos/stage.proto", ["--editable"]),
        ("pyproject.toml", ["--editable"]),
        ("deploy/local/controlplane/main.go", ["build"]),
        ("deploy/local/controlplane/README.md", []),
    ],
)
def test_a_change_does_anew_what_rests_on_it_and_nothing_else(
    clone: Clone, changed: str, expected: list[str]
) -> None:
    clone.set_up()
    clone.calls()
    with (clone.root / changed).open("a") as file:
        file.write("\n// changed\n")

    status, printed = clone.set_up()

    assert status == 0, printed
    assert clone.calls() == expected


def test_a_failed_installation_is_told_with_pips_words_and_repeated_the_next_time(
    clone: Clone,
) -> None:
    status, printed = clone.set_up(PIP_FAILS="yes")

    assert status == 1
    assert "no matching distribution" in printed
    assert "run: make setup" in printed
    clone.calls()
    assert clone.set_up()[0] == 0
    assert "--editable" in clone.calls()


def test_a_failed_build_is_told_with_gos_words_and_repeated_the_next_time(clone: Clone) -> None:
    status, printed = clone.set_up(GO_FAILS="yes")

    assert status == 1
    assert "no such module" in printed
    clone.calls()
    assert clone.set_up()[0] == 0
    assert clone.calls() == ["build"]


def test_keep_going_names_what_is_missing_and_succeeds(clone: Clone) -> None:
    status, printed = clone.set_up("--keep-going", GO_FAILS="yes")

    assert status == 0
    assert "the control plane is missing" in printed
    assert "no such module" in printed


def test_keep_going_does_not_hide_a_failed_installation(clone: Clone) -> None:
    assert clone.set_up("--keep-going", PIP_FAILS="yes")[0] == 1


@pytest.fixture
def hanging(clone: Clone, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A set-up in the middle of its build, and the process id of that build."""
    written = tmp_path / "build.pid"
    with clone.start(GO_HANGS=str(written)) as process:
        deadline = time.monotonic() + 60
        while not (written.exists() and written.read_text().strip()):
            assert time.monotonic() < deadline, "the build did not start"
            assert process.poll() is None, "the set-up ended by itself"
            time.sleep(0.01)
        yield process, int(written.read_text())
        process.terminate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_set_up_that_is_stopped_leaves_no_build_behind(
    hanging: tuple[subprocess.Popen[str], int], number: signal.Signals
) -> None:
    process, build = hanging

    process.send_signal(number)
    assert process.wait(60) == 128 + number

    with pytest.raises(ProcessLookupError):
        os.kill(build, 0)


def test_a_set_up_that_waits_for_the_build_of_another_can_be_stopped(
    clone: Clone, hanging: tuple[subprocess.Popen[str], int]
) -> None:
    with clone.start() as waits:
        assert waits.stdout is not None
        assert any("another process is building it" in line for line in waits.stdout)

        waits.send_signal(signal.SIGINT)

        assert waits.wait(60) == 128 + signal.SIGINT
    os.kill(hanging[1], 0)  # the other one goes on


def test_a_set_up_that_was_killed_is_taken_up_again(
    clone: Clone, hanging: tuple[subprocess.Popen[str], int]
) -> None:
    process, build = hanging
    process.kill()
    process.wait(60)
    os.kill(build, signal.SIGKILL)
    clone.calls()

    status, printed = clone.set_up()

    assert status == 0, printed
    assert "build" in clone.calls()
