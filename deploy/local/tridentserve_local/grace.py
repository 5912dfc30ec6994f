"""How long something may still take to end: a deadline that can come nearer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


class Grace:
    """A deadline on the event loop's clock.

    Deleting a pod a second time with a shorter grace period must take effect while the first is
    being waited for.
    """

    def __init__(self, seconds: float) -> None:
        """The time starts now."""
        self._at = self._now() + seconds
        self._nearer = asyncio.Event()

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(self._at - self._now(), 0.0)

    def shorten(self, seconds: float) -> None:
        """The deadline is at most so many seconds from now."""
        at = self._now() + seconds
        if at < self._at:
            self._at = at
            self._nearer.set()

    async def outlasts(self, work: Awaitable[object], at_least_s: float = 0.0) -> bool:
        """Whether the work ended before the deadline; it is cancelled if it did not.

        `at_least_s` is given even when the deadline has passed already.
        """
        earliest = self._now() + at_least_s
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                left = max(self._at, earliest) - self._now()
                if left <= 0:
                    return False
                self._nearer.clear()
                nearer = asyncio.ensure_future(self._nearer.wait())
                await asyncio.wait({task, nearer}, timeout=left, return_when="FIRST_COMPLETED")
                nearer.cancel()
            task.result()
            return True
        finally:
            task.cancel()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
