"""The books: every admitted request, until its journey has ended.

By them a request is cancelled, waited for, refused a second time under its key, and counted among
the work that is still to be done. They decide nothing.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tridentserve.domain.ids import RequestId
from tridentserve.domain.stages import Stage
from tridentserve.errors import AlreadyExistsError, TridentServeError
from tridentserve_router.forecast import Forecast
from tridentserve_router.walk import Walk


class Books:
    """Requests whose journeys have not ended."""

    def __init__(self) -> None:
        """Begin with none."""
        self._walks: dict[RequestId, Walk] = {}
        self._keys: set[str] = set()
        self._forecast = Forecast()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._walks)

    @property
    def backlog_s(self) -> Mapping[Stage, float]:
        """Seconds of work that they still have to do, by stage."""
        return self._forecast.backlog_s

    def find(self, request: RequestId) -> Walk | None:
        """The walk of a request; None where it is not running."""
        return self._walks.get(request)

    def check_key(self, key: str) -> None:
        """See that no request of this idempotency key runs.

        Raises:
            AlreadyExistsError: one does.
        """
        if key in self._keys:
            raise AlreadyExistsError(f"a request with the idempotency key {key!r} is running")

    @contextmanager
    def entered(
        self, request: RequestId, walk: Walk, key: str, own_s: Mapping[Stage, float]
    ) -> Iterator[None]:
        """Keep a request in the books; `own_s` is what its stages will take, as far as known."""
        self._walks[request] = walk
        self._forecast.add(request, own_s)
        walk.on_done = lambda stage: self._forecast.done(request, stage)
        self._idle.clear()
        if key:
            self._keys.add(key)
        try:
            yield
        finally:
            self._walks.pop(request, None)
            self._forecast.gone(request)
            self._keys.discard(key)
            if not self._walks:
                self._idle.set()

    async def wait_empty(self) -> None:
        """Return when every journey has ended."""
        await self._idle.wait()

    def end_all(self, why: TridentServeError) -> None:
        """End every request early."""
        for walk in list(self._walks.values()):
            walk.end(why)
