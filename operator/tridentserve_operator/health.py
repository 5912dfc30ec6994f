"""Whether the loop still looks: `/healthz` tells the age of its last good tick.

A process whose event loop hangs does not answer at all; one whose loop task is stuck says so here.
"""

from collections.abc import Callable

MAX_AGE_S = 60.0
"""A tick comes every second and waits for nobody, so this is no busy loop but a stuck one."""


class Health:
    """Remembers the last good tick."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Count from now on."""
        self._clock = clock
        self._last_s = clock()

    def ticked(self) -> None:
        """A tick went through."""
        self._last_s = self._clock()

    def problem(self) -> str | None:
        """What is wrong, None where nothing is."""
        age_s = self._clock() - self._last_s
        if age_s <= MAX_AGE_S:
            return None
        return f"the last good tick was {age_s:.0f} s ago, more than {MAX_AGE_S:.0f} s"
