"""One `Run`: the request out, its events passed on, its end as an outcome of the journey.

What a status means for a journey stands in `outcome_of`, and nowhere else.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from grpc import aio

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import ContentDigest, MemoryDomain
from tridentserve.errors import (
    CancelledError,
    DeadlineExceededError,
    DigestMismatchError,
    ExhaustedError,
    InvalidFieldError,
    StageFailedError,
    TensorUnavailableError,
    TridentServeError,
    UnavailableError,
)
from tridentserve.rpc import status
from tridentserve.rpc.v1 import stage_pb2, tensor_pb2
from tridentserve_router import relay
from tridentserve_router.links import RunCall
from tridentserve_router.moves import (
    Broken,
    Done,
    Ended,
    Failed,
    Held,
    Lost,
    Outcome,
    Refused,
    Unreadable,
)

Emit = Callable[[bytes], Awaitable[None]]
"""Takes one serialized `GenerateEvent`."""

_REFUSALS = frozenset({status.DRAINING, status.NOT_READY, status.NO_SLOT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How a call ended: for the journey, and for who looks after workers."""

    outcome: Outcome
    error: TridentServeError | None = None


class StageCall:
    """One running segment."""

    def __init__(self, call: RunCall, worker: Worker) -> None:
        """Take a call over that has begun."""
        self._call, self._worker = call, worker
        self._lost = False

    def lose(self) -> None:
        """The worker is known to be gone: end the call now rather than when TCP gives up."""
        self._lost = True
        self._call.cancel()

    async def events(self, emit: Emit) -> Answered:
        """Pass every event on until the call ends.

        Being cancelled cancels the segment, at its next step; so does whatever `emit` raises.
        """
        finished: stage_pb2.RunFinished | None = None
        try:
            # To the end of the stream and not just to `finished`: a call that is dropped before
            # its status counts as cancelled, and the worker would delete what it made.
            while isinstance(raw := await self._call.read(), bytes):
                event = relay.forward(raw)
                if event is not None:
                    await emit(event)
                elif relay.is_finished(raw):
                    finished = stage_pb2.RunEvent.FromString(raw).finished
        except aio.AioRpcError as error:
            problem = status.from_call(error)
            if finished is None:
                return Answered(outcome=outcome_of(problem, self._worker), error=problem)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # A request can be ended while its worker is being lost; the end is what counts.
            if not self._lost or (task is not None and task.cancelling()):
                raise
            return Answered(outcome=Lost(worker=self._worker.id))
        finally:
            # Whatever ended this, `emit` included: a call that nobody reads keeps its worker's
            # slot for ever. Nothing happens to one that has ended.
            self._call.cancel()
        if finished is None:
            problem = StageFailedError(f"worker {self._worker.id} ended without a result")
            return Answered(outcome=Failed(worker=self._worker.id, error=problem), error=problem)
        return Answered(outcome=read_finished(finished, self._worker))


def read_finished(finished: stage_pb2.RunFinished, worker: Worker) -> Done:
    """What a segment with one request made."""
    outputs = finished.results[0].outputs if finished.results else ()
    return Done(
        worker=worker.id,
        digest=ContentDigest(finished.digest or worker.digest),
        revision=worker.revision,
        output=held(outputs[0], worker) if outputs else None,
        timing=finished.timing,
    )


def held(ref: tensor_pb2.TensorRef, worker: Worker) -> Held:
    """The hand-off behind a reference that a worker answered."""
    return Held(
        worker=worker.id,
        boot_id=worker.boot_id,
        store=ref.store,
        domain=MemoryDomain(ref.domain) if ref.domain else None,
        ref=ref,
    )


def outcome_of(error: TridentServeError, worker: Worker) -> Outcome:
    """What the end of a Run with an error means to its journey.

    | error | outcome |
    | --- | --- |
    | refused: draining, not ready, no slot; another digest | `Refused` |
    | the hand-off cannot be read | `Unreadable` |
    | nobody answers, or the server cancelled the call as it went | `Lost` |
    | a store is full or unreachable, a device is broken, a stale epoch | `Failed` |
    | the caller's deadline has passed | `Ended` |
    | the model takes no such value, or failed | `Broken` |
    """
    match error:
        case UnavailableError(reason=reason) | ExhaustedError(reason=reason) if reason in _REFUSALS:
            return Refused(worker=worker.id, draining=reason == status.DRAINING)
        case DigestMismatchError():
            return Refused(worker=worker.id)
        case TensorUnavailableError():
            return Unreadable(worker=worker.id)
        case UnavailableError(reason="") | CancelledError():
            return Lost(worker=worker.id)
        case DeadlineExceededError():
            return Ended(error=error)
        case StageFailedError() | InvalidFieldError():
            return Broken(error=error)
        case _:
            return Failed(worker=worker.id, error=error)
