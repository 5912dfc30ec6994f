"""What the router costs over the least that a relay of the same streams can cost.

    python benchmarks/router_relay.py [--seconds 10] [--rounds 2] [--json FILE]

Three processes and this one: stage workers that answer from a script (with real pauses between
events, as a model makes them), the router, and a bare grpc.aio relay. Each request of the relay is
the very same streams: one Generate in, three Runs out one after another, bytes through, no
decisions and no state. Router and relay take turns, with the same workers and the same load, at 1,
16 and 64 concurrent requests; stage times are chosen so that two cores are not the bottleneck.

CPU is what the process itself used, `Describe` polls, releases and metrics included, divided by the
requests that it served.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from tridentserve.domain.ids import PipelineName, PlanId, WorkerId
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.manifest import v1alpha1
from tridentserve.rpc import convert
from tridentserve.rpc.client import channel
from tridentserve.rpc.v1 import common_pb2, generation_pb2, stage_pb2, tensor_pb2
from tridentserve_router.app import Router
from tridentserve_router.pipeline import MemoryPipeline, Pipeline
from tridentserve_router.pods import MemoryPods, Pod
from tridentserve_router.profiles import MemoryConfigMaps
from tridentserve_router.settings import RouterSettings

PIPELINE = PipelineName("bench/flux")
STEPS = 10
MEDIA_BYTES = 100_000
CONCURRENCIES = {1: 0.1, 16: 0.25, 64: 1.0}
"""Concurrent requests, and the seconds that each spends in the workers."""

GENERATE = "/tridentserve.rpc.v1.GenerationService/Generate"
RUN = "/tridentserve.rpc.v1.StageService/Run"
SERVICE = "tridentserve.rpc.v1.StageService"
BIND = "127.0.0.1:0"
NO_REUSE = [("grpc.so_reuseport", 0)]


# --- workers --------------------------------------------------------------------------------------


def answers(stage: Stage) -> list[tuple[bool, bytes]]:
    """The events of a Run, each with whether a pause comes before it."""
    started = stage_pb2.RunEvent(started=stage_pb2.StageStarted(batch=1))
    events = [(False, started)]
    if stage is Stage.DIFFUSE:
        events += [
            (True, stage_pb2.RunEvent(progress=stage_pb2.StepProgress(step=step, steps=STEPS)))
            for step in range(1, STEPS + 1)
        ]
    outputs = [
        tensor_pb2.TensorRef(
            store="redis",
            key=f"bench/{stage}",
            tensors=[
                tensor_pb2.TensorInfo(name=name, dtype="bfloat16", shape=[1, 256, 4096])
                for name in ("prompt", "pooled")
            ],
            size_bytes=4 << 20,
        )
    ]
    if stage is Stage.DECODE:
        outputs = []
        chunk = common_pb2.MediaChunk(mime_type="image/png", data=b"x" * MEDIA_BYTES, last=True)
        events.append((True, stage_pb2.RunEvent(media=chunk)))
    finished = stage_pb2.RunFinished(
        results=[stage_pb2.ItemResult(outputs=outputs)],
        timing=common_pb2.StageTiming(stage=convert.stage_to(stage), run_seconds=0.1, batch=1),
        digest="digest",
    )
    events.append((stage is Stage.ENCODE, stage_pb2.RunEvent(finished=finished)))
    return [(pause, event.SerializeToString()) for pause, event in events]


PAUSES = sum(pause for stage in STAGES for pause, _ in answers(stage))


def describe(name: str, stage: Stage) -> stage_pb2.DescribeResponse:
    """A worker of one stage with one slot."""
    return stage_pb2.DescribeResponse(
        worker=name,
        boot_id="boot",
        pipeline=PIPELINE,
        revision="bench",
        node="node",
        model=stage_pb2.ModelInfo(
            family="bench",
            digest="digest",
            default_shape=common_pb2.Shape(height=512, width=512, frames=1),
            default_steps=STEPS,
            size_multiple=16,
        ),
        capable=[convert.stage_to(stage)],
        resident=[convert.stage_to(stage)],
        device_ids=[f"cpu/{name}"],
        fraction_percent=100,
        slots=1,
    )


def worker_handlers(name: str, stage: Stage, request_s: float) -> grpc.GenericRpcHandler:
    """StageService from a script; bytes in and out."""
    script = answers(stage)
    description = describe(name, stage).SerializeToString()

    async def run(request: bytes, context: Any) -> None:
        for pause, event in script:
            if pause:
                await asyncio.sleep(request_s / PAUSES)
            await context.write(event)

    async def answer(request: bytes, context: Any) -> bytes:
        return description

    async def release(request: bytes, context: Any) -> bytes:
        return b""

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Run": grpc.unary_stream_rpc_method_handler(run),
        "Describe": grpc.unary_unary_rpc_method_handler(answer),
        "Release": grpc.unary_unary_rpc_method_handler(release),
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


Workers = dict[Stage, list[str]]
Free = dict[Stage, list[Any]]


async def serve_workers(pipe: Connection, each: int, request_s: float) -> None:
    """`each` workers of every stage, until told to end; their addresses go first."""
    servers = []
    addresses: Workers = {}
    for stage in STAGES:
        for number in range(each):
            server = aio.server(options=NO_REUSE)
            handlers = worker_handlers(f"{stage}-{number}", stage, request_s)
            server.add_generic_rpc_handlers((handlers,))
            port = server.add_insecure_port(BIND)
            await server.start()
            servers.append(server)
            addresses.setdefault(stage, []).append(f"127.0.0.1:{port}")
    pipe.send(addresses)
    await asyncio.to_thread(pipe.recv)
    await asyncio.gather(*(server.stop(0) for server in servers))


# --- router and relay -----------------------------------------------------------------------------


async def attend(pipe: Connection) -> None:
    """Answer each question with the processor seconds used so far, until told to end."""
    while await asyncio.to_thread(pipe.recv) == "cpu":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send(usage.ru_utime + usage.ru_stime)


async def serve_router(pipe: Connection, workers: Workers) -> None:
    """The router as it is, with pods and pipeline in memory."""
    body = {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"namespace": "bench", "name": "flux"},
        "spec": {"model": {"uri": "pvc://models/flux"}},
    }
    spec = v1alpha1.parse(body).spec.to_domain(PIPELINE)
    pods = [
        Pod(worker=WorkerId(f"{stage}-{number}"), uid="uid", address=address)
        for stage, addresses in workers.items()
        for number, address in enumerate(addresses)
    ]
    settings = RouterSettings(
        pipeline=PIPELINE,
        host="127.0.0.1",
        grpc_port=0,
        metrics_port=0,
        drain_s=5.0,
        log_format="json",
    )
    pipeline = MemoryPipeline(Pipeline(spec=spec, plan=PlanId("plan")))
    router = Router(
        settings, pipeline=pipeline, pods=MemoryPods(*pods), config_maps=MemoryConfigMaps()
    )
    await router.start()
    while len(router.core.dispatcher.workers) < len(pods):  # noqa: ASYNC110  no event says so
        await asyncio.sleep(0.01)
    pipe.send(router.address)
    await attend(pipe)
    await router.stop()


async def serve_relay(pipe: Connection, workers: Workers) -> None:
    """Three Runs one after another, every event back as it comes."""
    channels = {stage: [channel(address) for address in found] for stage, found in workers.items()}
    free: Free = {
        stage: [one.unary_stream(RUN) for one in found] for stage, found in channels.items()
    }
    item = stage_pb2.SegmentItem(request_id="r" * 22, generation=common_pb2.Generation(prompt="x"))
    request = stage_pb2.RunRequest(segment_id="s" * 32, epoch=1, items=[item]).SerializeToString()

    async def generate(_: bytes, context: Any) -> None:
        for stage in STAGES:
            run = free[stage].pop()
            call = run(request)
            while isinstance(event := await call.read(), bytes):
                await context.write(event)
            free[stage].append(run)

    server = aio.server(options=NO_REUSE)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Generate": grpc.unary_stream_rpc_method_handler(generate)
    }
    service = GENERATE.split("/")[1]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port(BIND)
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    await attend(pipe)
    await server.stop(0)
    for found in channels.values():
        for one in found:
            await one.close()


class Child:
    """A process that runs one of the coroutines above."""

    def __init__(self, main: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Start it, and wait for its first word."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_child, args=(main, theirs, *arguments), daemon=True)
        self._process.start()
        self.word = self._pipe.recv()

    def cpu_s(self) -> float:
        """Processor seconds that it has used."""
        self._pipe.send("cpu")
        return float(self._pipe.recv())

    def end(self) -> None:
        """Tell it to end, and wait."""
        self._pipe.send("end")
        self._process.join()


def _child(main: Callable[..., Any], *arguments: Any) -> None:
    asyncio.run(main(*arguments))


# --- load -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One system at one concurrency."""

    system: str
    concurrency: int
    requests: int
    cpu_ms: float
    """Of the process, a request."""
    p50_ms: float
    p99_ms: float


