"""A router and its workers inside of the test's process: real gRPC, fake models, memory stores."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from grpc import aio
from prometheus_client import CollectorRegistry
from tests.router.bad_requests import MODEL

from tridentserve import errors
from tridentserve.domain.ids import ContentDigest, PipelineName, PlanId, WorkerId
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.tensors import Tensor
from tridentserve.manifest import v1alpha1
from tridentserve.manifest.profile_choice import ProfileChoice
from tridentserve.rpc import status
from tridentserve.rpc.client import channel
from tridentserve.rpc.v1 import generation_pb2, generation_pb2_grpc
from tridentserve.stage.fakes import FakeRunner
from tridentserve.stage.loading import Loaded
from tridentserve.stage.runner import Media, Output, Task
from tridentserve.stage.settings import from_environment
from tridentserve.stage.worker import Worker
from tridentserve.store.memory import MemoryStore
from tridentserve.store.opening import Stores
from tridentserve_router.app import Router
from tridentserve_router.pipeline import MemoryPipeline, Pipeline
from tridentserve_router.pods import MemoryPods, Pod
from tridentserve_router.profiles import MemoryConfigMaps
from tridentserve_router.settings import RouterSettings

PATIENCE_S = 20.0
PIPELINE = PipelineName("team/flux")
MANY_STEPS = 10_000


async def until(holds: Callable[[], bool]) -> None:
    """Return once a condition holds; fail when it does not for too long."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  conditions of many parts; none has an event
            await asyncio.sleep(0.002)


def make_spec(**changes: Any) -> PipelineSpec:
    """A pipeline with every default but the changed fields."""
    body = {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"namespace": "team", "name": "flux"},
        "spec": {"model": {"uri": "pvc://models/flux"}},
    }
    return replace(v1alpha1.parse(body).spec.to_domain(PIPELINE), **changes)


class SharedStore(MemoryStore):
    """Outlives the workers that use it, as Redis and a node's memory do."""

    def close(self) -> None:
        """Stay open."""


def drawer(stage: Stage, digest: str) -> Callable[[Task], Output]:
    """Makes output that tells which digest, stage and request had a hand in it."""

    def make(task: Task) -> Output:
        generation = task.generation
        inputs = b"".join(bytes(tensor.data) for tensor in task.inputs.values())
        data = f"{digest} {stage} {generation.prompt} {generation.seed};".encode() + inputs
        if stage is Stage.DECODE:
            media = Media(mime_type="image/png", data=data)
            return Output(tensors={}, media=(media,) * generation.count)
        tensor = Tensor(dtype="uint8", shape=(len(data),), data=memoryview(data))
        return Output(tensors={stage: tensor})

    return make


def picture(prompt: str = "a fox", seed: int = 7, digest: str = "old") -> bytes:
    """What the three stages of one digest make together."""
    words = [f"{digest} {stage} {prompt} {seed};" for stage in reversed(STAGES)]
    return "".join(words).encode()


@dataclass(kw_only=True)
class Member:
    """One worker of the town."""

    name: WorkerId
    worker: Worker
    runner: FakeRunner
    held: bool = False

    def hold(self) -> None:
        """Let it stop before each step from now on."""
        self.held = True
        self.runner.hold()

    async def busy(self) -> None:
        """Wait until it runs something."""
        await until(lambda: self.worker.running == 1)

    def free(self) -> None:
        """Let it go on to the end, for good."""
        if self.held:
            self.runner.allow(MANY_STEPS)


