"""One lifecycle for every gRPC server: bind, health, reflection, errors to status codes, stop.

A server is *live* while its event loop answers and `liveness` finds no problem, and *ready* from
`set_ready(True)` to `set_ready(False)`. Both are told over HTTP (`/healthz`, `/readyz`, for probes,
beside `/metrics`) and `ready` over grpc.health.v1 as well.
"""

import asyncio
import inspect
import logging
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
from google.protobuf.message import Message
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from tridentserve.domain.addresses import authority
from tridentserve.errors import CancelledError, TridentServeError, UnavailableError
from tridentserve.rpc.probes import ProbeServer
from tridentserve.rpc.status import abort

_log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Prompts and references are small and media come in chunks of 1 MB: more is a mistake."""

Liveness = Callable[[], str | None]
"""Says what is wrong, None where nothing is."""


class Server:
    """A gRPC server with its probes; services are added before `start`."""

    def __init__(
        self,
        *,
        host: str,
        grpc_port: int,
        metrics_port: int,
        registry: CollectorRegistry,
        liveness: Liveness = lambda: None,
    ) -> None:
        """Prepare; port 0 takes a free one."""
        self._host, self._grpc_port = host, grpc_port
        # Without so_reuseport=0 two processes could share one port without an error, and calls
        # would go to either.
        self._server = aio.server(
            interceptors=[_ErrorInterceptor()],
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                # Our clients ping every 10 s during a call; by default a server takes more than
                # one ping in 5 silent minutes for an attack and closes the connection.
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ],
        )
        self._health = health.aio.HealthServicer()
        self._names: list[str] = []
        self._probes = ProbeServer(
            host=host, port=metrics_port, registry=registry, liveness=liveness
        )

    def add(self, register: Callable[[aio.Server], None], service_name: str) -> None:
        """Add a service: `lambda server: add_XServicer_to_server(servicer, server)`."""
        register(self._server)
        self._names.append(service_name)

    @property
    def address(self) -> str:
        """`host:port` of the bound gRPC server."""
        return authority(self._host, self._grpc_port)

    @property
    def metrics_address(self) -> str:
        """`host:port` of the probes and metrics."""
        return self._probes.address

    async def start(self) -> None:
        """Bind both ports and serve, not ready yet.

        Raises:
            UnavailableError: a port is taken.
        """
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)
        await self.set_ready(False)
        try:
            self._grpc_port = self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise UnavailableError(f"cannot bind {self.address}: {error}") from error
        await self._probes.start()
        await self._server.start()

    async def set_ready(self, ready: bool) -> None:
        """Tell probes and health checks whether to send work here."""
        self._probes.ready = ready
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._names):
            await self._health.set(name, status.SERVING if ready else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, give running ones `grace_s` to end, then close both ports."""
        await self._server.stop(grace_s)
        await self._probes.stop()


async def wait_for_signal() -> None:
    """Return when the process is asked to end (SIGTERM, SIGINT)."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


_Context = aio.ServicerContext  # generic for type checkers only


class _ErrorInterceptor(aio.ServerInterceptor):
    """Turns errors of the tree into status codes, and anything else into INTERNAL with a log line.

    This is the process boundary of every service: an unexpected error ends its own call only.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler, once a method and call."""
        handler = await continuation(details)
        if handler is None or handler.request_streaming:
            return handler
        if handler.response_streaming:
            # A handler that writes to its context is a coroutine, and is wrapped as one.
            writes = inspect.iscoroutinefunction(handler.unary_stream)
            wrap = _unary if writes else _streaming
            return grpc.unary_stream_rpc_method_handler(
                wrap(handler.unary_stream, details.method),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            _unary(handler.unary_unary, details.method),
            handler.request_deserializer,
            handler.response_serializer,
        )


def _unary(inner: Callable[..., Awaitable[object]], method: str) -> Callable[..., object]:
    async def call(request: Message, context: "_Context[Message, Message]") -> object:
        try:
            return await inner(request, context)
        except Exception as error:  # noqa: BLE001  the process boundary, see above
            await _end(context, error, method)

    return call


def _streaming(
    inner: Callable[..., AsyncGenerator[Message]], method: str
) -> Callable[..., AsyncIterator[Message]]:
    async def call(
        request: Message, context: "_Context[Message, Message]"
    ) -> AsyncIterator[Message]:
        events = inner(request, context)
        try:
            async for event in events:
                yield event
        except Exception as error:  # noqa: BLE001  the process boundary, see above
            await _end(context, error, method)
        finally:
            # A client that goes away closes this generator; the inner one must clean up now, not
            # when the garbage collector finds it.
            await events.aclose()

    return call


async def _end(context: "_Context[Message, Message]", error: Exception, method: str) -> NoReturn:
    if isinstance(error, aio.AbortError):
        raise error  # gRPC's own, after context.abort
    if isinstance(error, TridentServeError):
        if not isinstance(error, CancelledError):
            _log.info("call refused", extra={"method": method, "problem": str(error)})
        await abort(context, error)
    _log.exception("call failed", exc_info=error, extra={"method": method})
    await context.abort(grpc.StatusCode.INTERNAL, "unexpected error; see the server's log")
