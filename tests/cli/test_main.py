"""`tridentserve` runs the sub-command asked for, loads no other, and says errors in one line."""

import argparse
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from types import SimpleNamespace

import pytest

from tridentserve.cli import __main__ as cli
from tridentserve.errors import InvalidFieldError


class Entry:
    """An entry point that can be asked whether it was loaded."""

    def __init__(self, name: str, error: BaseException | None = None) -> None:
        """A command that prints its argument and exits 7, or raises."""
        self.name, self.loaded, self._error = name, False, error

    def load(self) -> SimpleNamespace:
        """The command."""
        self.loaded = True
        return SimpleNamespace(__doc__="Does it.", configure=self.configure, run=self.run)

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """One argument."""
        parser.add_argument("--what", default="")

    def run(self, args: argparse.Namespace) -> int:
        """Raise or print."""
        if self._error is not None:
            raise self._error
        sys.stdout.write(f"{args.what}\n")
        return 7


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    found = {
        "draw": Entry("draw"),
        "fail": Entry("fail", InvalidFieldError("--what", "must be a thing")),
        "stop": Entry("stop", KeyboardInterrupt()),
    }
    monkeypatch.setattr(cli, "entry_points", lambda group: list(found.values()))
    return found


def test_it_runs_the_command_and_loads_no_other(
    commands: dict[str, Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["draw", "--what", "fox"]) == 7
    assert capsys.readouterr().out == "fox\n"
    assert [entry.name for entry in commands.values() if entry.loaded] == ["draw"]


def test_an_error_of_ours_is_one_line_and_an_exit_status(
    commands: dict[str, Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fail"]) == 1
    assert capsys.readouterr().err == "tridentserve fail: --what: must be a thing\n"


def test_ctrl_c_has_the_shells_exit_status(commands: dict[str, Entry]) -> None:
    assert cli.main(["stop"]) == 130


def test_a_reader_that_goes_away_ends_it_without_a_word(
    commands: dict[str, Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)

        assert cli.main(["draw", "--what", "fox"]) == 141


@pytest.mark.parametrize("given", [["paint"], []])
def test_without_a_command_it_says_which_there_are(
    commands: dict[str, Entry], capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(given)

    said = capsys.readouterr()
    assert "draw" in said.out + said.err


def test_the_commands_of_this_project_are_installed() -> None:
    installed: dict[str, EntryPoint] = {
        entry.name: entry for entry in entry_points(group=cli.GROUP)
    }

    assert set(installed) >= {"generate", "local", "models"}
    for entry in installed.values():
        assert callable(entry.load().run)