@dataclass(kw_only=True)
class Result:
    """Everything that one Generate said."""

    events: list[generation_pb2.GenerateEvent] = field(default_factory=list)
    error: errors.TridentServeError | None = None

    @property
    def request_id(self) -> str:
        """From the first event."""
        return self.events[0].accepted.request_id

    @property
    def finished(self) -> generation_pb2.GenerateFinished:
        """The last event."""
        assert self.error is None, self.error
        assert self.events[-1].HasField("finished")
        return self.events[-1].finished

    @property
    def media(self) -> list[bytes]:
        """Pictures by index, from the last attempt of decode."""
        pictures: dict[int, bytes] = {}
        for event in self.events:
            if event.HasField("stage_start"):
                pictures = {}
            if event.HasField("media"):
                chunk = event.media
                pictures[chunk.index] = pictures.get(chunk.index, b"") + chunk.data
        return [pictures[index] for index in sorted(pictures)]

    def starts(self, stage: Stage) -> list[tuple[str, int]]:
        """(worker, attempt) of every start of a stage."""
        number = STAGES.index(stage) + 1
        found = [event.stage_start for event in self.events if event.HasField("stage_start")]
        return [(start.worker, start.attempt) for start in found if start.stage == number]

    def steps(self) -> list[list[int]]:
        """Steps that were told, in a list for each start of a stage."""
        told: list[list[int]] = []
        for event in self.events:
            if event.HasField("stage_start"):
                told.append([])
            if event.HasField("step"):
                told[-1].append(event.step.step)
        return told


