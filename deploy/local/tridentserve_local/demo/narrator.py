"""Tells people what happens, every line with the seconds since the beginning.

Threads may share it: lines are written whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO


class Narrator:
    """Writes lines to a stream."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds; the story begins now."""
        self._stream, self._clock, self._began = stream, clock, clock()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._began

    def say(self, text: str) -> None:
        """Write a text; each of its lines carries the time."""
        stamp = f"[{self.seconds:5.1f} s] "
        with self._lock:
            for line in text.splitlines() or [""]:
                self._stream.write(f"{stamp}{line}".rstrip() + "\n")
            self._stream.flush()

    def chapter(self, title: str) -> None:
        """Write a title, set apart."""
        self.say(f"\n== {title}")
