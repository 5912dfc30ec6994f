"""What every server promises: ports of its own, health, reflection, and errors as status codes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from google.protobuf.message import Message
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry, Counter

from tridentserve import errors
from tridentserve.rpc import status
from tridentserve.rpc.client import channel
from tridentserve.rpc.server import Server, wait_for_signal
from tridentserve.rpc.v1 import generation_pb2, generation_pb2_grpc

NAME = "tridentserve.rpc.v1.GenerationService"


class Scripted(generation_pb2_grpc.GenerationServiceServicer):
    """Does what a test says."""

    def __init__(self) -> None:
        """Do nothing yet."""
        self.raises: Exception | None = None
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def Generate(
        self, request: Message, context: object
    ) -> AsyncIterator[generation_pb2.GenerateEvent]:
        """One event, then the error; without one, wait until the client goes."""
        try:
            yield generation_pb2.GenerateEvent()
            if self.raises is not None:
                raise self.raises
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def Cancel(self, request: Message, context: object) -> generation_pb2.CancelResponse:
        """The error, or an answer."""
        if self.raises is not None:
            raise self.raises
        return generation_pb2.CancelResponse()

    async def Describe(
        self, request: Message, context: object
    ) -> generation_pb2.DescribeGenerationResponse:
        """An answer."""
        return generation_pb2.DescribeGenerationResponse()


@contextlib.asynccontextmanager
async def serving(
    servicer: Scripted, *, grpc_port: int = 0, problem: str | None = None
) -> AsyncIterator[Server]:
    registry = CollectorRegistry()
    Counter("tridentserve_test", "A metric.", registry=registry)
    server = Server(
        host="127.0.0.1",
        grpc_port=grpc_port,
        metrics_port=0,
        registry=registry,
        liveness=lambda: problem,
    )
    server.add(
        lambda one: generation_pb2_grpc.add_GenerationServiceServicer_to_server(servicer, one), NAME
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


async def error_of(call: Callable[[], Awaitable[object]]) -> errors.TridentServeError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call()
    return status.from_call(caught.value)


async def get(server: Server, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{server.metrics_address}{path}") as response,
    ):
        return response.status, await response.text()


@pytest.mark.parametrize("letter", ["x", "ü", "\n", "猫"])
@pytest.mark.parametrize("length", [900, 5_000, 20_000, 100_000])
async def test_an_error_keeps_its_code_and_its_beginning_however_long_its_text_is(
    letter: str, length: int
) -> None:
    servicer = Scripted()
    async with serving(servicer) as server, channel(server.address) as open_channel:
        stub = generation_pb2_grpc.GenerationServiceStub(open_channel)
        for raised in (
            errors.StageFailedError(letter * length),
            errors.InvalidFieldError("prompt" * length, letter * length),
        ):
            servicer.raises = raised
            error = await error_of(lambda: stub.Cancel(generation_pb2.CancelRequest()))

            assert type(error) is type(raised)
            assert str(error).startswith(str(raised)[:100])


async def test_an_error_of_the_tree_ends_a_call_with_its_code_in_both_kinds_of_calls() -> None:
    servicer = Scripted()
    servicer.raises = errors.InvalidFieldError("steps", "too many")
    async with serving(servicer) as server, channel(server.address) as open_channel:
        stub = generation_pb2_grpc.GenerationServiceStub(open_channel)
        unary = await error_of(lambda: stub.Cancel(generation_pb2.CancelRequest()))

        async def stream() -> None:
            async for _ in stub.Generate(generation_pb2.GenerateRequest()):
                pass

        streamed = await error_of(stream)

    for error in (unary, streamed):
        assert isinstance(error, errors.InvalidFieldError)
        assert error.field == "steps"


async def test_an_unexpected_error_ends_only_its_own_call_and_says_nothing_of_the_inside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    servicer = Scripted()
    servicer.raises = KeyError("a secret")
    async with serving(servicer) as server, channel(server.address) as open_channel:
        stub = generation_pb2_grpc.GenerationServiceStub(open_channel)
        error = await error_of(lambda: stub.Cancel(generation_pb2.CancelRequest()))
        servicer.raises = None
        await stub.Cancel(generation_pb2.CancelRequest())

    assert isinstance(error, errors.StageFailedError)
    assert "secret" not in str(error)
    assert "a secret" in caplog.text


async def test_a_client_that_goes_away_ends_the_stream_inside() -> None:
    servicer = Scripted()
    async with serving(servicer) as server, channel(server.address) as open_channel:
        stub = generation_pb2_grpc.GenerationServiceStub(open_channel)
        call = stub.Generate(generation_pb2.GenerateRequest())
        await servicer.begun.wait()
        call.cancel()

        await asyncio.wait_for(servicer.ended.wait(), 10)


async def test_two_servers_never_share_a_port() -> None:
    async with serving(Scripted()) as first:
        port = int(first.address.rpartition(":")[2])
        with pytest.raises(errors.UnavailableError, match=str(port)):
            async with serving(Scripted(), grpc_port=port):
                pass


async def test_probes_health_and_reflection_tell_whether_it_is_ready() -> None:
    async with serving(Scripted()) as server, channel(server.address) as open_channel:
        health = health_pb2_grpc.HealthStub(open_channel)

        async def answers() -> tuple[int, int]:
            check = await health.Check(health_pb2.HealthCheckRequest(service=NAME))
            return (await get(server, "/readyz"))[0], check.status

        assert await answers() == (503, health_pb2.HealthCheckResponse.NOT_SERVING)
        await server.set_ready(True)
        assert await answers() == (200, health_pb2.HealthCheckResponse.SERVING)
        await server.set_ready(False)
        assert await answers() == (503, health_pb2.HealthCheckResponse.NOT_SERVING)

        reflection = reflection_pb2_grpc.ServerReflectionStub(open_channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        async for answer in reflection.ServerReflectionInfo(iter([ask])):
            names = {service.name for service in answer.list_services_response.service}
        assert names >= {NAME, "grpc.health.v1.Health"}


async def test_liveness_tells_the_problem_and_metrics_are_scraped() -> None:
    async with serving(Scripted()) as well, serving(Scripted(), problem="hung") as ill:
        assert await get(well, "/healthz") == (200, "ok")
        assert await get(ill, "/healthz") == (503, "hung")
        assert "tridentserve_test_total 0.0" in (await get(well, "/metrics"))[1]


async def test_a_signal_ends_the_wait_for_it() -> None:
    waiting = asyncio.create_task(wait_for_signal())
    await asyncio.sleep(0)  # one turn of the loop, in which the handlers are set
    os.kill(os.getpid(), signal.SIGTERM)

    await asyncio.wait_for(waiting, 10)
