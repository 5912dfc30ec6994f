"""Workers inside of the test's process: real servers on free ports, fake models, memory stores."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
from grpc import aio
from prometheus_client import CollectorRegistry

from tridentserve import errors
from tridentserve.domain.stages import Stage
from tridentserve.rpc import convert, status
from tridentserve.rpc.client import channel
from tridentserve.rpc.v1 import common_pb2, stage_pb2, stage_pb2_grpc, tensor_pb2
from tridentserve.stage import patience
from tridentserve.stage.fakes import FakeRunner
from tridentserve.stage.loading import Loaded
from tridentserve.stage.runner import StageRunner
from tridentserve.stage.settings import StageSettings, from_environment
from tridentserve.stage.worker import Worker
from tridentserve.store.base import TensorStore
from tridentserve.store.memory import MemoryStore
from tridentserve.store.opening import Stores

PATIENCE_S = 20.0


async def until(holds: Callable[[], bool]) -> None:
    """Return once a condition holds; fail when it does not for too long."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  what is waited for is no event of ours
            await asyncio.sleep(0.002)


def settings(stages: str = "encode", **changes: Any) -> StageSettings:
    """Settings of a worker on free ports; `changes` are fields."""
    environ = {
        "TRIDENTSERVE_MODEL_DIR": "/nowhere",
        "TRIDENTSERVE_GRPC_PORT": "0",
        "TRIDENTSERVE_METRICS_PORT": "0",
        "TRIDENTSERVE_PIPELINE": "team/flux",
        "TRIDENTSERVE_POOL": "pool",
        "POD_NAME": "pod-0",
        "NODE_NAME": "node-0",
    }
    return replace(from_environment(environ, stages), **changes)


def generation(**changes: Any) -> common_pb2.Generation:
    """A small picture."""
    values: dict[str, Any] = {
        "prompt": "a fox",
        "shape": common_pb2.Shape(height=64, width=64, frames=1),
        "steps": 4,
        "guidance": 5.0,
        "seed": 1,
        "count": 1,
        "output_format": "image/png",
    }
    return common_pb2.Generation(**{**values, **changes})


def run_request(
    stage: Stage = Stage.ENCODE,
    *,
    request: str = "r1",
    epoch: int = 1,
    inputs: tuple[tensor_pb2.TensorRef, ...] = (),
    output_domain: str = "",
    digest: str = "",
    **changes: Any,
) -> stage_pb2.RunRequest:
    """A Run of one request; `changes` are of its generation."""
    return stage_pb2.RunRequest(
        segment_id=f"{request}/{stage}/{epoch}",
        epoch=epoch,
        stage=convert.stage_to(stage),
        items=[
            stage_pb2.SegmentItem(
                request_id=request, generation=generation(**changes), inputs=inputs
            )
        ],
        digest=digest,
        output_domain=output_domain,
    )


class Answer:
    """Everything that one Run said."""

    def __init__(self, events: list[stage_pb2.RunEvent]) -> None:
        """Keep the events of a finished Run."""
        self.events = events
        self.finished = events[-1].finished
        self.outputs = tuple(self.finished.results[0].outputs)
        self.steps = [event.progress.step for event in events if event.HasField("progress")]
        started = [event.started.batch for event in events if event.HasField("started")]
        self.batch = started[0] if started else 0

    @property
    def media(self) -> bytes:
        """The first medium."""
        chunks = [event.media for event in self.events if event.HasField("media")]
        return b"".join(chunk.data for chunk in chunks if chunk.index == 0)


class Call:
    """A Run under way, read event by event."""

    def __init__(self, call: "aio.UnaryStreamCall[stage_pb2.RunRequest, stage_pb2.RunEvent]"):
        """Listen to it."""
        self._call = call

    async def read(self) -> stage_pb2.RunEvent:
        """The next event."""
        event = await self._call.read()
        assert isinstance(event, stage_pb2.RunEvent), "the stream has ended"
        return event

    async def read_step(self, step: int) -> None:
        """Read on until this step is done."""
        while (await self.read()).progress.step != step:
            pass

    async def rest(self) -> Answer:
        """Read to the end."""
        events = [await self.read()]
        while not events[-1].HasField("finished"):
            events.append(await self.read())
        return Answer(events)

    def cancel(self) -> None:
        """Go away, as a client does that dies or hangs up."""
        self._call.cancel()


