"""The client: asks for media, hears events, cancels by going away.

Errors are those of `tridentserve.errors`; no gRPC error gets out. It does not try again by itself:
whether an ExhaustedError's `retry_after_s` is worth waiting is the caller's decision.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isnan
from types import TracebackType
from typing import Self

import grpc
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
from tridentserve.errors import InvalidFieldError, UnavailableError
from tridentserve.rpc import status
from tridentserve.rpc.client import channel
from tridentserve.rpc.v1 import generation_pb2, generation_pb2_grpc

Metadata = Sequence[tuple[str, str]]

_SHORT_S = 10.0
_LONGEST_S = 1e9
"""Three decades; with much more, gRPC says at once that they have passed."""
_ENDED_EARLY = "the stream ended before the request was finished"
_CLOSED = "the client is closed"
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+(?<!-bin)")
_HEADER_VALUE = re.compile(r"[ -~]*")


class GenerationClient:
    """A connection to one pipeline's router; use it as an async context manager.

    It may be made anywhere, and belongs to the event loop of its first call.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Metadata = (),
    ) -> None:
        """Prepare; it connects when first used.

        Args:
            endpoint: `host:port` of the router, or of what stands before it.
            credentials: of what ends TLS before the router, such as
                `grpc.ssl_channel_credentials()`; None for plain text, which the router speaks.
            metadata: goes with every call, such as `("authorization", "Bearer …")`.

        Raises:
            InvalidFieldError: metadata that cannot be sent.
        """
        self._endpoint, self._credentials = endpoint, credentials
        self._metadata = checked_metadata(metadata, "metadata")
        self._channel: aio.Channel | None = None
        self._closed = False

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
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def stream(
        self, request: Request, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Every event as it comes, `Finished` last; ending the iteration cancels the request.

        `timeout_s` is hard: the request is stopped, wherever it stands.

        Raises:
            InvalidFieldError: a value is wrong; names the field.
            ExhaustedError: the queue is full, or the deadline cannot be met.
            UnavailableError: no router, or no workers yet, or the router went away, or the client
                was closed.
            DeadlineExceededError: `timeout_s` has passed.
            TridentServeError: anything else that ended it.
        """
        if timeout_s is not None and (isnan(timeout_s) or timeout_s <= 0):
            raise InvalidFieldError("timeout_s", f"{timeout_s:g}; must be above 0 seconds")
        call = self._stub().Generate(
            request.to_message(),
            timeout=None if timeout_s is None else min(timeout_s, _LONGEST_S),
            metadata=self._metadata,
        )
        try:
            with self._own_errors():
                async for message in call:
                    event = read_event(message)
                    if event is not None:
                        yield event
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
        with self._own_errors():
            await self._stub().Cancel(
                generation_pb2.CancelRequest(request_id=request),
                timeout=_SHORT_S,
                metadata=self._metadata,
            )

    async def describe(self) -> Description:
        """What is served.

        Raises:
            UnavailableError: no router.
        """
        with self._own_errors():
            message = await self._stub().Describe(
                generation_pb2.DescribeGenerationRequest(),
                timeout=_SHORT_S,
                metadata=self._metadata,
            )
        return read_description(message)

    def _stub(self) -> "generation_pb2_grpc.GenerationServiceAsyncStub":
        if self._closed:
            raise UnavailableError(_CLOSED)
        if self._channel is None:
            self._channel = channel(self._endpoint, self._credentials)
        return generation_pb2_grpc.GenerationServiceStub(self._channel)

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except aio.AioRpcError as error:
            raise status.from_call(error) from None
        except asyncio.CancelledError:
            # gRPC says of a channel that is closed what asyncio says of a task that is cancelled.
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise UnavailableError(_CLOSED) from None
            raise


def checked_metadata(metadata: Metadata, field: str) -> Metadata:
    """As gRPC sends it, with names in lower case.

    Raises:
        InvalidFieldError: what gRPC would fail with in words of its own; names `field`.
    """
    lower = tuple((name.lower(), value) for name, value in metadata)
    for name, value in lower:
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidFieldError(
                field, f"{name!r} cannot be sent; names and values are ASCII, and -bin ends no name"
            )
    return lower


def generate(
    endpoint: str,
    request: Request,
    *,
    timeout_s: float | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    metadata: Metadata = (),
) -> Result:
    """The same for programs without an event loop: blocks until the media are there.

    Raises:
        TridentServeError: as `GenerationClient.stream`.
    """

    async def once() -> Result:
        client = GenerationClient(endpoint, credentials=credentials, metadata=metadata)
        async with client:
            return await client.generate(request, timeout_s=timeout_s)

    return asyncio.run(once())
