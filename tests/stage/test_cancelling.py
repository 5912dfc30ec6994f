"""Whoever cancels, and whenever: the work stops, the slot is free, and nothing is left behind."""

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tridentserve import errors
from tridentserve.domain.stages import Stage
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import stage_pb2
from tridentserve.stage.fakes import FakeRunner, echo
from tridentserve.stage.runner import Output, Task
from tridentserve.store.memory import MemoryStore

if TYPE_CHECKING:
    from tests.stage.conftest import Bench, Serve

WASTED = "tridentserve_wasted_gpu_seconds_total"


def _control(segment: str, epoch: int = 1) -> stage_pb2.ControlRequest:
    return stage_pb2.ControlRequest(segment_id=segment, epoch=epoch, verb=stage_pb2.VERB_CANCEL)


async def _nothing_is_left(bench: "Bench") -> None:
    await bench.until(lambda: bench.worker_runs() == 0)
    assert bench.inflight() == 0
    assert bench.used_bytes == 0


class GatedStore(MemoryStore):
    """A network store whose puts or gets wait until the test lets them go on."""

    def __init__(self, gated: str) -> None:
        """Gate `put` or `get`."""
        super().__init__(name="redis", network=True)
        self._gated = gated
        self.reached, self.gate = threading.Event(), threading.Event()

    def _pass(self, name: str) -> None:
        if name == self._gated:
            self.reached.set()
            assert self.gate.wait(20)

    def put(self, *arguments: object, **named: object):  # type: ignore[no-untyped-def]
        """See `TensorStore.put`."""
        self._pass("put")
        return super().put(*arguments, **named)  # type: ignore[arg-type]

    def get(self, *arguments: object):  # type: ignore[no-untyped-def]
        """See `TensorStore.get`."""
        self._pass("get")
        return super().get(*arguments)  # type: ignore[arg-type]


@pytest.fixture
def held() -> FakeRunner:
    runner = FakeRunner(Stage.ENCODE)
    runner.hold()
    return runner


async def test_control_stops_a_run_at_its_next_step_and_the_runner_goes_on(
    serve: "Serve", held: FakeRunner
) -> None:
    bench = await serve(held)
    call = await bench.begin(bench.request(steps=10))
    held.allow(2)
    await call.read_step(1)

    answer = await bench.stub.Control(_control("r1/encode/1"))
    held.allow(2)

    assert answer.found
    assert isinstance(await bench.fails(call.rest()), errors.CancelledError)
    await _nothing_is_left(bench)
    held.allow(100)
    await bench.until(lambda: bench.sample(WASTED) > 0)
    wasted_s = bench.sample(WASTED)
    assert (await bench.run(bench.request(request="r2"))).outputs
    assert len(held.calls) == 2
    assert bench.sample(WASTED) == wasted_s


async def test_control_of_an_older_epoch_leaves_the_run_alone(
    serve: "Serve", held: FakeRunner
) -> None:
    bench = await serve(held)
    call = await bench.begin(bench.request(epoch=3))

    error = await bench.fails(bench.stub.Control(_control("r1/encode/3", epoch=2)))
    held.allow(4)

    assert isinstance(error, errors.StaleEpochError)
    assert (await call.rest()).outputs


async def test_a_client_that_goes_away_stops_the_run_at_its_next_step(
    serve: "Serve", held: FakeRunner
) -> None:
    bench = await serve(held)
    call = await bench.begin(bench.request(steps=10))

    call.cancel()
    await bench.until(lambda: bench.inflight() == 0)
    held.allow(1)  # nine more would be needed to finish

    await _nothing_is_left(bench)
    held.allow(100)
    assert (await bench.run(bench.request(request="r2"))).outputs


async def test_a_deadline_that_passes_stops_the_run(serve: "Serve", held: FakeRunner) -> None:
    bench = await serve(held)

    call = bench.listen(bench.request(steps=10), timeout_s=0.2)

    assert isinstance(await bench.fails(call.rest()), errors.DeadlineExceededError)
    await bench.until(lambda: bench.inflight() == 0)
    held.allow(1)
    await _nothing_is_left(bench)


async def test_a_cancelled_run_gives_its_slot_back_before_its_step_ends(
    serve: "Serve", held: FakeRunner
) -> None:
    bench = await serve(held)
    call = await bench.begin(bench.request(steps=10))
    call.cancel()
    await bench.until(lambda: bench.inflight() == 0)

    following = bench.listen(bench.request(request="r2", steps=2))
    await bench.until(lambda: bench.inflight() == 1)
    held.allow(3)

    assert (await following.rest()).outputs


async def test_a_waiting_run_is_cancelled_without_ever_running(
    serve: "Serve", held: FakeRunner
) -> None:
    bench = await serve(held, max_batch=2, max_wait_s=0.0)
    first = await bench.begin(bench.request(request="r1", steps=2))
    waiting = bench.listen(bench.request(request="r2", steps=3))
    await bench.until(lambda: bench.worker_runs() == 2)

    assert (await bench.stub.Control(_control("r2/encode/1"))).found
    assert isinstance(await bench.fails(waiting.rest()), errors.CancelledError)
    held.allow(10)

    assert (await first.rest()).outputs
    assert len(held.calls) == 1


