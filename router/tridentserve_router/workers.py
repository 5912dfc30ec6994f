"""The directory of workers: pods come and go, and each one is asked what it is.

| what happens | what dispatch is told |
| --- | --- |
| a pod appears and its Describe answers | up |
| it describes itself differently (another slot count, a restart) | up, anew |
| it says that it drains, or its pod is labelled or being deleted | draining |
| the label is taken off, and it answers | up, anew |
| a call to it breaks, or Describe does not answer | down: nothing new for it … |
| … and it answers again | up |
| … and still does not after `lost_s`, or answers as another process, or its pod is gone | lost |

*Down* keeps running calls: a broken connection ends them by itself, and a slow answer need not be
the end of the work. *Lost* ends them, which is how a frozen node is survived. It decides nothing
about requests.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Protocol

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import MemoryDomain, PipelineName, WorkerId
from tridentserve.domain.model import ModelInfo
from tridentserve.errors import TridentServeError
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import stage_pb2
from tridentserve_router.links import Link, read_worker
from tridentserve_router.pods import Pod, PodSource

_log = logging.getLogger(__name__)

_DESCRIBE_TIMEOUT_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_POLLS_SPARED = 5
"""Looks at a worker that are left out in a row because its answers to Runs prove it well."""


class FleetListener(Protocol):
    """Who wants to know about workers; the dispatcher."""

    def worker_up(self, worker: Worker, model: ModelInfo) -> None:
        """It can be given work, unless it drains."""
        ...

    def worker_draining(self, worker: WorkerId) -> None:
        """It finishes what it runs."""
        ...

    def worker_down(self, worker: WorkerId, *, lost: bool) -> None:
        """It can be given nothing; with `lost`, what ran there is gone too."""
        ...


class Directory:
    """Every worker of one pipeline, kept up to date until `close`."""

    def __init__(
        self,
        *,
        pipeline: PipelineName,
        listener: FleetListener,
        poll_s: float,
        lost_s: float = 10.0,
    ) -> None:
        """Know nobody yet.

        Args:
            pipeline: whose workers; those of others at a reused address are left alone.
            listener: is told of every change, in order.
            poll_s: seconds between two looks at a worker that answers.
            lost_s: seconds without an answer after which what runs there is given up.
        """
        self._pipeline, self._listener = pipeline, listener
        self._poll_s, self.lost_s = poll_s, lost_s
        self._entries: dict[WorkerId, _Entry] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self, source: PodSource) -> None:
        """Follow the pods until cancelled."""
        async for pods in source.watch():
            self.reconcile(pods)

    def reconcile(self, pods: Mapping[WorkerId, Pod]) -> None:
        """Take a picture of all pods over."""
        for worker, entry in list(self._entries.items()):
            pod = pods.get(worker)
            if pod is None or (pod.uid, pod.address) != (entry.pod.uid, entry.pod.address):
                self._drop(worker)
        for worker, pod in pods.items():
            known = self._entries.get(worker)
            if known is None:
                entry = self._entries[worker] = _Entry(pod)
                entry.task = asyncio.create_task(self._attend(entry))
            elif pod.draining != known.pod.draining:
                known.pod = pod
                if not pod.draining:
                    # Up anew, with its next answer: it may drain for a reason of its own.
                    known.answer = None
                    known.look.set()
                elif known.worker is not None:
                    self._listener.worker_draining(worker)

    def link(self, worker: WorkerId) -> Link | None:
        """The way to a worker; None once its pod is gone."""
        entry = self._entries.get(worker)
        return entry.link if entry is not None else None

    def stand_in(self, domain: MemoryDomain | None) -> Link | None:
        """Any worker that answers and can reach tensors of this domain (None: of everybody)."""
        for entry in self._entries.values():
            if entry.up and entry.worker is not None and domain in (None, entry.worker.domain):
                return entry.link
        return None

    def suspect(self, worker: WorkerId) -> None:
        """A call to it broke: give it nothing until it has answered again."""
        entry = self._entries.get(worker)
        if entry is not None:
            self._down(entry)
            entry.look.set()

    def heard(self, worker: WorkerId) -> None:
        """It finished a Run: as good as an answer to Describe, and free."""
        entry = self._entries.get(worker)
        if entry is not None:
            entry.heard = True

    def look_again(self, worker: WorkerId) -> None:
        """It said something that contradicts its description: ask again now."""
        entry = self._entries.get(worker)
        if entry is not None:
            entry.look.set()

    async def close(self) -> None:
        """Forget everybody and close all channels; tells nobody."""
        entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            await _end(entry)
        while self._closing:
            await asyncio.gather(*self._closing)

    def _drop(self, worker: WorkerId) -> None:
        entry = self._entries.pop(worker)
        if entry.worker is not None:
            self._listener.worker_down(worker, lost=True)
        if entry.task is not None:
            entry.task.cancel()  # now: an answer that has just come would bring it up again
        task = asyncio.create_task(_end(entry))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _attend(self, entry: "_Entry") -> None:
        """Look at one worker again and again, sooner where somebody asks for it."""
        clock = asyncio.get_running_loop().time
        pause_s, answered_s = _FIRST_PAUSE_S, clock()
        spared = 0
        while True:
            entry.look.clear()
            if entry.heard and entry.up and spared < _POLLS_SPARED:
                spared, entry.heard, answered_s = spared + 1, False, clock()
                await self._wait(entry, self._poll_s)
                continue
            spared = 0
            try:
                answer = await entry.link.describe(_DESCRIBE_TIMEOUT_S)
                self._answered(entry, answer)
                wait_s, pause_s, answered_s = self._poll_s, _FIRST_PAUSE_S, clock()
            except TridentServeError as error:
                if entry.up:
                    _log.warning(
                        "worker down", extra={"worker": entry.pod.worker, "problem": str(error)}
                    )
                self._down(entry)
                if clock() - answered_s > self.lost_s:
                    self._lose(entry)
                wait_s, pause_s = pause_s, min(2 * pause_s, _LONGEST_PAUSE_S)
            await self._wait(entry, wait_s)

    async def _wait(self, entry: "_Entry", wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            # Not wait_for(), which in Python 3.11 swallows a cancellation that comes together
            # with the event: the task that looks would never end.
            async with asyncio.timeout(wait_s):
                await entry.look.wait()
        if entry.look.is_set():
            entry.heard = False  # somebody has a reason to doubt it

    def _answered(self, entry: "_Entry", answer: stage_pb2.DescribeResponse) -> None:
        if entry.up and answer == entry.answer:
            return
        if (answer.worker, answer.pipeline) != (entry.pod.worker, self._pipeline):
            _log.warning(
                "another worker answers",
                extra={"worker": entry.pod.worker, "answered": answer.worker},
            )
            self._down(entry)
            return
        worker = read_worker(answer, entry.pod.address)
        if entry.worker is not None and entry.worker.boot_id != worker.boot_id:
            self._lose(entry)
        known = entry.worker is not None
        entry.worker, entry.answer, entry.up = worker, answer, True
        if not known:
            _log.info("worker up", extra={"worker": worker.id, "stages": sorted(worker.capable)})
        self._listener.worker_up(worker, convert.model_from(answer.model))
        if entry.pod.draining:
            self._listener.worker_draining(worker.id)

    def _down(self, entry: "_Entry") -> None:
        if entry.up and entry.worker is not None:
            entry.up = False
            self._listener.worker_down(entry.worker.id, lost=False)

    def _lose(self, entry: "_Entry") -> None:
        if entry.worker is not None:
            self._listener.worker_down(entry.worker.id, lost=True)
        entry.worker, entry.answer, entry.up = None, None, False


class _Entry:
    """One pod and what is known of the worker in it."""

    def __init__(self, pod: Pod) -> None:
        """Begin to look at it."""
        self.pod = pod
        self.link = Link(pod.address)
        self.look = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.worker: Worker | None = None
        """As it described itself last; None before, and after it was lost."""
        self.answer: stage_pb2.DescribeResponse | None = None
        self.up = False
        self.heard = False
        """It finished a Run since the last look."""


async def _end(entry: _Entry) -> None:
    if entry.task is not None:
        entry.task.cancel()
        await asyncio.gather(entry.task, return_exceptions=True)
    await entry.link.close()
