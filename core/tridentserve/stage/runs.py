"""One Run from admission to delivery: fetch, wait, run, put, tell.

The work is a task of its own, and not the handler of the call: a client that goes away cancels its
handler wherever it stands, and a put that is broken off there would leave a tensor that nobody
knows. So the handler only listens; when it ends, the work is told, ends where it safely can, and
whatever it made that was not delivered is deleted.

`finished` counts as delivered once gRPC has taken it over; no client says that it read it. One that
hangs up in that moment can still cancel the segment by `Control`, which deletes what it made; for
one that died, the time to live of the tensors is all there is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import CancelledError, TridentServeError, UnavailableError
from tridentserve.rpc import convert
from tridentserve.rpc.status import DRAINING
from tridentserve.rpc.v1 import common_pb2, stage_pb2
from tridentserve.stage.engine import Clock
from tridentserve.stage.handoff import Handoff
from tridentserve.stage.jobs import Done, Job
from tridentserve.stage.orders import Order
from tridentserve.stage.runner import Media
from tridentserve.stage.scheduling import Scheduler

CHUNK_BYTES = 1_000_000
"""Media travel in messages of at most this size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    output: TensorRef | None
    done: Done
    fetch_s: float
    put_s: float


class Run:
    """One accepted Run; made on the event loop."""

    def __init__(
        self,
        order: Order,
        *,
        scheduler: Scheduler,
        handoff: Handoff,
        clock: Clock,
        free: Callable[[], None],
    ) -> None:
        """Start the work; `free` gives the slot back, and may be called more than once."""
        self.order = order
        self._scheduler, self._handoff, self._clock, self._free = scheduler, handoff, clock, free
        self._job = Job(segment=order.segment, key=order.key, generation=order.generation)
        self._delivered = False
        self._given_up = asyncio.Event()
        self._work = asyncio.create_task(self._perform(), name=f"run {order.segment}")
        self._work.add_done_callback(lambda _: self._job.changed.set())

    def cancel(self) -> None:
        """Stop it: now while it waits, at the next step while it runs. The slot is free at once."""
        self._free()
        self._given_up.set()
        self._scheduler.cancel(self._job)
        self._job.changed.set()

    async def events(self) -> AsyncIterator[stage_pb2.RunEvent]:
        """What the client hears; `finished` is last.

        Raises:
            TridentServeError: the Run failed, or was cancelled.
        """
        told_batch, told_step = 0, None
        while True:
            await self._job.changed.wait()
            self._job.changed.clear()
            # Read before the job is: what it told until then must not be lost.
            ended = self._work.done()
            if self._job.batch and not told_batch:
                told_batch = self._job.batch
                yield stage_pb2.RunEvent(started=stage_pb2.StageStarted(batch=told_batch))
            if self._job.step is not None and self._job.step != told_step:
                told_step = self._job.step
                step, steps = told_step
                yield stage_pb2.RunEvent(progress=stage_pb2.StepProgress(step=step, steps=steps))
            if ended:
                break
        try:
            result = self._result()
        except TridentServeError:
            self._free()  # before the status and not after it, for the same reason as below
            raise
        for index, media in enumerate(result.done.output.media):
            for chunk in _chunks(index, media):
                yield stage_pb2.RunEvent(media=chunk)
        # Before `finished` and not after it: who reads it may send the next Run at once.
        self._free()
        yield stage_pb2.RunEvent(finished=self._finished(result))
        self._delivered = True

    async def settle(self) -> None:
        """End it: wait for the work, and delete what was made in vain."""
        if not self._delivered:
            self.cancel()
        await asyncio.wait([self._work])
        self._free()
        wanted = self._delivered and not self._job.cancelled
        if wanted or self._work.cancelled():
            return
        if (error := self._work.exception()) is not None:
            # Its traceback holds this Run, which holds the error: a ring that would keep what a
            # failed Run made until the garbage collector comes by.
            error.with_traceback(None)
            return
        if (output := self._work.result().output) is not None:
            await self._handoff.release([output])

    def abort(self) -> None:
        """Break the work off wherever it stands: only for a process that ends."""
        self._work.cancel()

    def _result(self) -> _Result:
        if self._work.cancelled():
            raise UnavailableError("the worker is going away", reason=DRAINING)
        if self._job.cancelled:
            raise CancelledError(f"segment {self.order.segment} was cancelled")
        return self._work.result()

    async def _perform(self) -> _Result:
        started_s = self._clock()
        if self.order.input is not None:
            self._job.inputs = await self._handoff.fetch(
                self.order.stage, self.order.input, given_up=self._given_up
            )
        fetched_s = self._clock()
        self._scheduler.submit(self._job)
        done = await self._job.outcome
        self._job.inputs = {}  # else they lie in memory until the client has read the last byte
        put_started_s = self._clock()
        output = await self._put(done.output.tensors)
        return _Result(
            output=output,
            done=done,
            fetch_s=fetched_s - started_s,
            put_s=self._clock() - put_started_s,
        )

    async def _put(self, tensors: Mapping[str, Tensor]) -> TensorRef | None:
        if not tensors or self._job.cancelled:
            return None
        return await self._handoff.put(
            self.order.stage,
            self.order.segment,
            tensors,
            reader=self.order.reader,
            ttl_s=self.order.ttl_s,
            given_up=self._given_up,
        )

    def _finished(self, result: _Result) -> stage_pb2.RunFinished:
        source = self.order.input
        outputs = [] if result.output is None else [convert.tensor_ref_to(result.output)]
        return stage_pb2.RunFinished(
            results=[stage_pb2.ItemResult(request_id=self.order.request, outputs=outputs)],
            digest=self.order.key.work.digest,
            timing=common_pb2.StageTiming(
                stage=convert.stage_to(self.order.stage),
                queue_seconds=result.done.queue_s,
                fetch_seconds=result.fetch_s,
                run_seconds=result.done.run_s,
                put_seconds=result.put_s,
                input_store=source.store if source is not None else "",
                input_bytes=source.size_bytes if source is not None else 0,
                batch=result.done.batch,
                attempts=1,
            ),
        )


def _chunks(index: int, media: Media) -> list[common_pb2.MediaChunk]:
    starts = range(0, max(len(media.data), 1), CHUNK_BYTES)
    return [
        common_pb2.MediaChunk(
            index=index,
            mime_type=media.mime_type,
            data=media.data[start : start + CHUNK_BYTES],
            last=start == starts[-1],
        )
        for start in starts
    ]
