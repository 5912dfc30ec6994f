"""Leaving without losing a request, staying alive, and what is left when time is up."""

import asyncio
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tridentserve import errors
from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.stages import Stage
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import stage_pb2
from tridentserve.stage import worker
from tridentserve.stage.fakes import FakeRunner, echo
from tridentserve.stage.runner import Output, Task
from tridentserve.store.memory import MemoryStore

if TYPE_CHECKING:
    from tests.stage.conftest import Bench, Serve


async def _draining(bench: "Bench") -> "asyncio.Task[bool]":
    task = asyncio.create_task(bench.worker.drain())
    while not (await bench.stub.Describe(stage_pb2.DescribeRequest())).draining:
        pass
    return task


async def _release(bench: "Bench", refs: "tuple[object, ...]") -> None:
    await bench.stub.Release(stage_pb2.ReleaseRequest(refs=refs))  # type: ignore[arg-type]


async def test_draining_finishes_what_runs_refuses_what_is_new_and_ends_with_the_last_release(
    serve: "Serve",
) -> None:
    runner = FakeRunner(Stage.ENCODE)
    runner.hold()
    bench = await serve(runner, drain_s=3600.0)
    running = await bench.begin(bench.request(request="a", output_domain=bench.domain))

    drained = await _draining(bench)

    refused = await bench.fails(bench.run(bench.request(request="b")))
    assert isinstance(refused, errors.UnavailableError)
    assert refused.reason == "DRAINING"
    assert (await bench.probe("readyz"))[0] == 503
    assert (await bench.probe("healthz"))[0] == 200
    runner.allow(4)
    answer = await running.rest()
    # Its consumer may still need it, and may need it elsewhere.
    export = stage_pb2.ExportRequest(ref=answer.outputs[0], store="redis")
    assert (await bench.stub.Export(export)).ref.store == "redis"
    assert not drained.done()
    await _release(bench, answer.outputs)
    assert await drained
    assert bench.used_bytes == 0


async def test_an_idle_worker_drains_at_once(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), drain_s=3600.0)

    assert await bench.worker.drain()


async def test_when_drain_time_is_over_runs_are_broken_off_as_draining(serve: "Serve") -> None:
    runner = FakeRunner(Stage.ENCODE)
    runner.hold()
    bench = await serve(runner, drain_s=0.05)
    running = await bench.begin(bench.request())

    assert not await bench.worker.drain()
    closing = asyncio.create_task(bench.worker.close())

    error = await bench.fails(running.rest())
    assert isinstance(error, errors.UnavailableError)
    assert error.reason == "DRAINING"
    runner.allow(1)
    await closing


async def test_closing_deletes_what_nobody_released(serve: "Serve") -> None:
    network = MemoryStore(name="redis", network=True)
    bench = await serve(FakeRunner(Stage.ENCODE), network=network, drain_s=0.0)
    await bench.run(bench.request())
    assert network.used_bytes > 0

    assert not await bench.worker.drain()
    await bench.worker.close()

    assert network.used_bytes == 0


