"""Requests that wait for a decision, and the one answer that each of them gets."""

import asyncio
from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Segment
from tridentserve.domain.ids import MemoryDomain, RequestId
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.telemetry.metrics import RouterMetrics
from tridentserve_router.moves import DigestGone, Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A worker was found: run the segment there."""

    segment: Segment
    worker: Worker
    output_domain: MemoryDomain | None
    """Where the preferred consumer of the output can read it; None: anywhere."""


Answer = Placed | DigestGone | Ended


class WaitingRoom:
    """Who waits for which stage."""

    def __init__(self, metrics: RouterMetrics) -> None:
        """Begin empty; `metrics` is told of every change."""
        self._metrics = metrics
        self._futures: dict[RequestId, asyncio.Future[Answer]] = {}
        self._stages: dict[RequestId, Stage] = {}
        self._count = dict.fromkeys(STAGES, 0)

    def __len__(self) -> int:
        """How many wait, over all stages."""
        return len(self._stages)

    def enter(self, request: RequestId, stage: Stage) -> None:
        """A request waits for a stage; whatever it waited for before is forgotten."""
        self.leave(request)
        self._futures[request] = asyncio.get_running_loop().create_future()
        self._stages[request] = stage
        self._add(stage, 1)

    async def wait(self, request: RequestId) -> Answer:
        """The answer, once it is there.

        Raises:
            KeyError: the request did not enter.
        """
        return await self._futures[request]

    def answer(self, request: RequestId, answer: Answer) -> None:
        """Answer a request; later answers to the same wait are ignored."""
        stage = self._stages.pop(request, None)
        if stage is not None:
            self._add(stage, -1)
            future = self._futures[request]
            # One whose request was ended a moment ago is cancelled before the request has left,
            # and the decision must not fail for everybody else.
            if not future.done():
                future.set_result(answer)

    def leave(self, request: RequestId) -> None:
        """Forget a request, answered or not."""
        stage = self._stages.pop(request, None)
        if stage is not None:
            self._add(stage, -1)
        self._futures.pop(request, None)

    def _add(self, stage: Stage, number: int) -> None:
        self._count[stage] += number
        self._metrics.queue_depth(stage, self._count[stage])
