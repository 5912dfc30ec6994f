"""Long work is seen to move: what Go and pip print becomes a few words, and numbers that grow."""

import pytest

from tridentserve_local.toolchain.progress import Board, GoBuildProgress, PipProgress


def told(progress: GoBuildProgress | PipProgress, lines: list[str]) -> list[str]:
    return [news for line in lines if (news := progress.read(line + "\n"))]


def test_go_counts_the_modules_that_it_fetches_and_the_packages_that_it_compiles() -> None:
    lines = [
        "go: downloading k8s.io/api v0.37.2",
        "go: downloading golang.org/x/sys v0.35.0",
        "internal/goarch",
        "k8s.io/api/core/v1",
        "gopkg.in/yaml.v3",
    ]

    assert told(GoBuildProgress(2525), lines) == [
        "fetched 1 modules",
        "fetched 2 modules",
        "compiled 1 of 2525 packages",
        "compiled 2 of 2525 packages",
        "compiled 3 of 2525 packages",
    ]


@pytest.mark.parametrize(
    "line",
    ["", "# tridentserve.io/controlplane", "./main.go:3:1: syntax error", "go: updates to go.mod"],
)
def test_what_is_no_package_is_not_counted(line: str) -> None:
    assert GoBuildProgress(10).read(line) is None


def test_more_packages_than_expected_never_read_as_more_than_all() -> None:
    progress = GoBuildProgress(1)
    progress.read("fmt")

    assert progress.read("os") == "compiled 2 of 2 packages"


def test_pip_names_what_it_fetches_and_how_far_it_is() -> None:
    lines = [
        "Collecting torch>=2.8 (from tridentserve==0.1.0)",
        "  Downloading torch-2.15.0-cp311-cp311-manylinux_2_28_x86_64.whl (901.3 MB)",
        "Progress 450500000 of 901300000",
        "Requirement already satisfied: pip",
        "Installing collected packages: mpmath, sympy, torch",
    ]

    assert told(PipProgress(), lines) == [
        "looking at torch>=2.8 (from tridentserve==0.1.0)",
        "fetching torch",
        "fetching torch (450 of 901 MB)",
        "unpacking 3 packages",
    ]


def test_a_file_from_a_mirror_is_named_without_its_address() -> None:
    assert PipProgress().read("Downloading https://mirror/x/kopf-1.45.2-py3.whl") == "fetching kopf"


class Clock:
    """A clock that stands until it is set."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def test_the_board_shows_all_parts_side_by_side_and_the_seconds_since_it_was_made() -> None:
    clock = Clock()
    board = Board(clock)
    with board.part("Go") as go, board.part("pip") as pip:
        go("compiling")
        pip("fetching torch")
        clock.now += 83
        pip("unpacking")

        assert board.line() == "[  83 s] Go: compiling | pip: unpacking"

    assert board.line() == ""


def test_a_part_that_has_said_nothing_is_not_shown() -> None:
    board = Board(Clock())
    with board.part("Go"):
        assert board.line() == ""


def test_a_part_that_fails_leaves_the_board() -> None:
    board = Board(Clock())

    def fail() -> None:
        with board.part("Go") as report:
            report("compiling")
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        fail()

    assert board.line() == ""


def test_work_that_is_over_at_once_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    board = Board(Clock())
    with board.shown(), board.part("Go") as report:
        report("compiling")

    assert capsys.readouterr() == ("", "")
