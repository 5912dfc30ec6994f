"""The Runs that are here: taken on by epoch and slot, cancelled, ended without a trace.

A Run has *ended* when its client has heard the last of it and whatever was not delivered is
deleted; draining waits for that.
"""

import asyncio
from collections.abc import Callable

from tridentserve.domain.ids import Epoch, SegmentId
from tridentserve.domain.stages import Stage
from tridentserve.errors import StaleEpochError
from tridentserve.stage.engine import Clock
from tridentserve.stage.handoff import Handoff
from tridentserve.stage.orders import Order
from tridentserve.stage.runs import Run
from tridentserve.stage.scheduling import Scheduler
from tridentserve.stage.segments import Segments, Ticket
from tridentserve.telemetry.metrics import WorkerMetrics


class Admission:
    """Admits Runs and follows them to their end; everything here runs on the event loop."""

    def __init__(
        self,
        *,
        segments: Segments,
        scheduler: Scheduler,
        handoff: Handoff,
        metrics: WorkerMetrics,
        clock: Clock,
    ) -> None:
        """Begin with no Run."""
        self._segments, self._scheduler, self._handoff = segments, scheduler, handoff
        self._metrics, self._clock = metrics, clock
        self._runs: dict[SegmentId, Run] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Runs that have not ended."""
        return len(self._runs)

    def admit(self, order: Order) -> Run:
        """Take a Run on and start it; `end` must be called for it, whatever happens.

        Raises:
            StaleEpochError: a newer decision about its request is known.
            ExhaustedError: no slot.
        """
        ticket = Ticket(
            segment=order.segment, request=order.request, epoch=order.epoch, stage=order.stage
        )
        for segment in self._segments.announce(ticket):
            self._runs[segment].cancel()
        self._segments.take(ticket)
        run = Run(
            order,
            scheduler=self._scheduler,
            handoff=self._handoff,
            clock=self._clock,
            free=self._freeing(order.segment, order.stage),
        )
        self._runs[order.segment] = run
        self._idle.clear()
        self._count(order.stage)
        return run

    async def cancel(self, segment: SegmentId, epoch: Epoch) -> bool:
        """Cancel a segment; False where it does not run here (any more).

        What it made is deleted in either case: a client that hung up cannot know whether it had
        just finished.

        Raises:
            StaleEpochError: it was started by a newer decision than this.
        """
        ticket = self._segments.find(segment)
        if ticket is None:
            await self._handoff.release_segment(segment)
            return False
        if epoch < ticket.epoch:
            raise StaleEpochError(f"segment {segment} runs with the newer epoch {ticket.epoch}")
        self._runs[segment].cancel()
        return True

    def end(self, run: Run) -> None:
        """Let a Run come to its end in the background: its client listens no more."""
        task = asyncio.create_task(self._settle(run), name=f"settle {run.order.segment}")
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def wait_idle(self) -> None:
        """Return when every Run has ended."""
        await self._idle.wait()

    def abort(self) -> None:
        """Break every Run off; its client hears that the worker goes away."""
        for run in self._runs.values():
            run.abort()

    async def _settle(self, run: Run) -> None:
        await run.settle()
        segment = run.order.segment
        self._segments.end(segment)
        del self._runs[segment]
        if not self._runs:
            self._idle.set()

    def _freeing(self, segment: SegmentId, stage: Stage) -> Callable[[], None]:
        def free() -> None:
            self._segments.free(segment)
            self._count(stage)

        return free

    def _count(self, stage: Stage) -> None:
        self._metrics.inflight(stage, self._segments.inflight(stage))
