"""Runs programs and reads what they print, without leaving one behind."""

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LINES_KEPT = 20
_running: set[subprocess.Popen[str]] = set()
_ending = threading.Event()


class CommandFailedError(Exception):
    """A program ended with a status other than 0; `output` is the last of what it printed."""

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        """Keep what a person needs to see."""
        super().__init__(f"`{' '.join(argv)}` ended with status {status}:\n{output}")
        self.output = output


def run(
    argv: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    each_line: Callable[[str], None] = lambda line: None,
) -> str:
    """Run a program to its end and return what it printed, stdout and stderr together.

    `environment` is laid over this process's own. If this process is interrupted meanwhile, the
    program is ended too.

    Raises:
        CommandFailedError: it ended with another status than 0, or is not there (127), or `end_all`
            was called (130).
    """
    if _ending.is_set():
        raise CommandFailedError(argv, 130, "it was not begun: all is to end")
    try:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as error:
        raise CommandFailedError(argv, 127, str(error)) from error
    lines: list[str] = []
    with process:
        _running.add(process)
        if _ending.is_set():  # since it was asked for above
            process.terminate()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                each_line(line)
        except BaseException:
            process.terminate()
            raise
        finally:
            _running.discard(process)
    if process.returncode != 0:
        raise CommandFailedError(argv, process.returncode, "".join(lines[-_LINES_KEPT:]).rstrip())
    return "".join(lines)


def end_all() -> None:
    """End what other threads run, and let none begin anything any more.

    A thread cannot be interrupted, but what it waits for can, and what it would do next.
    """
    _ending.set()
    for process in list(_running):
        process.terminate()
