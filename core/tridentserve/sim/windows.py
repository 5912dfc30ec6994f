"""Batch windows: calls that are not full wait for company, by the rule that workers go by.

A call of fewer requests than its worker has slots goes when the window of its stage closes, or as
soon as it is full: `stage.batching.choose` says when, as in a worker. Until then a later decision
can add requests of the same kind on the same devices; whoever is still on the way to the worker
then is waited for. The devices are taken meanwhile, so a window that nobody joins only costs time.

It does not queue requests inside a worker: a start on devices whose call has gone is refused, where
a worker would keep it for its next call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Demand, Segment
from tridentserve.domain.ids import DeviceId, WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.domain.work import WorkKey
from tridentserve.stage.batching import BatchKey, Waiting, Window, choose


@dataclass(slots=True)
class Gathering:
    """A call that others may join."""

    number: int
    key: BatchKey
    window: Window
    waiting: list[Waiting]
    """Its requests, by the moment from which they wait."""
    goes_s: float

    @property
    def size(self) -> int:
        """Requests."""
        return len(self.waiting)

    def add(self, segment: Segment, at_s: float) -> None:
        """The requests of a segment wait from a moment on."""
        self.waiting += [
            Waiting(id=segment.id, key=self.key, since_s=at_s) for _ in segment.requests
        ]
        self.waiting.sort(key=lambda one: one.since_s)
        latest_s = self.waiting[-1].since_s
        wake_at_s = choose(self.waiting, self.window, latest_s).wake_at_s
        self.goes_s = latest_s if wake_at_s is None else wake_at_s


class Windows:
    """The open window of every group of devices."""

    def __init__(self, wait_s: Callable[[Stage], float]) -> None:
        """Nobody waits; `wait_s` is how long a call of a stage does."""
        self._wait_s = wait_s
        self._gathering: dict[tuple[WorkerId, tuple[DeviceId, ...]], Gathering] = {}

    def open(
        self, number: int, worker: Worker, segments: Sequence[Segment], demand: Demand, at_s: float
    ) -> float:
        """A call could go at a moment, with all that it needs; when it does go.

        Args:
            number: of the call.
            worker: that runs it.
            segments: that are in it.
            demand: of any of its requests; they are alike.
            at_s: when its inputs are there.
        """
        first = segments[0]
        wait_s = self._wait_s(first.stage)
        if not wait_s or sum(len(one.requests) for one in segments) >= worker.slots:
            return at_s
        found = Gathering(
            number=number,
            key=_key(worker, first, demand),
            window=Window(max_size=worker.slots, max_wait_s=wait_s),
            waiting=[],
            goes_s=at_s,
        )
        for segment in segments:
            found.add(segment, at_s)
        self._gathering[worker.id, first.devices] = found
        return found.goes_s

    def find(
        self, worker: Worker, segment: Segment, demand: Demand, ready_s: float
    ) -> Gathering | None:
        """The call that a segment would join, were it started at `ready_s`; full ones too."""
        found = self._gathering.get((worker.id, segment.devices))
        if found is None or ready_s >= found.goes_s or found.key != _key(worker, segment, demand):
            return None
        return found


def _key(worker: Worker, segment: Segment, demand: Demand) -> BatchKey:
    return BatchKey(
        stage=segment.stage,
        work=WorkKey(digest=worker.digest, shape=demand.shape, guidance=demand.guidance),
        steps=demand.steps,
        strategy=segment.strategy,
    )