async def test_one_of_a_batch_is_cancelled_and_the_other_one_finishes(
    serve: "Serve", held: FakeRunner
) -> None:
    bench = await serve(held, max_batch=2, max_wait_s=3600.0)
    calls = [bench.listen(bench.request(request=name)) for name in ("a", "b")]
    for call in calls:
        assert (await call.read()).started.batch == 2

    await bench.stub.Control(_control("a/encode/1"))
    held.allow(1)
    assert isinstance(await bench.fails(calls[0].rest()), errors.CancelledError)
    held.allow(3)

    assert (await calls[1].rest()).outputs
    await bench.until(lambda: bench.worker_runs() == 0)
    assert len(held.calls) == 1
    ran = {"pool": "pool", "shape_class": "64px"}
    call_s = bench.sample("tridentserve_stage_duration_seconds_sum", **ran)
    assert bench.sample(WASTED) == pytest.approx(call_s / 2)


async def test_a_stage_without_steps_hands_nothing_on_once_it_is_cancelled(
    serve: "Serve",
) -> None:
    reached, gate = threading.Event(), threading.Event()

    def make(task: Task) -> Output:
        reached.set()
        assert gate.wait(20)
        return echo(task)

    bench = await serve(FakeRunner(Stage.ENCODE, make=make))
    call = await bench.begin(bench.request())
    await bench.until(reached.is_set)

    await bench.stub.Control(_control("r1/encode/1"))
    gate.set()

    assert isinstance(await bench.fails(call.rest()), errors.CancelledError)
    await _nothing_is_left(bench)
    ran = "tridentserve_stage_duration_seconds_count"
    assert bench.sample(ran, pool="pool", shape_class="64px") == 0


async def test_a_runner_that_only_waits_is_woken_by_the_cancellation(serve: "Serve") -> None:
    reached = threading.Event()

    def make(task: Task) -> Output:
        if task.generation.prompt == "slow":
            reached.set()
            bench.worker.engine.sleep(3600.0)
        return echo(task)

    bench = await serve(FakeRunner(Stage.ENCODE, make=make))
    call = bench.listen(bench.request(prompt="slow"))
    await bench.until(reached.is_set)

    call.cancel()

    assert (await bench.run(bench.request(request="r2", prompt="quick"))).outputs


async def test_what_is_released_while_it_is_exported_leaves_no_copy(serve: "Serve") -> None:
    store = GatedStore("put")
    bench = await serve(FakeRunner(Stage.ENCODE), network=store)
    answer = await bench.run(bench.request(output_domain=bench.domain))
    export = stage_pb2.ExportRequest(ref=answer.outputs[0], store="redis")
    exporting = asyncio.ensure_future(bench.fails(bench.stub.Export(export)))
    await bench.until(store.reached.is_set)

    await bench.stub.Release(stage_pb2.ReleaseRequest(refs=answer.outputs))
    store.gate.set()

    assert isinstance(await exporting, errors.TensorUnavailableError)
    assert bench.used_bytes == 0


async def test_a_client_that_goes_away_during_the_put_leaves_no_tensor(serve: "Serve") -> None:
    store = GatedStore("put")
    bench = await serve(FakeRunner(Stage.ENCODE), network=store)
    call = bench.listen(bench.request())
    await bench.until(store.reached.is_set)

    call.cancel()
    await bench.until(lambda: bench.inflight() == 0)
    store.gate.set()

    await _nothing_is_left(bench)


async def test_a_client_that_goes_away_during_the_fetch_never_reaches_the_model(
    serve: "Serve",
) -> None:
    store = GatedStore("get")
    bench = await serve(FakeRunner(Stage.DIFFUSE), network=store)
    tensors = echo(Task(generation=convert.generation_from(bench.generation()), inputs={})).tensors
    ref = convert.tensor_ref_to(store.put(tensors, ttl_s=1e9, now=0.0))
    call = bench.listen(bench.request(inputs=(ref,)))
    await bench.until(store.reached.is_set)

    call.cancel()
    await bench.until(lambda: bench.inflight() == 0)
    store.gate.set()

    await bench.until(lambda: bench.worker_runs() == 0)
    assert bench.runner.calls == []


async def test_outputs_stay_when_the_client_read_finished_and_then_hung_up(
    serve: "Serve",
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    call = bench.listen(bench.request())

    answer = await call.rest()
    call.cancel()

    await bench.until(lambda: bench.worker_runs() == 0)
    assert bench.network.get(convert.tensor_ref_from(answer.outputs[0]))


async def test_control_deletes_what_a_segment_made_that_has_just_finished(
    serve: "Serve",
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))
    await bench.run(bench.request(request="r1"))
    kept = await bench.run(bench.request(request="r2"))
    await bench.until(lambda: bench.worker_runs() == 0)

    answer = await bench.stub.Control(_control("r1/encode/1"))

    assert not answer.found
    assert bench.used_bytes == kept.outputs[0].size_bytes


@pytest.mark.parametrize("seed", range(10))
async def test_clients_that_hang_up_at_any_moment_and_say_so_leave_nothing(
    serve: "Serve", seed: int
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), max_batch=4, max_wait_s=0.001)
    moments = {f"r{number}": (seed * 7 + number) ** 2 % 97 for number in range(12)}

    async def hang_up(name: str, after: int) -> None:
        call = bench.listen(bench.request(request=name, steps=3))
        for _ in range(after):
            await asyncio.sleep(0)
        call.cancel()

    async def say_so() -> bool:
        for name in moments:
            await bench.stub.Control(_control(f"{name}/encode/1"))
        return bench.worker_runs() == 0 and bench.used_bytes == 0

    await asyncio.gather(*(hang_up(name, after) for name, after in moments.items()))

    # Again until it holds: some of the calls may have reached the worker only now.
    async with asyncio.timeout(20):
        while not await say_so():
            pass
    assert bench.inflight() == 0
    assert (await bench.run(bench.request(request="after"))).outputs