async def load(address: str, concurrency: int, requests: int) -> list[float]:
    """Seconds of each request; a closed loop of so many at the same time."""
    latencies: list[float] = []
    left = iter(range(requests))
    request = generation_pb2.GenerateRequest(prompt="a fox", seed=1).SerializeToString()
    connection = channel(address)
    generate: Any = connection.unary_stream(GENERATE)

    async def one_after_another() -> None:
        for _ in left:
            begun = time.perf_counter()
            async for _ in _events(generate(request)):
                pass
            latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(one_after_another() for _ in range(concurrency)))
    await connection.close()
    return latencies


async def _events(call: Any) -> AsyncIterator[bytes]:
    while isinstance(event := await call.read(), bytes):
        yield event


def measure(child: Child, concurrency: int, requests: int) -> tuple[float, list[float]]:
    """Processor seconds and latencies of so many requests, after a warm-up."""
    asyncio.run(load(child.word, concurrency, 2 * concurrency))
    before = child.cpu_s()
    latencies = asyncio.run(load(child.word, concurrency, requests))
    return child.cpu_s() - before, latencies


def compare(concurrency: int, request_s: float, seconds: float, rounds: int) -> list[Measured]:
    """Router and relay in turns, with workers enough for all."""
    workers = Child(serve_workers, concurrency, request_s)
    systems = {
        "relay": Child(serve_relay, workers.word),
        "router": Child(serve_router, workers.word),
    }
    requests = max(concurrency, round(seconds / rounds * concurrency / request_s))
    cpu = dict.fromkeys(systems, 0.0)
    latencies: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, child in systems.items():
            used_s, found = measure(child, concurrency, requests)
            cpu[name] += used_s
            latencies[name] += found
    for child in (*systems.values(), workers):
        child.end()
    return [
        Measured(
            system=name,
            concurrency=concurrency,
            requests=len(found),
            cpu_ms=1000 * cpu[name] / len(found),
            p50_ms=1000 * statistics.median(found),
            p99_ms=1000 * statistics.quantiles(found, n=100)[98],
        )
        for name, found in latencies.items()
    ]


