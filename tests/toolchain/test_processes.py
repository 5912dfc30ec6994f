"""What a program printed is seen, and none is left behind."""

import threading
from pathlib import Path

import pytest

from tridentserve_local.toolchain import processes


def test_lines_are_seen_as_they_come_and_returned_together(tmp_path: Path) -> None:
    lines: list[str] = []

    printed = processes.run(
        ["sh", "-c", 'echo "$GREETING"; pwd >&2'],
        folder=tmp_path,
        environment={"GREETING": "hello"},
        each_line=lines.append,
    )

    assert lines == ["hello\n", f"{tmp_path}\n"]
    assert printed == "".join(lines)


def test_a_failure_shows_the_command_its_status_and_its_last_lines() -> None:
    with pytest.raises(processes.CommandFailedError) as caught:
        processes.run(["sh", "-c", "seq 100; echo no such module; exit 3"])

    assert "status 3" in str(caught.value)
    assert caught.value.output.endswith("100\nno such module")
    assert "\n50\n" not in caught.value.output


def test_a_program_that_is_not_there_is_a_failure_like_others(tmp_path: Path) -> None:
    with pytest.raises(processes.CommandFailedError, match="status 127"):
        processes.run([str(tmp_path / "nothing")])


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    assert processes.run(["sh", "-c", r"printf 'a\377b\n'"]) == "a\N{REPLACEMENT CHARACTER}b\n"


def test_a_program_waits_for_no_input() -> None:
    assert processes.run(["cat"]) == ""


def test_an_interruption_ends_the_program() -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    # The pipe holds the program's death back: run() returns only once all its ends are closed.
    with pytest.raises(KeyboardInterrupt):
        processes.run(["sh", "-c", "echo up; exec sleep 1000"], each_line=interrupt)


def test_what_another_thread_waits_for_can_be_ended_and_it_begins_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "_ending", threading.Event())
    up = threading.Event()
    failures: list[processes.CommandFailedError] = []

    def wait() -> None:
        try:
            processes.run(["sh", "-c", "echo up; exec sleep 1000"], each_line=lambda _: up.set())
        except processes.CommandFailedError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    up.wait()
    processes.end_all()
    thread.join()

    assert "status -15" in str(failures[0])
    with pytest.raises(processes.CommandFailedError, match="status 130"):
        processes.run(["true"])
