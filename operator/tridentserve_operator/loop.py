"""The one loop: every second, whatever is dirty or due is looked at.

Level-based: a mark says *that* something happened, never what. A look that fails comes again, later
each time; it stops no other pipeline, and the loop waits for none of them: a pipeline that is still
being looked at is left alone, and stays dirty.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tridentserve.domain.ids import PipelineName
from tridentserve.errors import TemporaryError
from tridentserve.manifest.base import Object
from tridentserve.telemetry.metrics import OperatorMetrics
from tridentserve_operator.health import Health
from tridentserve_operator.observe import Observation
from tridentserve_operator.reconcile import Kept, Reconciler

log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Looks that talk to the API server at the same time."""
_FIRST_DELAY_S, _LAST_DELAY_S = 1.0, 60.0


class Sources(Protocol):
    """What is watched."""

    def pipelines(self) -> Iterable[PipelineName]:
        """Every pipeline that is there."""
        ...

    def body(self, name: PipelineName) -> Object | None:
        """The resource as the API server has it, None where it is gone."""
        ...

    def observe(self, name: PipelineName, uid: str, now: float) -> Observation:
        """Everything of it that is watched."""
        ...


@dataclass(slots=True, kw_only=True)
class _Entry:
    kept: Kept = field(default_factory=Kept)
    next_look_s: float = 0.0
    failures: int = 0
    task: asyncio.Task[None] | None = None


class Loop:
    """Looks at every pipeline when it is due."""

    def __init__(
        self,
        reconciler: Reconciler,
        metrics: OperatorMetrics,
        health: Health,
        clock: Callable[[], float],
        *,
        tick_s: float,
    ) -> None:
        """Stand still until `attach`; `clock` gives Unix time."""
        self._reconciler, self._metrics, self._health = reconciler, metrics, health
        self._clock, self._tick_s = clock, tick_s
        self._sources: Sources | None = None
        self._entries: dict[PipelineName, _Entry] = {}
        self._dirty: set[PipelineName] = set()
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    def attach(self, sources: Sources) -> None:
        """Read from these; called before the first mark."""
        self._sources = sources

    def mark(self, name: PipelineName) -> None:
        """Something about this pipeline changed.

        Also the sign that the indexes are complete: kopf calls no handler before. Only pipelines
        that were marked once are looked at, so no look takes an index that is still being filled
        for a cluster without Deployments.
        """
        self._dirty.add(name)

    async def run(self) -> None:
        """Tick until cancelled."""
        try:
            while True:
                self.tick()
                self._health.ticked()
                await asyncio.sleep(self._tick_s)
        finally:
            tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def tick(self) -> None:
        """Begin a look at whatever is dirty or due."""
        sources, now = self._sources, self._clock()
        if sources is None:
            return
        there = set(sources.pipelines())
        for name in self._dirty & there:
            self._entries.setdefault(name, _Entry())
        for name in list(self._entries):
            entry = self._entries[name]
            if entry.task is not None and not entry.task.done():
                continue
            if name not in there:
                del self._entries[name]
                self._metrics.forget(name)
            elif self._is_due(name, entry, now):
                self._dirty.discard(name)
                entry.task = asyncio.create_task(self._look(name, entry, sources))
        self._dirty &= there

    def _is_due(self, name: PipelineName, entry: _Entry, now: float) -> bool:
        # After a failure marks do not count: the very retry that fails may be what marks it.
        waits = entry.failures > 0 and now < entry.next_look_s <= now + _LAST_DELAY_S
        return not waits and (name in self._dirty or now >= entry.next_look_s)

    async def _look(self, name: PipelineName, entry: _Entry, sources: Sources) -> None:
        async with self._at_once:
            now = self._clock()
            try:
                body = sources.body(name)
                if body is None or "deletionTimestamp" in body["metadata"]:
                    entry.next_look_s = float("inf")
                    return
                observed = sources.observe(name, body["metadata"]["uid"], now)
                with self._metrics.reconcile.time():
                    next_s = await self._reconciler.look(body, observed, entry.kept, now)
            except TemporaryError as error:
                delay_s = self._failed(name, entry)
                extra = {"pipeline": name, "problem": str(error), "again_s": delay_s}
                log.warning("look failed", extra=extra)
            except Exception:  # the border of one pipeline: a defect in it must not stop the others
                delay_s = self._failed(name, entry)
                log.exception("look broke", extra={"pipeline": name, "again_s": delay_s})
            else:
                entry.failures, entry.next_look_s = 0, next_s

    def _failed(self, name: PipelineName, entry: _Entry) -> float:
        self._metrics.failures.labels(name).inc()
        delay_s: float = min(_LAST_DELAY_S, _FIRST_DELAY_S * 2**entry.failures)
        entry.failures = min(entry.failures + 1, 10)
        entry.next_look_s = self._clock() + delay_s
        return delay_s
