"""Waiting lists in front of the engine: who waits, who runs, and what a failure means to whom.

Every stage of the process has its own list; all share the one engine. `batching.choose` decides,
this drives it: one task that asks, runs the chosen call, hands the outcomes out and asks again.

| the call ends with | a job alone in it | a job among several |
| --- | --- | --- |
| outputs | gets its own | gets its own |
| an error of the model or the input | gets it | is tried alone, so that it pays for itself only |
| an exception after which the device computes no more | UnavailableError | UnavailableError |
| every job cancelled | CancelledError | CancelledError |
| the engine's death | UnavailableError | UnavailableError |
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from tridentserve.domain.ids import SegmentId
from tridentserve.domain.stages import Stage
from tridentserve.errors import (
    CancelledError,
    PermanentError,
    StageFailedError,
    TridentServeError,
    UnavailableError,
)
from tridentserve.rpc.status import DEVICE_BROKEN
from tridentserve.stage.batching import Window, choose
from tridentserve.stage.engine import Clock, Engine
from tridentserve.stage.jobs import Done, Job, Progress
from tridentserve.stage.runner import Output, StageRunner
from tridentserve.telemetry.metrics import WorkerMetrics

_log = logging.getLogger(__name__)


class Scheduler:
    """Feeds jobs to the engine in batches; everything here runs on the event loop."""

    def __init__(
        self,
        *,
        runners: Mapping[Stage, StageRunner],
        engine: Engine,
        window: Window,
        clock: Clock,
        metrics: WorkerMetrics,
    ) -> None:
        """Prepare; `clock` is monotonic."""
        self._runners, self._engine, self._window = runners, engine, window
        self._clock, self._metrics = clock, metrics
        self._waiting: dict[SegmentId, Job] = {}
        self._running: tuple[Job, ...] = ()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._device_problem: str | None = None

    def start(self) -> None:
        """Begin to run what is submitted."""
        self._task = asyncio.create_task(self._drive(), name="scheduler")

    async def close(self) -> None:
        """Stop; whatever waits or runs ends as cancelled."""
        for job in (*self._waiting.values(), *self._running):
            self.cancel(job)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def problem(self) -> str | None:
        """What is wrong, as a sentence: a scheduler that ended by itself serves nobody."""
        ended = self._task is not None and self._task.done()
        return "the scheduler has stopped" if ended else self._device_problem

    def submit(self, job: Job) -> None:
        """Put a job at the end of its stage's list."""
        if job.cancelled:
            job.stop()
            return
        job.since_s = self._clock()
        self._waiting[job.segment] = job
        self._changed.set()

    def cancel(self, job: Job) -> None:
        """End a waiting job now, a running one at its next step."""
        job.cancelled = True
        if self._waiting.pop(job.segment, None) is not None:
            job.stop()
        if job in self._running and all(other.cancelled for other in self._running):
            self._engine.interrupt()

    async def _drive(self) -> None:
        while True:
            self._changed.clear()
            waiting = [job.waiting() for job in self._waiting.values()]
            choice = choose(waiting, self._window, self._clock())
            if choice.batch:
                await self._run([self._waiting.pop(segment) for segment in choice.batch])
                continue
            try:
                async with asyncio.timeout(
                    None if choice.wake_at_s is None else choice.wake_at_s - self._clock()
                ):
                    await self._changed.wait()
            except TimeoutError:
                pass  # a window closed: ask again

    async def _run(self, jobs: list[Job]) -> None:
        try:
            error = await self._call(jobs)
            if len(jobs) > 1 and isinstance(error, PermanentError):
                _log.warning("batch failed", extra={"size": len(jobs), "problem": str(error)})
                await self._run_alone(jobs)
            elif error is not None:
                for job in jobs:
                    job.fail(error)
        finally:
            # Only for those that `close` caught half way; all others have ended.
            for job in jobs:
                job.stop()

    async def _run_alone(self, jobs: list[Job]) -> None:
        for job in jobs:
            if not job.cancelled and (error := await self._call([job])) is not None:
                job.fail(error)

    async def _call(self, jobs: Sequence[Job]) -> TridentServeError | None:
        """One call; None when every job of it has ended."""
        stage, start_s = jobs[0].key.stage, self._clock()
        outputs: list[Output] = []
        self._running = tuple(jobs)
        for job in jobs:
            job.started(len(jobs))
        try:
            outputs = await self._engine.call(self._work(jobs))
        except CancelledError:
            for job in jobs:
                job.stop()
            return None
        except TridentServeError as error:
            return error
        except Exception as error:  # noqa: BLE001  a model's code may raise anything
            _log.exception("model failed", extra={"stage": stage, "size": len(jobs)})
            said = f"{stage} failed: {type(error).__name__}: {error}"
            if await self._device_computes(stage):
                return StageFailedError(said)
            return UnavailableError(said, reason=DEVICE_BROKEN)
        finally:
            self._running = ()
            seconds = self._clock() - start_s
            unanswered = sum(job.cancelled or not outputs for job in jobs)
            devices = jobs[0].key.strategy.degree
            self._metrics.wasted(stage, seconds * devices * unanswered / len(jobs))
        self._metrics.ran(stage, jobs[0].key.work.shape, call_s=seconds, batch=len(jobs))
        _log.info("ran", extra={"stage": stage, "size": len(jobs), "seconds": round(seconds, 4)})
        for job, output in zip(jobs, outputs, strict=True):
            job.succeed(
                Done(
                    output=output,
                    batch=len(jobs),
                    queue_s=start_s - job.since_s,
                    run_s=seconds,
                )
            )
        return None

    async def _device_computes(self, stage: Stage) -> bool:
        """Whether it was the request's fault.

        A device that is lost fails every call at once, so its worker is always the free one, and
        would be given the whole queue to fail.
        """
        try:
            await self._engine.call(self._runners[stage].check)
        except Exception as error:  # noqa: BLE001  a device's library may raise anything
            self._device_problem = f"the device does not compute any more: {error}"
            _log.exception("device broken", extra={"stage": stage})
            return False
        return True

    def _work(self, jobs: Sequence[Job]) -> Callable[[], list[Output]]:
        runner, strategy = self._runners[jobs[0].key.stage], jobs[0].key.strategy
        tasks = [job.task() for job in jobs]
        progress = Progress(jobs, self._engine, self._clock)

        def work() -> list[Output]:
            # A job may have been cancelled while the call was on its way to the thread.
            progress.check()
            outputs = runner.run(tasks, strategy, progress)
            # A stage without steps learns of it here at the latest: what nobody waits for is
            # neither handed off nor counted.
            progress.check()
            if len(outputs) != len(tasks):
                raise StageFailedError(f"{len(outputs)} outputs came back for {len(tasks)} tasks")
            return outputs

        return work
