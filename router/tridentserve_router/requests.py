"""One request from admission to its end: checked, queued, walked, counted.

Knows nothing of gRPC: `api` translates. Every request that is admitted is in the books until its
journey has ended, so that it can be cancelled, waited for and counted once.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from random import Random

from tridentserve.domain.dispatch import Demand
from tridentserve.domain.ids import RequestId
from tridentserve.domain.model import ModelInfo
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.work import Generation, pictures
from tridentserve.errors import (
    AlreadyExistsError,
    CancelledError,
    DeadlineExceededError,
    ExhaustedError,
    InvalidFieldError,
    NotFoundError,
    TooLargeError,
    TridentServeError,
    UnavailableError,
)
from tridentserve.rpc import convert
from tridentserve.rpc.status import DRAINING, NOT_READY
from tridentserve.telemetry.metrics import RouterMetrics
from tridentserve_router import admission, events
from tridentserve_router.admission import Asked
from tridentserve_router.books import Books
from tridentserve_router.links import Metadata
from tridentserve_router.moves import Completed
from tridentserve_router.pipeline import Pipeline
from tridentserve_router.walk import Surroundings, Walk

_log = logging.getLogger(__name__)

_UNKNOWN_DEADLINE_S = 60.0
"""Stands in for the SLO's deadline in the queue's order while nothing has been measured."""
_RETRY_S = 2.0
_GRPC_EARLY_S = 0.1
"""By how much gRPC may end a call before its deadline by our clock."""

Emit = Callable[[bytes], Awaitable[None]]


class Requests:
    """Every request of the router."""

    def __init__(
        self,
        around: Surroundings,
        *,
        metrics: RouterMetrics,
        pipeline: Callable[[], Pipeline],
        first_worker_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with none.

        Args:
            around: the router's parts.
            metrics: is told how each request ended.
            pipeline: what is asked for, as it is now.
            first_worker_s: how long a request waits for the first worker ever.
            clock: Unix seconds.
        """
        self._around, self._metrics, self._pipeline = around, metrics, pipeline
        self._clock, self._first_worker_s = clock, first_worker_s
        self.early = 0
        """Requests that wait for the first worker ever."""
        self._books = Books()
        self._rng = Random(secrets.randbits(64))
        self.draining = False

    def __len__(self) -> int:
        """Requests whose journeys have not ended."""
        return len(self._books)

    async def serve(
        self, asked: Asked, *, emit: Emit, metadata: Metadata, remaining_s: float | None
    ) -> None:
        """Make what was asked for; every event goes to `emit`.

        Args:
            asked: what the caller wrote.
            emit: takes serialized `GenerateEvent`s in order.
            metadata: travels with every call to a worker.
            remaining_s: seconds until the call's hard deadline; None where it has none.

        Raises:
            TridentServeError: it was refused, or ended without media.
            asyncio.CancelledError: the caller went away.
        """
        loop = asyncio.get_running_loop()
        end_s = None if remaining_s is None else loop.time() + remaining_s
        try:
            await self._serve(asked, emit, metadata, end_s)
        except TridentServeError as error:
            self.count(_outcome(error))
            raise
        except asyncio.CancelledError:
            # At a call's deadline gRPC cancels it too, most often before our own timer.
            late = end_s is not None and loop.time() > end_s - _GRPC_EARLY_S
            self.count("deadline" if late else "cancelled")
            raise
        except Exception:
            self.count("failed")  # a defect; no alert would know of it
            raise

    def cancel(self, request: RequestId) -> None:
        """End a request.

        Raises:
            NotFoundError: it is not running here (any more).
        """
        walk = self._books.find(request)
        if walk is None:
            raise NotFoundError("no such request is running here")
        walk.end(CancelledError("cancelled on request"))

    async def drain(self, within_s: float) -> None:
        """Refuse new requests, let the running ones end, and end what is left after `within_s`."""
        self.draining = True
        try:
            async with asyncio.timeout(within_s):
                await self._books.wait_empty()
        except TimeoutError:
            _log.warning("requests cut off by the end of drain", extra={"count": len(self)})
            self._books.end_all(UnavailableError("the router is going away", reason=DRAINING))
            await self._books.wait_empty()

    # --- one request ------------------------------------------------------------------------------

    async def _serve(
        self, asked: Asked, emit: Emit, metadata: Metadata, end_s: float | None
    ) -> None:
        model = await self._open()
        spec = self._pipeline().spec
        generation = admission.check(asked, spec.limits, model, self._rng)
        self._books.check_key(asked.idempotency_key)
        self._metrics.arrived.inc()
        self._around.dispatcher.check_fits(generation.shape, generation.count)
        now = self._clock()
        own_s = self._own_s(generation)
        queue = self._queue()
        predicted_s = admission.predict_s(queue, own_s)
        admission.check_queue(queue, spec.max_queue, predicted_s)
        deadline_s = asked.deadline_seconds or self._slo_s(generation)
        admission.check_lateness(asked, predicted_s, deadline_s)
        demand = Demand(
            id=RequestId(secrets.token_urlsafe(16)),
            shape=generation.shape,
            steps=generation.steps,
            guidance=generation.guidance,
            count=generation.count,
            arrived_s=now,
            deadline_s=now + (deadline_s or _UNKNOWN_DEADLINE_S),
            pipeline=spec.name,
        )
        walk = Walk(
            self._around,
            demand=demand,
            generation=convert.generation_to(generation),
            emit=emit,
            metadata=metadata,
            end_s=end_s,
        )
        with self._books.entered(demand.id, walk, asked.idempotency_key, own_s):
            await self._walk(walk, demand, generation, predicted_s or 0.0, bool(deadline_s))

    async def _walk(
        self,
        walk: Walk,
        demand: Demand,
        generation: Generation,
        predicted_s: float,
        known_deadline: bool,
    ) -> None:
        deadline_s = demand.deadline_s if known_deadline else 0.0
        timer = walk.end_at_deadline(
            DeadlineExceededError("the call's deadline has passed before the request was done")
        )
        delivered = False
        try:
            ending = await walk.walk(events.accepted(demand.id, predicted_s, deadline_s))
            delivered = isinstance(ending, Completed)
        finally:
            if timer is not None:
                timer.cancel()
            for stage, seconds in walk.spending.wasted_s(delivered=delivered).items():
                self._metrics.wasted(stage, seconds)
        if not isinstance(ending, Completed):
            raise ending.error
        total_s = self._clock() - demand.arrived_s
        met = not known_deadline or demand.arrived_s + total_s <= demand.deadline_s
        await walk.emit(
            events.finished(
                ending,
                generation=generation,
                plan=self._pipeline().plan,
                wait_s=walk.wait_s,
                total_s=total_s,
                deadline_met=met,
            )
        )
        self._metrics.ended("ok")
        self._metrics.took(demand.shape, total_s)
        if known_deadline:
            (self._metrics.deadline_met if met else self._metrics.deadline_missed).inc()

    async def _open(self) -> ModelInfo:
        """The model to make requests with, once this router takes them and knows it."""
        model = self._around.dispatcher.model or await self._first_model()
        if self.draining:
            raise UnavailableError("the router is going away", reason=DRAINING)
        if model is None:
            # Counted all the same: arrivals are what brings the first workers up.
            self._metrics.arrived.inc()
            raise UnavailableError(
                "no worker has described the model yet; the first ones are still starting",
                reason=NOT_READY,
                retry_after_s=_RETRY_S,
            )
        return model

    async def _first_model(self) -> ModelInfo | None:
        """Wait for the first worker ever, as one of at most `maxQueue` requests."""
        if self.draining or self.early >= self._pipeline().spec.max_queue:
            return None
        self.early += 1
        try:
            return await self._around.dispatcher.first_model(self._first_worker_s)
        finally:
            self.early -= 1

    def _own_s(self, generation: Generation) -> dict[Stage, float]:
        """Seconds that each stage would take, where that is known."""
        fleet = self._around.dispatcher.fleet
        found = {}
        for stage in STAGES:
            estimate = self._around.costs.model.estimate(
                stage,
                generation.shape,
                generation.steps,
                fleet.fraction_percent.get(stage, 100),
                pictures(stage, generation.count),
            )
            if estimate is not None:
                found[stage] = estimate.mean_s
        return found

    def _slo_s(self, generation: Generation) -> float | None:
        percent = self._pipeline().spec.slo_scale_percent
        return self._around.costs.model.deadline(
            generation.shape, generation.steps, percent, generation.count
        )

    def _queue(self) -> admission.Queue:
        dispatcher = self._around.dispatcher
        return admission.Queue(
            waiting=dispatcher.waiting,
            backlog_s=self._books.backlog_s,
            slots=dispatcher.fleet.slots,
        )

    def count(self, outcome: str) -> None:
        """Count a request that ended without media."""
        self._metrics.ended(outcome)
        if outcome not in ("invalid", "cancelled"):
            self._metrics.deadline_missed.inc()


def _outcome(error: TridentServeError) -> str:
    """The value of the metrics' label `outcome`."""
    match error:
        # A second call under a key is no second request: the first one may well be on time.
        case InvalidFieldError() | AlreadyExistsError():
            return "invalid"
        case ExhaustedError() | TooLargeError():
            return "refused"
        case CancelledError():
            return "cancelled"
        case DeadlineExceededError():
            return "deadline"
        case UnavailableError():
            return "unavailable"
        case _:
            return "failed"
