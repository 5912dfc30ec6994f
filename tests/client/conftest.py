"""The client against a real router inside of the test's process."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.client import tls
from tests.router.conftest import Town, opened

from tridentserve.client import GenerationClient
from tridentserve.rpc.v1 import generation_pb2


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    """A town whose router runs, without workers."""
    async with opened() as town:
        yield town


@pytest.fixture
async def client(town: Town) -> AsyncIterator[GenerationClient]:
    """A client of the town's router."""
    async with GenerationClient(town.router.address) as client:
        yield client


class Gate:
    """What ends TLS before a router: it keeps what came along with the calls."""

    def __init__(self) -> None:
        """Begin without a call."""
        self.address = ""
        self.metadata: list[tuple[str, str]] = []

    async def generate(
        self,
        request: generation_pb2.GenerateRequest,
        context: "aio.ServicerContext[Any, Any]",
    ) -> AsyncIterator[generation_pb2.GenerateEvent]:
        """Finishes at once, with nothing."""
        self.metadata = [(key, str(value)) for key, value in context.invocation_metadata() or ()]
        yield generation_pb2.GenerateEvent(finished=generation_pb2.GenerateFinished(seed=7))


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    """A server that speaks TLS alone, with the certificate of `tls`."""
    gate, server = Gate(), aio.server()
    method = grpc.unary_stream_rpc_method_handler(
        gate.generate,
        request_deserializer=generation_pb2.GenerateRequest.FromString,
        response_serializer=generation_pb2.GenerateEvent.SerializeToString,
    )
    service = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name
    handler = grpc.method_handlers_generic_handler(service, {"Generate": method})
    server.add_generic_rpc_handlers((handler,))
    credentials = grpc.ssl_server_credentials([(tls.KEY, tls.CERTIFICATE)])
    gate.address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    yield gate
    await server.stop(None)
