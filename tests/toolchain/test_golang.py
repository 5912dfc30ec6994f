"""A Go that is new enough is used, wherever it comes from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tridentserve_local.toolchain import golang
from tridentserve_local.toolchain.progress import silent

WriteProgram = Callable[[Path, str], Path]


@pytest.fixture
def wheels_go(cache_root: Path, write_program: WriteProgram) -> Path:
    """The Go that a wheel has brought before."""
    return write_program(cache_root / "go-1.26.6" / "go" / "bin" / "go", "exit 0")


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27rc1 darwin/arm64", (1, 27)),
        ("go version devel go1.28-2a3b4c Mon Nov 2 linux/amd64", (1, 28)),
        ("go version go1.9 linux/amd64", (1, 9)),
        ("gccgo (Debian 12.2.0) 12.2.0", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_version_is_read_as_numbers(printed: str, expected: tuple[int, int]) -> None:
    assert golang.version(printed) == expected


@pytest.mark.parametrize("version", ["1.26.0", "1.27rc1", "1.100.2"])
def test_a_new_go_on_path_is_used(
    bare_path: Path, wheels_go: Path, write_program: WriteProgram, version: str
) -> None:
    installed = write_program(bare_path / "go", f"echo go version go{version} linux/amd64")

    assert golang.find(silent) == installed


@pytest.mark.parametrize("script", ["echo go version go1.19.8 linux/amd64", "exit 1", "echo what"])
def test_an_old_or_broken_go_on_path_is_passed_over(
    bare_path: Path, wheels_go: Path, write_program: WriteProgram, script: str
) -> None:
    write_program(bare_path / "go", script)

    assert golang.find(silent) == wheels_go


@pytest.mark.usefixtures("bare_path")
def test_without_a_go_on_path_the_wheels_is_used(wheels_go: Path) -> None:
    assert golang.find(silent) == wheels_go
