"""Shows that long work moves: what each part is doing and for how long, every few seconds.

Prints whole lines, to stderr: they survive in the log of a CI run, and two parts that run side by
side do not write over one another.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str], None]
"""Told in a few words what is being done now."""

_INTERVAL_S = 5.0


def silent(_: str) -> None:
    """A report that nobody reads."""


class GoBuildProgress:
    """What `go build -v` has done, by what it prints on stderr.

    It prints a line for each module that it fetches, and the import path of each package that it
    has to compile, none for a package in its cache.
    """

    def __init__(self, packages: int) -> None:
        """`packages` is how many it compiles at most."""
        self._packages = packages
        self._fetched = 0
        self._compiled = 0

    def read(self, line: str) -> str | None:
        """Take one line of output; returns what to report, or None if it is no news."""
        line = line.strip()
        if line.startswith("go: downloading "):
            self._fetched += 1
            return f"fetched {self._fetched} modules"
        if re.fullmatch(r"[\w.~-]+(/[\w.~+-]+)*", line):
            self._compiled += 1
            return f"compiled {self._compiled} of {max(self._compiled, self._packages)} packages"
        return None


class PipProgress:
    """What `pip install --progress-bar raw` is doing, by what it prints on stdout."""

    def __init__(self) -> None:
        """Begin before the first line."""
        self._file = ""

    def read(self, line: str) -> str | None:
        """Take one line of output; returns what to report, or None if it is no news."""
        line = line.strip()
        if found := re.match(r"Downloading (\S+)", line):
            self._file = found[1].rsplit("/", 1)[-1].split("-")[0]
            return f"fetching {self._file}"
        if found := re.match(r"Progress (\d+) of (\d+)$", line):
            done, total = (int(number) // 1_000_000 for number in found.groups())
            return f"fetching {self._file} ({done} of {total} MB)"
        if line.startswith("Installing collected packages"):
            return f"unpacking {line.count(',') + 1} packages"
        if found := re.match(r"(Collecting|Building|Preparing|Getting|Installing) (.+)", line):
            return line[:60].lower() if found[1] != "Collecting" else f"looking at {found[2][:40]}"
        return None


class Board:
    """The parts of some work, and what each is doing now; threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._parts: dict[str, str] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[Report]:
        """A part of the work, on the board while the block runs and has said what it does."""

        def report(doing: str) -> None:
            with self._lock:
                self._parts[name] = doing

        try:
            yield report
        finally:
            with self._lock:
                self._parts.pop(name, None)

    def line(self) -> str:
        """All parts in one line, with the seconds since the board was made; "" when idle."""
        with self._lock:
            parts = " | ".join(f"{part}: {doing}" for part, doing in self._parts.items())
        return f"[{self._clock() - self._began:4.0f} s] {parts}" if parts else ""

    def say(self, text: str) -> None:
        """Print a line of its own at once."""
        print(f"[{self._clock() - self._began:4.0f} s] {text}", file=sys.stderr, flush=True)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Print the line every few seconds while the block runs."""
        ended = threading.Event()

        def show() -> None:
            while not ended.wait(_INTERVAL_S):
                if line := self.line():
                    print(line, file=sys.stderr, flush=True)

        thread = threading.Thread(target=show, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