HEADER = (
    f"{STEPS} steps, {MEDIA_BYTES} bytes of media; milliseconds\n"
    "at once | requests | relay CPU | router CPU | ratio | relay p50/p99 | added p50/p99"
)


def line(relay: Measured, router: Measured) -> str:
    """One row of the table."""
    return (
        f"{router.concurrency:7} | {router.requests:8} | {relay.cpu_ms:9.2f}"
        f" | {router.cpu_ms:10.2f} | {router.cpu_ms / relay.cpu_ms:5.2f}"
        f" | {relay.p50_ms:6.1f} {relay.p99_ms:6.1f}"
        f" | {router.p50_ms - relay.p50_ms:6.1f} {router.p99_ms - relay.p99_ms:6.1f}"
    )


def run(seconds: float, rounds: int) -> Iterator[tuple[Measured, Measured]]:
    """Relay and router at each concurrency; so many seconds of load a system and row."""
    for concurrency, request_s in CONCURRENCIES.items():
        relay, router = compare(concurrency, request_s, seconds, rounds)
        yield relay, router


def writable(text: str) -> Path:
    """A file whose folder is there, for argparse: refused before anything is measured."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is no file that can be written")
    return path


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of load a system and row")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each system in that time")
    parser.add_argument("--json", type=writable, help="write the figures here too")
    args = parser.parse_args()
    print(HEADER)
    rows: list[Measured] = []
    for relay, router in run(args.seconds, args.rounds):
        rows += [relay, router]
        print(line(relay, router), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
