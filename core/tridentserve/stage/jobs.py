"""One Run on its way through the engine, and the progress of a call that carries several of them.

A job lives on the event loop; only `cancelled` is read by the engine's thread. What the thread has
to tell is posted to the loop, thinned to some ten a second: a call of a thousand fast steps must
not cost a thousand messages, but its last step is always told.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tridentserve.domain.ids import SegmentId
from tridentserve.domain.tensors import Tensor
from tridentserve.domain.work import Generation
from tridentserve.errors import CancelledError, TridentServeError
from tridentserve.stage.batching import BatchKey, Waiting
from tridentserve.stage.engine import Clock, Engine
from tridentserve.stage.runner import Output, Task

PROGRESS_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a job that succeeded."""

    output: Output
    batch: int
    queue_s: float
    run_s: float
    """Of the whole call, however many shared it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One Run as the scheduler sees it; made and changed on the event loop."""

    segment: SegmentId
    key: BatchKey
    generation: Generation
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    """There before it is submitted."""
    since_s: float = 0.0
    """When it was submitted."""
    cancelled: bool = False
    """Set once, by `Scheduler.cancel`; the engine's thread reads it."""
    batch: int = 0
    """Requests in its call; 0 while it waits."""
    step: tuple[int, int] | None = None
    """The latest (done, in all) that was posted."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever `batch` or `step` changed or the outcome is there; whoever reads clears it."""
    outcome: "asyncio.Future[Done]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def task(self) -> Task:
        """What its runner gets."""
        return Task(generation=self.generation, inputs=self.inputs)

    def waiting(self) -> Waiting:
        """The job as `batching` sees it."""
        return Waiting(id=self.segment, key=self.key, since_s=self.since_s)

    def started(self, batch: int) -> None:
        """Note that its call begins."""
        self.batch = batch
        self.changed.set()

    def advanced(self, step: int, steps: int) -> None:
        """Note a step."""
        self.step = (step, steps)
        self.changed.set()

    def succeed(self, done: Done) -> None:
        """End it with a result; nothing happens where it has ended already."""
        if not self.outcome.done():
            self.outcome.set_result(done)
            self.changed.set()

    def fail(self, error: TridentServeError) -> None:
        """End it with an error; nothing happens where it has ended already."""
        if not self.outcome.done():
            self.outcome.set_exception(error)
            # Else asyncio warns about the jobs of Runs whose clients are gone.
            self.outcome.exception()
            self.changed.set()

    def stop(self) -> None:
        """End it as cancelled."""
        self.fail(CancelledError(f"segment {self.segment} was cancelled"))


class Progress:
    """What a runner calls after every step: beats, tells, and raises when nobody is left."""

    def __init__(self, jobs: Sequence[Job], engine: Engine, clock: Clock) -> None:
        """Follow one call; made on the event loop, called in the engine's thread."""
        self._jobs, self._engine, self._clock = jobs, engine, clock
        self._loop = asyncio.get_running_loop()
        self._told_s = float("-inf")
        self._stopped: set[SegmentId] = set()

    def check(self) -> None:
        """End the jobs that were cancelled.

        Raises:
            CancelledError: all of them were.
        """
        for job in self._jobs:
            if job.cancelled and job.segment not in self._stopped:
                self._stopped.add(job.segment)
                self._loop.call_soon_threadsafe(job.stop)
        if len(self._stopped) == len(self._jobs):
            raise CancelledError("every request of the call was cancelled")

    def __call__(self, step: int, steps: int) -> None:
        """See `runner.Progress`."""
        self._engine.beat()
        self.check()
        now = self._clock()
        if step >= steps or now - self._told_s >= PROGRESS_INTERVAL_S:
            self._told_s = now
            for job in self._jobs:
                self._loop.call_soon_threadsafe(job.advanced, step, steps)