@dataclass(kw_only=True)
class Bench:
    """One worker and what a test needs to poke at it."""

    worker: Worker
    stub: "stage_pb2_grpc.StageServiceAsyncStub"
    local: TensorStore
    network: MemoryStore
    registry: CollectorRegistry
    runner: FakeRunner

    until = staticmethod(until)
    generation = staticmethod(generation)

    def request(self, stage: Stage | None = None, **changes: Any) -> stage_pb2.RunRequest:
        """A Run of the bench's own stage, or another one; see `run_request`."""
        return run_request(stage or self.runner.stage, **changes)

    @property
    def domain(self) -> str:
        """The worker's memory domain."""
        assert self.local.domain is not None
        return self.local.domain

    @property
    def used_bytes(self) -> int:
        """Bytes in both stores: what leaks shows here."""
        assert isinstance(self.local, MemoryStore)
        return self.local.used_bytes + self.network.used_bytes

    async def run(self, request: stage_pb2.RunRequest) -> Answer:
        """Run to the end."""
        return Answer([event async for event in self.stub.Run(request)])

    @staticmethod
    async def fails(call: Awaitable[Any]) -> errors.TridentServeError:
        """The error that a call ends with."""
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        return status.from_call(caught.value)

    async def fails_or_runs(
        self, request: stage_pb2.RunRequest
    ) -> Answer | errors.TridentServeError:
        """The answer of a Run, or the error that it ended with."""
        try:
            return await self.run(request)
        except aio.AioRpcError as error:
            return status.from_call(error)

    def listen(self, request: stage_pb2.RunRequest, timeout_s: float | None = None) -> Call:
        """Start a Run."""
        return Call(self.stub.Run(request, timeout=timeout_s))

    async def begin(self, request: stage_pb2.RunRequest) -> Call:
        """Start a Run, and return when it said that it started."""
        call = self.listen(request)
        assert (await call.read()).HasField("started")
        return call

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value, 0 where it was never touched."""
        return (
            self.registry.get_sample_value(
                name, {"pipeline": "team/flux", "stage": self.runner.stage, **labels}
            )
            or 0.0
        )

    def worker_runs(self) -> int:
        """Runs that have not ended."""
        return self.worker.running

    def inflight(self) -> float:
        """Slots that are taken."""
        return self.sample("tridentserve_stage_inflight", pool="pool")

    async def probe(self, path: str) -> tuple[int, str]:
        """Ask the HTTP side."""
        url = f"http://{self.worker.server.metrics_address}/{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()


Serve = Callable[..., Awaitable[Bench]]
MakeSettings = Callable[..., StageSettings]
MakeRequest = Callable[..., stage_pb2.RunRequest]


@pytest.fixture
def make_settings() -> MakeSettings:
    """Settings of a worker on free ports: `make_settings("encode", max_batch=2)`."""
    return settings


@pytest.fixture
def make_request() -> MakeRequest:
    """A RunRequest, of encode unless told; see `run_request`."""
    return run_request


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that ask a store once."""
    monkeypatch.setattr(patience, "PATIENCE_S", 0.0)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """A function that starts workers and gives a `Bench` each; fields of settings by name."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            *runners: FakeRunner,
            local: TensorStore | None = None,
            network: MemoryStore | None = None,
            ready: bool = True,
            **changes: Any,
        ) -> Bench:
            hosted: dict[Stage, StageRunner] = {runner.stage: runner for runner in runners}
            registry = CollectorRegistry()
            worker = Worker(settings(",".join(hosted), **changes), registry)
            local = local or MemoryStore(name="shm")
            network = network or MemoryStore(name="redis", network=True)
            await worker.bind()
            stack.push_async_callback(worker.close)
            if ready:
                await worker.serve(
                    Loaded(runners=hosted, seconds=dict.fromkeys(hosted, 0.5)),
                    Stores(local=local, network=network),
                )
            link = channel(worker.server.address)
            stack.push_async_callback(link.close)
            return Bench(
                worker=worker,
                stub=stage_pb2_grpc.StageServiceStub(link),
                local=local,
                network=network,
                registry=registry,
                runner=runners[0],
            )

        yield start
