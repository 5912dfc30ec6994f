"""Trying a store again that is away, or full for now.

What took minutes to make is not to be thrown away because Redis restarts, or has no room until the
next hand-off is released. A Run that waits here keeps its slot and its tensors, but no thread.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from tridentserve.errors import ExhaustedError, UnavailableError
from tridentserve.stage.engine import Clock

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

PATIENCE_S = 10.0
"""From the first try on, since a frozen store takes half of it to fail once. A journey tries each
stage three times, so that a store may be away for half a minute; callers that wait for one minute
then still hear what was wrong."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0

Sleep = Callable[[float, asyncio.Event], Awaitable[None]]
"""Returns after so many seconds, or at once when the event is set."""


async def sleep(seconds: float, given_up: asyncio.Event) -> None:
    """See `Sleep`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await given_up.wait()


class Patience:
    """How long, and how often, a store is asked again."""

    def __init__(self, *, clock: Clock = time.monotonic, sleep: Sleep = sleep) -> None:
        """Prepare; `clock` is monotonic."""
        self._clock, self._sleep = clock, sleep

    async def keep_trying(
        self, attempt: Callable[[], Awaitable[_T]], given_up: asyncio.Event
    ) -> _T:
        """What `attempt` returns, at last; a tensor that is gone or corrupted is not tried again.

        Raises:
            ExhaustedError: still full when patience was over, or when it was given up.
            UnavailableError: likewise, still away.
        """
        pause_s = _FIRST_PAUSE_S
        end_s, told = self._clock() + PATIENCE_S, False
        while True:
            try:
                return await attempt()
            except (ExhaustedError, UnavailableError) as error:
                if not told:
                    _log.warning("store away or full", extra={"problem": str(error)})
                    told = True
                if self._clock() + pause_s > end_s:
                    raise
                await self._sleep(pause_s, given_up)
                if given_up.is_set():
                    raise
            pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)