class Ask:
    """A Generate that runs beside the test."""

    def __init__(self, stub: Any, timeout_s: float | None, metadata: Any, **fields: Any) -> None:
        """Send it."""
        request = generation_pb2.GenerateRequest(**{"prompt": "a fox", "seed": 7, **fields})
        self.call = stub.Generate(request, timeout=timeout_s, metadata=metadata)
        self.result = Result()
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> Result:
        try:
            async for event in self.call:
                self.result.events.append(event)
        except aio.AioRpcError as error:
            self.result.error = status.from_call(error)
        return self.result

    async def accepted(self) -> str:
        """The request's id, once it is in."""
        await until(lambda: bool(self.result.events) or self.task.done())
        return self.result.request_id

    async def started(self, stage: Stage, attempt: int = 1) -> None:
        """Wait until a stage has started."""
        await until(
            lambda: (
                any(number >= attempt for _, number in self.result.starts(stage))
                or self.task.done()
            )
        )
        assert self.result.starts(stage), self.result

    async def stepped(self, stage: Stage) -> None:
        """Wait until a stage has told of a step."""
        await self.started(stage)
        count = len(self.result.steps())
        await until(lambda: bool(self.result.steps()[count - 1]) or self.task.done())

    async def done(self) -> Result:
        """Everything that it said."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.task


class Town:
    """A router, its pipeline, and workers on nodes that may or may not share memory."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        """Begin without workers."""
        self._stack = stack
        self.pods = MemoryPods()
        self.config_maps = MemoryConfigMaps()
        self.spec = make_spec()
        self.profile: ProfileChoice | None = None
        self.pipeline = MemoryPipeline(Pipeline(spec=self.spec, plan=PlanId("plan-1")))
        self.network = SharedStore(name="redis", network=True)
        self.nodes: dict[str, SharedStore] = {}
        self.members: dict[str, Member] = {}
        self._killed: list[Member] = []
        self.router: Router

    async def open(self, drain_s: float = 10.0, first_worker_s: float = 0.0) -> None:
        """Start the router."""
        settings = RouterSettings(
            pipeline=PIPELINE,
            host="127.0.0.1",
            grpc_port=0,
            metrics_port=0,
            drain_s=drain_s,
            log_format="text",
            poll_s=0.05,
            first_worker_s=first_worker_s,
        )
        self.router = Router(
            settings, pipeline=self.pipeline, pods=self.pods, config_maps=self.config_maps
        )
        await self.router.start()
        self.channel = channel(self.router.address)
        self.stub = generation_pb2_grpc.GenerationServiceStub(self.channel)
        self._stack.push_async_callback(self.channel.close)

    async def close(self) -> None:
        """Stop the router before its workers, so that it can settle its debts."""
        for member in self.members.values():
            member.free()
        await self.router.stop()

    def edit(self, plan: str = "plan-1", **changes: Any) -> None:
        """Change the pipeline's spec."""
        self.spec = replace(self.spec, **changes)
        self.pipeline.put(Pipeline(spec=self.spec, plan=PlanId(plan), profile=self.profile))

    async def name_profile(self, choice: ProfileChoice | None, **changes: Any) -> None:
        """Name a profile, change the spec, and wait until the router has read of it."""
        self.profile = choice
        self.edit(**changes)
        await until(lambda: self.router.core.pipeline.profile == choice)

    async def worker(
        self,
        name: str,
        stage: Stage,
        *,
        node: str = "a",
        digest: str = "old",
        held: bool = False,
        make: Callable[[Task], Output] | None = None,
        **changes: Any,
    ) -> Member:
        """Start a worker, and return when the router knows it."""
        store = self.nodes.setdefault(node, SharedStore(name="shm"))
        model = replace(MODEL, digest=ContentDigest(digest))
        runner = FakeRunner(stage, make=make or drawer(stage, digest), model=model)
        environ = {
            "TRIDENTSERVE_MODEL_DIR": "/nowhere",
            "TRIDENTSERVE_GRPC_PORT": "0",
            "TRIDENTSERVE_METRICS_PORT": "0",
            "TRIDENTSERVE_PIPELINE": PIPELINE,
            "TRIDENTSERVE_REVISION": f"rev-{digest}",
            "POD_NAME": name,
            "NODE_NAME": node,
        }
        settings = replace(from_environment(environ, stage), **changes)
        worker = Worker(settings, CollectorRegistry())
        member = Member(name=WorkerId(name), worker=worker, runner=runner)
        if held:
            member.hold()
        await worker.bind()
        self._stack.push_async_callback(worker.close)
        self._stack.callback(member.free)
        await worker.serve(
            Loaded(runners={stage: runner}, seconds={stage: 0.1}),
            Stores(local=store, network=self.network),
        )
        self.members[name] = member
        self.pods.put(Pod(worker=member.name, uid=name, address=worker.server.address))
        await self.known(name)
        return member

    async def chain(self, suffix: str = "", **changes: Any) -> None:
        """One worker of each stage: `encode`, `diffuse`, `decode`, with a suffix."""
        for stage in STAGES:
            await self.worker(f"{stage}{suffix}", stage, **changes)

    async def known(self, name: str) -> None:
        """Wait until the router can use a worker."""
        workers = self.router.core.dispatcher.workers
        await until(lambda: WorkerId(name) in workers)

    async def kill(self, name: str) -> None:
        """End a worker's server at once, with all that runs there; its pod stays."""
        member = self.members[name]
        await member.worker.server.stop(0)
        member.free()
        self._killed.append(member)

    async def remove(self, name: str) -> None:
        """Kill a worker and take its pod away."""
        await self.kill(name)
        self.pods.remove(WorkerId(name))
        workers = self.router.core.dispatcher.workers
        await until(lambda: WorkerId(name) not in workers)

    def ask(self, *, timeout_s: float | None = None, metadata: Any = None, **fields: Any) -> Ask:
        """Send a request; `fields` are of `GenerateRequest`."""
        return Ask(self.stub, timeout_s, metadata, **fields)

    async def generate(self, **fields: Any) -> Result:
        """Send a request and read to its end."""
        return await self.ask(**fields).done()

    def sample(self, name: str, **labels: str) -> float | None:
        """A metric of the router."""
        return self.router.registry.get_sample_value(name, {"pipeline": PIPELINE, **labels})

    async def queued(self, stage: Stage, requests: int) -> None:
        """Wait until so many requests wait for a stage."""
        name = "tridentserve_stage_queue_depth"
        await until(lambda: self.sample(name, stage=stage) == requests)

    def used_bytes(self) -> int:
        """Bytes in all stores."""
        return sum(store.used_bytes for store in (self.network, *self.nodes.values()))

    async def settled(self) -> None:
        """Wait until nothing runs, nobody waits, and every tensor is released.

        What killed workers left behind is taken away first: nobody is left to tell.
        """
        for member in self._killed:
            await member.worker.close()
        await until(lambda: not len(self.router.core.requests))
        await until(lambda: not any(m.worker.running for m in self.members.values()))
        await until(lambda: self.used_bytes() == 0)
        for stage in STAGES:
            assert self.sample("tridentserve_stage_queue_depth", stage=stage) == 0.0


@contextlib.asynccontextmanager
async def opened(drain_s: float = 10.0, first_worker_s: float = 0.0) -> AsyncIterator[Town]:
    """A town whose router runs, without workers."""
    async with contextlib.AsyncExitStack() as stack:
        town = Town(stack)
        await town.open(drain_s, first_worker_s)
        try:
            yield town
        finally:
            await town.close()


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    """A town whose router runs, without workers."""
    async with opened() as town:
        yield town
