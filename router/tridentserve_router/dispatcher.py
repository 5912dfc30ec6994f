"""The loop between journeys, workers and the planner: events in, decisions carried out.

It owns the `State`, applies every event and action to it, and asks the planner after each event.
Which worker runs what is the planner's choice; what happens to a request is its journey's. Single
threaded and without awaits: a decision is complete before anything else happens.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Action,
    Arrived,
    Demand,
    Event,
    Left,
    Refuse,
    Segment,
    StageFailed,
    StageFinished,
    Start,
    WakeAt,
    Woken,
    WorkerDown,
    WorkerDraining,
    WorkerUp,
)
from tridentserve.domain.ids import ContentDigest, RequestId, WorkerId
from tridentserve.domain.model import ModelInfo
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.errors import TooLargeError, UnavailableError
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.workers import stranded
from tridentserve.planner.misfits import misfit, misfits
from tridentserve.planner.registry import dispatch_planner
from tridentserve.planner.state import State
from tridentserve.telemetry.metrics import RouterMetrics
from tridentserve_router.fleet import Fleet, summarize
from tridentserve_router.moves import DigestGone, Ended
from tridentserve_router.waiting import Answer, Placed, WaitingRoom

_log = logging.getLogger(__name__)


class Dispatcher:
    """State, planner and timers of one pipeline."""

    def __init__(
        self,
        *,
        planner: str,
        cost: CostModel,
        metrics: RouterMetrics,
        pools: tuple[PoolShape, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin empty; `pools` are those that may come up, `clock` gives Unix seconds."""
        self._cost, self._metrics, self._clock = cost, metrics, clock
        self._planner_name = planner
        self._planner, self._pools = dispatch_planner(planner, cost), pools
        self._state = State()
        self._fleet = Fleet()
        self._models: dict[ContentDigest, ModelInfo] = {}
        self._model: ModelInfo | None = None
        self._described = asyncio.Event()
        self._room = WaitingRoom(metrics)
        self._lost: dict[WorkerId, set[Callable[[], None]]] = {}
        self._alarm: asyncio.TimerHandle | None = None

    # --- what others may read ---------------------------------------------------------------------

    @property
    def fleet(self) -> Fleet:
        """What the workers can do now."""
        return self._fleet

    @property
    def workers(self) -> Mapping[WorkerId, Worker]:
        """Every worker that is up, draining ones included."""
        return self._state.workers

    @property
    def model(self) -> ModelInfo | None:
        """The model that new requests are made with; None before a worker ever described one."""
        return self._model

    async def first_model(self, within_s: float) -> ModelInfo | None:
        """The model, as soon as a worker has described one; None where none does in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._described.wait()
        return self._model

    @property
    def waiting(self) -> int:
        """Requests that wait for a worker, of any stage."""
        return len(self._room)

    def use(self, planner: str, pools: tuple[PoolShape, ...], cost: CostModel) -> None:
        """Decide by this planner and these costs from now on, and with these pools in sight."""
        same_cost, same_pools = cost is self._cost, pools == self._pools
        self._cost, self._pools = cost, pools
        if not (same_cost and same_pools):
            self._refuse_misfits()
        if planner == self._planner_name and same_cost:
            return
        self._planner_name, self._planner = planner, dispatch_planner(planner, cost)
        self._tell(Woken())

    # --- requests ---------------------------------------------------------------------------------

    def check_fits(self, shape: Shape, count: int = 1) -> None:
        """Refuse what could only wait in vain.

        Raises:
            TooLargeError: no pool that is up or may come up has the memory for one of its stages.
        """
        found = misfit(self._cost, self._state.roster, self._pools, shape, count=count)
        if found is not None:
            raise TooLargeError(str(found))

    def arrive(self, demand: Demand) -> None:
        """A request waits for encode."""
        self._room.enter(demand.id, Stage.ENCODE)
        self._tell(Arrived(demand=demand))

    def finish(self, request: RequestId, stage: Stage, seconds: float) -> None:
        """A request's stage is done; it waits for the next one, or is gone after decode."""
        if stage.next is None:
            self._room.leave(request)
        else:
            self._room.enter(request, stage.next)
        self._tell(StageFinished(request=request, stage=stage, seconds=seconds))
        self._check_stranded(request)

    def fail(
        self, request: RequestId, *, stage: Stage, again: Stage, excluded: frozenset[WorkerId]
    ) -> None:
        """A request's stage has no result; it waits for `again`."""
        self._room.enter(request, again)
        self._tell(StageFailed(request=request, stage=stage, again=again, excluded=excluded))
        self._check_stranded(request)

    def leave(self, request: RequestId) -> None:
        """A request is gone for good; no error where it is already."""
        self._room.leave(request)
        if request in self._state.journeys:
            self._tell(Left(request=request))

    async def placed(self, request: RequestId) -> Answer:
        """Wait for the decision about a request that waits for a stage."""
        return await self._room.wait(request)

    def holds(self, placed: Placed) -> bool:
        """Whether a worker that was found is still there, unchanged."""
        now = self._state.workers.get(placed.worker.id)
        return now is not None and now.boot_id == placed.worker.boot_id and not now.draining

    def watch_loss(self, worker: WorkerId, lost: Callable[[], None]) -> Callable[[], None]:
        """Call `lost` when the worker is lost; answers the function that stops watching."""
        watchers = self._lost.setdefault(worker, set())
        watchers.add(lost)

        def stop() -> None:
            watchers.discard(lost)
            if not watchers and self._lost.get(worker) is watchers:
                del self._lost[worker]

        return stop

    # --- workers (FleetListener) ------------------------------------------------------------------

    def worker_up(self, worker: Worker, model: ModelInfo) -> None:
        """A worker can be given work, unless it drains."""
        self._models[model.digest] = model
        self._change_fleet(WorkerUp(worker=worker))

    def worker_draining(self, worker: WorkerId) -> None:
        """A worker finishes what it runs."""
        self._change_fleet(WorkerDraining(worker=worker))

    def worker_down(self, worker: WorkerId, *, lost: bool) -> None:
        """A worker can be given nothing; with `lost`, what ran there is gone."""
        self._change_fleet(WorkerDown(worker=worker))
        if lost:
            for tell in tuple(self._lost.get(worker, ())):
                tell()

    def _change_fleet(self, event: Event) -> None:
        self._state.apply(event)
        self._fleet = summarize(self._state.workers.values())
        self._choose_model()
        for journey in stranded(self._state):
            self._room.answer(journey.demand.id, DigestGone())
        self._refuse_misfits()
        self._decide(event)

    def _refuse_misfits(self) -> None:
        """End those that wait for what no pool has the memory for any more."""
        for request, why in misfits(self._cost, self._state, self._pools):
            self._room.answer(request, Ended(error=TooLargeError(str(why))))

    def _check_stranded(self, request: RequestId) -> None:
        """Its workers may have gone while it was running; then no event will come to tell it."""
        journey = self._state.journeys.get(request)
        if journey is None or journey.digest is None or journey.running is not None:
            return
        if self._fleet.may_strand(journey.digest, journey.stage) and any(
            one.demand.id == request for one in stranded(self._state)
        ):
            self._room.answer(request, DigestGone())

    def _choose_model(self) -> None:
        """The newest model that has a chain; without a chain the one before stays."""
        if self._model is None and self._models:
            self._model = next(iter(self._models.values()))
            self._described.set()
        if self._model is not None and self._fleet.has_chain(self._model.digest):
            return
        for digest in reversed(self._models):
            if self._fleet.has_chain(digest):
                self._model = self._models[digest]
                return

    # --- decisions --------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        self._state.apply(event)
        self._decide(event)

    def _decide(self, event: Event) -> None:
        begun = time.perf_counter()
        actions = self._planner.decide(self._state, event, self._clock())
        self._metrics.decision.observe(time.perf_counter() - begun)
        for action in actions:
            try:
                self._state.apply(action)
            except ValueError:
                # A defect of the planner must cost one decision, not the requests of everybody.
                _log.exception("impossible decision", extra={"action": repr(action)})
                continue
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Start(segment=segment):
                for cursor in segment.requests:
                    self._room.answer(cursor.request, self._place(cursor.request, segment))
            case Refuse(request=request, reason=reason):
                self._room.answer(request, Ended(error=UnavailableError(f"given up: {reason}")))
            case WakeAt(at_s=at_s):
                self._wake_at(at_s)
            case _:
                pass

    def _place(self, request: RequestId, segment: Segment) -> Placed:
        journey = self._state.journeys[request]
        following = segment.stage.next
        consumer = None
        if journey.preferred is not None and journey.preferred_stage is following:
            consumer = self._state.workers.get(journey.preferred)
        return Placed(
            segment=segment,
            worker=self._state.workers[segment.worker],
            output_domain=consumer.domain if consumer is not None else None,
        )

    def _wake_at(self, at_s: float) -> None:
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, at_s - self._clock())
        if self._alarm is not None and not self._alarm.cancelled():
            when = min(when, self._alarm.when())
            self._alarm.cancel()
        self._alarm = loop.call_at(when, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self._tell(Woken())

    def close(self) -> None:
        """Forget the alarm."""
        if self._alarm is not None:
            self._alarm.cancel()
