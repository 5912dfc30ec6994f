"""Walking one journey: its commands become calls, their ends become outcomes.

Everything that can end a request early (the caller goes away, `Cancel`, the hard deadline, the
router stops) cancels the task that walks, with the reason noted first; the walk then tells the
journey, which says what is still to be released. So the worker's call is cancelled, the slot is
free and nothing is owed when `walk` returns or raises.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

from tridentserve.domain.dispatch import Demand
from tridentserve.domain.stages import Stage
from tridentserve.errors import (
    CancelledError,
    DigestMismatchError,
    StageFailedError,
    TridentServeError,
    UnavailableError,
)
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import common_pb2, stage_pb2, tensor_pb2
from tridentserve_router import events, moves
from tridentserve_router.calls import StageCall
from tridentserve_router.costs import Call, Costs
from tridentserve_router.dispatcher import Dispatcher
from tridentserve_router.guidance import usual_s
from tridentserve_router.journey import journey
from tridentserve_router.links import Metadata
from tridentserve_router.moves import Command, Ending, Export, Outcome, Release, RunStage
from tridentserve_router.releases import Releases
from tridentserve_router.spending import Spending
from tridentserve_router.waiting import Placed
from tridentserve_router.workers import Directory

_EXPORT_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all walks of a router share."""

    dispatcher: Dispatcher
    directory: Directory
    releases: Releases
    costs: Costs


