"""The client: asks for media, hears events, cancels by going away.

Errors are those of `tridentserve.errors`; no gRPC type gets out. It does not try again by itself:
whether an ExhaustedError's `retry_after_s` is worth waiting is the caller's decision.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Self

from grpc import aio

from tridentserve.client.values import (
    Description,
    Event,
    Finished,
    MediaPiece,
    Request,
    Result,
    StageStarted,
    read_description,
    read_event,
)
from tridentserve.domain.ids import RequestId
from tridentserve.errors import UnavailableError
from tridentserve.rpc import status
from tridentserve.rpc.client import channel
from tridentserve.rpc.v1 import generation_pb2, generation_pb2_grpc

_SHORT_S = 10.0
_ENDED_EARLY = "the stream ended before the request was finished"


class GenerationClient:
    """A connection to one pipeline's router; use it as an async context manager."""

    def __init__(self, endpoint: str) -> None:
        """Prepare for `host:port`; it connects when first used."""
        self._channel = channel(endpoint)
        self._stub: generation_pb2_grpc.GenerationServiceAsyncStub = (
            generation_pb2_grpc.GenerationServiceStub(self._channel)
        )

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection, which cancels what still runs on it."""
        await self.close()

    async def close(self) -> None:
        """Close the connection, which cancels what still runs on it."""
        await self._channel.close()

    async def stream(
        self, request: Request, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Every event as it comes, `Finished` last; ending the iteration cancels the request.

        `timeout_s` is hard: the request is stopped, wherever it stands.

        Raises:
            InvalidFieldError: a value is wrong; names the field.
            ExhaustedError: the queue is full, or the deadline cannot be met.
            UnavailableError: no router, or no workers yet, or the router went away.
            DeadlineExceededError: `timeout_s` has passed.
            TridentServeError: anything else that ended it.
        """
        call = self._stub.Generate(request.to_message(), timeout=timeout_s)
        try:
            async for message in call:
                event = read_event(message)
                if event is not None:
                    yield event
        except aio.AioRpcError as error:
            raise status.from_call(error) from None
        finally:
            call.cancel()

    async def generate(
        self,
        request: Request,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> Result:
        """Finished media; cancelling the task cancels the request.

        Raises:
            TridentServeError: as `stream`.
        """
        pieces: dict[int, list[bytes]] = {}
        finished: Finished | None = None
        events = self.stream(request, timeout_s=timeout_s)
        try:
            async for event in events:
                on_event(event)
                match event:
                    case StageStarted():
                        pieces = {}  # an earlier attempt's, if any
                    case MediaPiece(index=index, data=data):
                        pieces.setdefault(index, []).append(data)
                    case Finished():
                        finished = event
                    case _:
                        pass
        finally:
            await events.aclose()
        if finished is None:
            raise UnavailableError(_ENDED_EARLY)
        return Result(
            media=tuple(b"".join(pieces[index]) for index in sorted(pieces)), finished=finished
        )

    async def cancel(self, request: RequestId) -> None:
        """End a request by the id from `Accepted`.

        Raises:
            NotFoundError: it is not running there (any more).
            UnavailableError: no router.
        """
        try:
            await self._stub.Cancel(
                generation_pb2.CancelRequest(request_id=request), timeout=_SHORT_S
            )
        except aio.AioRpcError as error:
            raise status.from_call(error) from None

    async def describe(self) -> Description:
        """What is served.

        Raises:
            UnavailableError: no router.
        """
        try:
            message = await self._stub.Describe(
                generation_pb2.DescribeGenerationRequest(), timeout=_SHORT_S
            )
        except aio.AioRpcError as error:
            raise status.from_call(error) from None
        return read_description(message)


def generate(endpoint: str, request: Request, *, timeout_s: float | None = None) -> Result:
    """The same for programs without an event loop: blocks until the media are there.

    Raises:
        TridentServeError: as `GenerationClient.stream`.
    """

    async def once() -> Result:
        async with GenerationClient(endpoint) as client:
            return await client.generate(request, timeout_s=timeout_s)

    return asyncio.run(once())