async def test_grpc_health_follows_readiness(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), drain_s=3600.0)

    async def status() -> "health_pb2.HealthCheckResponse.ServingStatus":
        async with aio.insecure_channel(bench.worker.server.address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return (await stub.Check(health_pb2.HealthCheckRequest())).status

    assert await status() == health_pb2.HealthCheckResponse.SERVING
    await bench.worker.drain()
    assert await status() == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_liveness_fails_when_a_call_hangs_and_recovers_with_its_next_step(
    serve: "Serve",
) -> None:
    runner = FakeRunner(Stage.ENCODE)
    runner.hold()
    bench = await serve(runner, stall_s=0.05)
    call = await bench.begin(bench.request(steps=2))

    async with asyncio.timeout(20):
        while (await bench.probe("healthz"))[0] == 200:
            pass
    assert "no step" in (await bench.probe("healthz"))[1]

    runner.allow(2)
    assert (await call.rest()).outputs
    assert (await bench.probe("healthz"))[0] == 200


async def test_liveness_fails_when_the_engines_thread_died(serve: "Serve") -> None:
    def make(_: Task) -> Output:
        raise SystemExit(3)

    bench = await serve(FakeRunner(Stage.ENCODE, make=make))

    error = await bench.fails(bench.run(bench.request()))

    assert isinstance(error, errors.UnavailableError)
    status, text = await bench.probe("healthz")
    assert (status, "died" in text) == (503, True)
    # Nor does it hang those that come after.
    again = await bench.fails(bench.run(bench.request(request="r2")))
    assert isinstance(again, errors.UnavailableError)


async def test_the_loop_answers_while_the_engine_works(serve: "Serve") -> None:
    reached, gate = threading.Event(), threading.Event()

    def make(task: Task) -> Output:
        reached.set()
        assert gate.wait(20)
        return echo(task)

    bench = await serve(FakeRunner(Stage.ENCODE, make=make))
    call = bench.listen(bench.request())
    await bench.until(reached.is_set)

    assert (await bench.stub.Describe(stage_pb2.DescribeRequest())).slots == 1
    assert (await bench.probe("metrics"))[0] == 200
    gate.set()
    assert (await call.rest()).outputs


class AwayStore(MemoryStore):
    """A network store that can be away."""

    def __init__(self) -> None:
        """Begin within reach."""
        super().__init__(name="redis", network=True)
        self.away = False

    def put(self, tensors: Mapping[str, Tensor], *, ttl_s: float, now: float) -> TensorRef:
        """See `TensorStore.put`."""
        self._reach()
        return super().put(tensors, ttl_s=ttl_s, now=now)

    def delete(self, ref: TensorRef) -> None:
        """See `TensorStore.delete`."""
        self._reach()
        super().delete(ref)

    def _reach(self) -> None:
        if self.away:
            raise errors.UnavailableError("connection refused")


async def test_what_could_not_be_deleted_is_deleted_once_the_store_is_back(
    serve: "Serve",
) -> None:
    store = AwayStore()
    bench = await serve(FakeRunner(Stage.ENCODE), network=store)
    answer = await bench.run(bench.request())

    store.away = True
    await _release(bench, answer.outputs)
    assert store.used_bytes > 0
    store.away = False
    await bench.worker.tidy()

    assert store.used_bytes == 0


@pytest.mark.usefixtures("impatient")
async def test_a_store_that_is_away_refuses_the_put_and_the_worker_goes_on(
    serve: "Serve",
) -> None:
    store = AwayStore()
    bench = await serve(FakeRunner(Stage.ENCODE), network=store)

    store.away = True
    error = await bench.fails(bench.run(bench.request()))
    store.away = False

    assert isinstance(error, errors.UnavailableError)
    assert error.reason == "STORE_UNREACHABLE"
    assert (await bench.run(bench.request(request="r2"))).outputs


class BrokenStore(MemoryStore):
    """A store whose tidying has a defect."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__(network=True)

    def reap(self, *, now: float) -> None:
        """See `TensorStore.reap`."""
        raise RuntimeError("a defect")


async def test_liveness_fails_when_tidying_has_ended(
    serve: "Serve", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_TIDY_INTERVAL_S", 0.0)
    bench = await serve(FakeRunner(Stage.ENCODE), network=BrokenStore())

    await bench.until(lambda: bench.worker.problem() is not None)

    assert bench.worker.problem() == "tidying has stopped"


async def test_tensors_that_nobody_released_go_when_their_time_is_over(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    request = bench.request(output_domain=bench.domain)
    request.tensor_ttl_seconds = 0.001
    answer = await bench.run(request)
    ref = convert.tensor_ref_from(answer.outputs[0])
    assert ref.domain == MemoryDomain(bench.domain)

    async with asyncio.timeout(20):
        while bench.used_bytes:
            await bench.worker.tidy()
    gone = await bench.fails(
        bench.stub.Export(stage_pb2.ExportRequest(ref=answer.outputs[0], store="redis"))
    )
    assert isinstance(gone, errors.TensorUnavailableError)