class Walk:
    """One request on its way."""

    def __init__(
        self,
        around: Surroundings,
        *,
        demand: Demand,
        generation: common_pb2.Generation,
        emit: Callable[[bytes], Awaitable[None]],
        metadata: Metadata = (),
        end_s: float | None = None,
    ) -> None:
        """Prepare.

        Args:
            around: the router's parts.
            demand: what dispatch has to know.
            generation: what the workers have to know.
            emit: takes serialized `GenerateEvent`s.
            metadata: travels with every Run (trace context).
            end_s: the hard deadline, in the event loop's time; workers get it too.
        """
        self._around, self._demand, self._generation = around, demand, generation
        self.emit, self._metadata, self._end_s = emit, metadata, end_s
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = asyncio.current_task()
        self._why: TridentServeError | None = None
        self._placed: Placed | None = None
        self._greeting = b""
        self._ran: Stage | None = None
        """The stage that was run or waited for last; None before the first one."""
        self._done: moves.Done | None = None
        """Its result, where it has one that dispatch has not been told of."""
        self._shown: tuple[Stage, int] | None = None
        self.on_done: Callable[[Stage], None] = lambda stage: None
        """Called with every stage that is done."""
        self.wait_s: dict[Stage, float] = {}
        """Seconds that the request waited for a worker, by stage."""
        self.spending = Spending()

    def end(self, why: TridentServeError) -> None:
        """End the request early; the walk returns with this error. Once is enough."""
        if self._why is None and self._task is not None:
            self._why = why
            self._task.cancel()

    def end_at_deadline(self, why: TridentServeError) -> asyncio.TimerHandle | None:
        """End the request at its hard deadline; the timer, where there is a deadline."""
        return None if self._end_s is None else self._loop.call_at(self._end_s, self.end, why)

    async def walk(self, greeting: bytes) -> Ending:
        """Queue, emit the greeting, and walk to the end, whatever it is.

        Raises:
            asyncio.CancelledError: the task was cancelled by somebody else; the journey has ended
                in order all the same.
        """
        # Before the first await, so that whoever is checked next finds this one in the queue.
        self._around.dispatcher.arrive(self._demand)
        self._greeting = greeting
        flow = journey()
        command = next(flow)
        broken: BaseException | None = None
        while True:
            outcome: Outcome
            try:
                outcome = await self._do(command)
            except asyncio.CancelledError as error:
                if self._why is None:
                    broken = error
                elif self._task is not None:
                    self._task.uncancel()
                outcome = moves.Ended(error=self._why or CancelledError("the caller went away"))
            except Exception as error:  # noqa: BLE001  raised again once the journey has ended
                broken = error
                outcome = moves.Ended(error=StageFailedError(f"unexpected: {error!r}"))
            try:
                command = flow.send(outcome)
            except StopIteration as stop:
                self._task = None  # too late to end it early
                self._leave()
                if broken is not None:
                    raise broken from None
                return cast(Ending, stop.value)

    async def _do(self, command: Command) -> Outcome:
        if self._greeting:
            greeting, self._greeting = self._greeting, b""
            await self.emit(greeting)
        match command:
            case RunStage():
                return await self._run(command)
            case Export(held=one):
                return await self._export(one)
            case Release(held=owed):
                self._around.releases.add(owed)
                return None

    # --- running a stage --------------------------------------------------------------------------

    async def _run(self, command: RunStage) -> Outcome:
        placed = await self._place(command)
        if not isinstance(placed, Placed):
            return placed
        self._placed = placed
        inputs = command.inputs
        if inputs is not None and inputs.domain not in (None, placed.worker.domain):
            return moves.Unreadable(worker=placed.worker.id, asked=False)
        if self._shown != (command.stage, command.attempt):
            self._shown = (command.stage, command.attempt)
            await self.emit(events.stage_start(command.stage, placed.worker.id, command.attempt))
        return await self._call(command, placed)

    async def _place(self, command: RunStage) -> Placed | moves.DigestGone | moves.Ended:
        dispatcher = self._around.dispatcher
        if command.stay and self._placed is not None and dispatcher.holds(self._placed):
            return self._placed
        if command.pause_s:
            # The slot of the segment that failed stays taken meanwhile, on purpose: its worker
            # has just said that it has no room.
            await asyncio.sleep(command.pause_s)
        begun_s = self._loop.time()
        self._begin_to_wait(command)
        answer = await dispatcher.placed(self._demand.id)
        waited_s = self._loop.time() - begun_s
        self.wait_s[command.stage] = self.wait_s.get(command.stage, 0.0) + waited_s
        return answer

    def _begin_to_wait(self, command: RunStage) -> None:
        """Tell dispatch what became of the stage before, which is how a request queues."""
        dispatcher, request = self._around.dispatcher, self._demand.id
        ran, self._ran = self._ran, command.stage
        done, self._done = self._done, None
        if ran is None:
            return  # it has queued since it arrived
        if done is not None and command.stage is ran.next and not command.excluded:
            dispatcher.finish(request, ran, _run_seconds(done))
        else:
            dispatcher.fail(request, stage=ran, again=command.stage, excluded=command.excluded)

    async def _call(self, command: RunStage, placed: Placed) -> Outcome:
        directory, worker = self._around.directory, placed.worker
        link = directory.link(worker.id)
        if link is None:
            return moves.Lost(worker=worker.id)
        timeout_s = None
        if self._end_s is not None:
            timeout_s = max(0.0, self._end_s - self._loop.time())
        call = StageCall(
            link.run(self._request(command, placed), metadata=self._metadata, timeout_s=timeout_s),
            worker,
        )
        stop_watching = self._around.dispatcher.watch_loss(worker.id, call.lose)
        try:
            answered = await call.events(self.emit)
        except asyncio.CancelledError:
            self._around.releases.abandon(placed.segment)
            raise
        finally:
            stop_watching()
        match answered.outcome:
            case moves.Done() as done:
                self._done = done
                directory.heard(worker.id)
                self.on_done(command.stage)
                self._observe(command.stage, placed, done)
            case moves.Lost():
                # It may live, behind a connection that broke.
                self._around.releases.abandon(placed.segment)
                if isinstance(answered.error, UnavailableError):
                    directory.suspect(worker.id)
            case moves.Refused(draining=True):
                self._around.dispatcher.worker_draining(worker.id)
            case moves.Refused() if isinstance(answered.error, DigestMismatchError):
                directory.look_again(worker.id)
            case _:
                pass
        return answered.outcome

    def _request(self, command: RunStage, placed: Placed) -> stage_pb2.RunRequest:
        item = stage_pb2.SegmentItem(request_id=self._demand.id, generation=self._generation)
        if command.inputs is not None:
            item.inputs.append(cast(tensor_pb2.TensorRef, command.inputs.ref))
        segment = placed.segment
        return stage_pb2.RunRequest(
            segment_id=segment.id,
            epoch=segment.epoch,
            stage=convert.stage_to(command.stage),
            strategy=convert.strategy_to(segment.strategy),
            items=[item],
            # Before the first stage is done: what the worker described, so that one which
            # restarted with another model refuses instead of starting a journey on it.
            digest=command.digest or placed.worker.digest,
            output_domain=placed.output_domain or "",
            device_ids=segment.devices,
        )

    def _observe(self, stage: Stage, placed: Placed, done: moves.Done) -> None:
        timing = cast(common_pb2.StageTiming, done.timing)
        demand, model = self._demand, self._around.dispatcher.model
        requests = max(1, timing.batch)
        call = Call(
            stage=stage,
            shape=demand.shape,
            steps=demand.steps,
            fraction_percent=placed.worker.fraction_percent,
            seconds=usual_s(timing.run_seconds, stage, demand.guidance, model),
            batch=requests * demand.pictures(stage),
            strategy=placed.segment.strategy,
            worker=placed.worker.id,
        )
        self._around.costs.observe(call)
        self.spending.add(stage, timing.run_seconds * call.strategy.degree / requests)

    # --- the rest ---------------------------------------------------------------------------------

    async def _export(self, one: moves.Held) -> Outcome:
        link = self._around.directory.link(one.worker)
        if link is None:
            return moves.NotExported()
        ref = cast(tensor_pb2.TensorRef, one.ref)
        try:
            copy = await link.export(ref, moves.NETWORK_STORE, _EXPORT_TIMEOUT_S)
        except TridentServeError:
            return moves.NotExported()
        return moves.Exported(
            held=moves.Held(
                worker=one.worker, boot_id=one.boot_id, store=copy.store, domain=None, ref=copy
            )
        )

    def _leave(self) -> None:
        if self._ran is Stage.DECODE and self._done is not None:
            self._around.dispatcher.finish(self._demand.id, Stage.DECODE, _run_seconds(self._done))
        else:
            self._around.dispatcher.leave(self._demand.id)


def _run_seconds(done: moves.Done) -> float:
    return cast(common_pb2.StageTiming, done.timing).run_seconds
