"""What happens to requests and workers, told to the planner event by event, as the router does.

Completed calls teach the planner's cost model here, so that every policy learns the same way. A
run that is lost begins again from the last hand-off that can still be read; after so many lost
runs of one stage as in the router, the request has failed. One that no pool has the memory for is
refused as soon as that is known, as in the router.
"""

from collections import Counter
from collections.abc import Iterator

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import (
    Arrived,
    Demand,
    Left,
    PlanChanged,
    Resize,
    StageFailed,
    StageFinished,
    StepFinished,
    Woken,
    WorkerDown,
    WorkerDraining,
    WorkerUp,
    Yield,
)
from tridentserve.domain.ids import RequestId, WorkerId
from tridentserve.domain.plans import PlacementPlan, PoolShape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.misfits import misfit, misfits
from tridentserve.planner.state import State
from tridentserve.sim.calls import Call, Job
from tridentserve.sim.deciding import Deciding
from tridentserve.sim.items import Due, Rings
from tridentserve.sim.ledger import Ledger
from tridentserve.sim.preparing import Preparing
from tridentserve.sim.results import Outcome
from tridentserve.sim.workshop import Workshop

MAX_ATTEMPTS = 3
"""Runs of one stage before a request has failed, as in the router."""


class Dispatch:
    """Everything that a dispatch planner hears of."""

    def __init__(
        self,
        *,
        state: State,
        deciding: Deciding,
        cost: CostModel,
        workshop: Workshop,
        preparing: Preparing,
        ledger: Ledger,
    ) -> None:
        """Nobody is there."""
        self.state, self.deciding, self._cost = state, deciding, cost
        self._workshop, self._preparing, self._ledger = workshop, preparing, ledger
        self._attempts: Counter[tuple[RequestId, Stage]] = Counter()

    # --- requests and plans -----------------------------------------------------------------------

    def arrive(self, demand: Demand, best_s: float, now: float) -> None:
        """A request waits for encode."""
        self._ledger.arrived(demand, best_s)
        asked = (self._cost, self.state.roster, self._pools(), demand.shape)
        if misfit(*asked, count=demand.count) is not None:
            self._ledger.ended(demand.id, Outcome.REFUSED, now)
            return
        self.deciding.tell(Arrived(demand=demand), now)

    def ring(self, rings: Rings, now: float) -> None:
        """An alarm; nothing where another one is set."""
        if self.deciding.is_set(rings):
            self.deciding.tell(Woken(), now)

    def plan_changed(self, plan: PlacementPlan, now: float) -> None:
        """Another placement is in force."""
        self.deciding.tell(PlanChanged(plan=plan), now)
        self._refuse_misfits(now)

    def _pools(self) -> tuple[PoolShape, ...]:
        plan = self.state.plan
        return () if plan is None else tuple(pool.shape for pool in plan.pools)

    def _refuse_misfits(self, now: float) -> None:
        """End those that wait for what no pool has the memory for any more."""
        for request, _ in misfits(self._cost, self.state, self._pools()):
            # Looked up anew: the decision about one may have started another, or refused it.
            journey = self.state.journeys.get(request)
            if journey is None or journey.running is not None:
                continue
            self._ledger.ended(request, Outcome.REFUSED, now)
            self._preparing.forget(request)
            self.deciding.tell(Left(request=request), now)

    # --- workers ----------------------------------------------------------------------------------

    def worker_up(self, worker: Worker, now: float) -> None:
        """A worker can be given work."""
        self._preparing.up(worker)
        self.deciding.tell(WorkerUp(worker=worker), now)
        self._refuse_misfits(now)

    def worker_draining(self, worker: WorkerId, now: float) -> None:
        """A worker gets nothing new."""
        self.deciding.tell(WorkerDraining(worker=worker), now)
        self._refuse_misfits(now)

    def worker_gone(self, worker: WorkerId, now: float) -> None:
        """A worker has left that nothing ran on; its outputs were exported."""
        self._preparing.gone(worker, lost=False)
        self.deciding.tell(WorkerDown(worker=worker), now)
        self._refuse_misfits(now)

    def worker_lost(self, worker: WorkerId, now: float) -> None:
        """A worker is lost with what ran there, and with the outputs that lay there."""
        jobs = self._workshop.abandon(worker, now)
        self.deciding.untold.update(segment for job in jobs for segment in job.segments)
        self._preparing.gone(worker, lost=True)
        self.deciding.tell(WorkerDown(worker=worker), now)
        for job in jobs:
            self._fail(job, worker, now)
        waiting = [one for stage in STAGES for one in self.state.waiting(stage)]
        for request in [journey.demand.id for journey in waiting]:
            # Looked up anew: the decision about one may have started another, or refused it.
            journey = self.state.journeys.get(request)
            if journey is None or journey.running is not None:
                continue
            again = self._preparing.readable(request, journey.stage)
            if again is not journey.stage:
                self._send_back(request, journey.stage, again, frozenset(), now)
        self._refuse_misfits(now)

    # --- calls ------------------------------------------------------------------------------------

    def due(self, due: Due, now: float) -> None:
        """A call is done, or at a step for which something was asked; nothing where it is void."""
        call = self._workshop.call(due)
        if call is None:
            return
        if call.stop is not None:
            self._stop(call, call.stop, now)
            return
        self._workshop.finish(call, now)
        if call.effort is None:
            self._fail(call.job, call.worker.id, now)
        else:
            self._finish(call, now)

    def _stop(self, call: Call, step: int, now: float) -> None:
        changes, members = dict(call.pending), dict(call.job.members)
        stopped = self._workshop.stop(call, now)
        self.deciding.untold.update(stopped)
        for segment in stopped:
            for request in members[segment]:
                match changes.get(segment):
                    case Yield():
                        self._ledger.waits(request, call.job.stage, now)
                    case Resize(strategy=strategy):
                        self._ledger.runs(request, call.job.stage, strategy.degree, now)
            self.deciding.untold.discard(segment)
            self.deciding.tell(StepFinished(segment=segment, step=step), now)

    def _finish(self, call: Call, now: float) -> None:
        job, seconds = call.job, now - call.work_s
        if not job.done:
            # A call that was rearranged would teach a mixture of two strategies.
            self._cost.observe(
                job.stage,
                job.shape,
                job.steps,
                call.worker.fraction_percent,
                seconds,
                len(job.requests),
                strategy=call.strategy,
                worker=call.worker.id,
            )
        following = job.stage.next
        self.deciding.untold.update(job.segments)
        for request in self._one_by_one(job):
            if following is None:
                self._ledger.ended(request, Outcome.FINISHED, now)
                self._preparing.forget(request)
            else:
                self._ledger.waits(request, following, now)
                self._preparing.made(request, job.stage, call.worker.id)
            finished = StageFinished(request=request, stage=job.stage, seconds=seconds)
            self.deciding.tell(finished, now)

    def _fail(self, job: Job, worker: WorkerId, now: float) -> None:
        """Requests whose run has no result go on elsewhere, or have failed for good."""
        self.deciding.untold.update(job.segments)
        for request in self._one_by_one(job):
            self._ledger.lost_run(request)
            self._attempts[request, job.stage] += 1
            if self._attempts[request, job.stage] >= MAX_ATTEMPTS:
                self._ledger.ended(request, Outcome.FAILED, now)
                self._preparing.forget(request)
                self.deciding.tell(Left(request=request), now)
            else:
                again = self._preparing.readable(request, job.stage)
                self._send_back(request, job.stage, again, frozenset({worker}), now)

    def _one_by_one(self, job: Job) -> Iterator[RequestId]:
        """The requests of a job that is over; with the last one of a segment, that is told."""
        for segment, requests in job.members:
            for request in requests:
                if request == requests[-1]:
                    self.deciding.untold.discard(segment)
                yield request

    def _send_back(
        self,
        request: RequestId,
        stage: Stage,
        again: Stage,
        excluded: frozenset[WorkerId],
        now: float,
    ) -> None:
        self._ledger.waits(request, again, now)
        failed = StageFailed(request=request, stage=stage, again=again, excluded=excluded)
        self.deciding.tell(failed, now)
