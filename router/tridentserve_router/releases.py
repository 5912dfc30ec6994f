"""Telling producers that tensors are not needed any more, in the background.

Journeys end many times a second and each owes a word to two producers, so the references of one
worker are collected for a moment and travel in one call. A producer that cannot be reached is
asked again. One whose process is gone has a stand-in, which is told whose the tensors were: what
runs under its name now or, once its pod is gone or after `_TRIES`, any worker for the network store
and one of the same memory domain for shared memory. After that only the store's expiry is left.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Protocol, cast

from tridentserve.domain.dispatch import Segment
from tridentserve.domain.ids import MemoryDomain, WorkerId
from tridentserve.errors import TridentServeError
from tridentserve.rpc.v1 import tensor_pb2
from tridentserve_router.links import Link
from tridentserve_router.moves import Held

_log = logging.getLogger(__name__)

_COLLECT_S = 0.5
"""A call costs the router as much processor time as a third of a Run; memory is held this much
longer for it."""
_TIMEOUT_S = 5.0
_TRIES = 6
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_REFS_A_CALL = 256


class Links(Protocol):
    """Ways to workers; the directory."""

    def link(self, worker: WorkerId) -> Link | None:
        """The way to a worker; None once its pod is gone."""
        ...

    def stand_in(self, domain: MemoryDomain | None) -> Link | None:
        """Any worker that answers and can reach tensors of this domain (None: of everybody)."""
        ...


class Releases:
    """What is owed to producers."""

    def __init__(self, links: Links, *, collect_s: float = _COLLECT_S) -> None:
        """Owe nothing; `collect_s` is how long references are collected."""
        self._links, self._collect_s = links, collect_s
        self._owed: dict[tuple[WorkerId, str], list[Held]] = {}
        """By worker and boot id: one process made all of a list."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, held: Iterable[Held]) -> None:
        """Owe these too; returns at once."""
        for one in held:
            self._owed.setdefault((one.worker, one.boot_id), []).append(one)
        if self._owed and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._collect_s, self._send)

    def abandon(self, segment: Segment) -> None:
        """Have a segment cancelled whose call was dropped; returns at once.

        A dropped call is not acknowledged: to a worker that has just finished it looks as if its
        result had arrived, and the hand-off would stay until it expires.
        """
        self._keep(asyncio.create_task(self._cancel(segment)))

    async def flush(self) -> None:
        """Send what is owed now, and return when every try has ended."""
        self._send()
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def close(self) -> None:
        """Give the rest up."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        owed, self._owed = self._owed, {}
        for (worker, _), held in owed.items():
            for first in range(0, len(held), _REFS_A_CALL):
                some = held[first : first + _REFS_A_CALL]
                self._keep(asyncio.create_task(self._release(worker, some)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel(self, segment: Segment) -> None:
        link = self._links.link(segment.worker)
        if link is None:
            return
        try:
            await link.cancel(segment.id, segment.epoch, _TIMEOUT_S)
        except TridentServeError as error:
            _log.info("cancel not heard", extra={"segment": segment.id, "problem": str(error)})

    async def _release(self, worker: WorkerId, held: list[Held]) -> None:
        pause_s = _FIRST_PAUSE_S
        for _ in range(_TRIES):
            held = await self._try(worker, held)
            if not held:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        # It may be loading its model for minutes, as a process that knows nothing of these.
        held = await _ask_stand_ins(self._links, held)
        if not held:
            return
        _log.warning("release given up", extra={"worker": worker, "references": len(held)})

    async def _try(self, worker: WorkerId, held: list[Held]) -> list[Held]:
        """Ask the producer, or its stand-ins once it is gone; answers what is still owed."""
        link = self._links.link(worker)
        if link is not None:
            return [] if await _ask(link, held) else held
        return await _ask_stand_ins(self._links, held)


async def _ask_stand_ins(links: Links, held: list[Held]) -> list[Held]:
    left = []
    for domain in {one.domain for one in held}:
        some = [one for one in held if one.domain == domain]
        stand_in = links.stand_in(domain)
        if stand_in is None or not await _ask(stand_in, some):
            left += some
    return left


async def _ask(link: Link, held: list[Held]) -> bool:
    refs = [cast(tensor_pb2.TensorRef, one.ref) for one in held]
    try:
        await link.release(refs, held[0].boot_id, _TIMEOUT_S)
    except TridentServeError as error:
        _log.info("release not heard", extra={"address": link.address, "problem": str(error)})
        return False
    return True
