"""One Run without a network: what it tells when, and what it leaves when it is cancelled late."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from tridentserve.domain.ids import PipelineName, PoolName
from tridentserve.domain.stages import Stage
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import (
    CancelledError,
    ExhaustedError,
    TensorCorruptedError,
    UnavailableError,
)
from tridentserve.rpc.v1 import stage_pb2
from tridentserve.stage import orders
from tridentserve.stage.batching import Window
from tridentserve.stage.engine import Engine
from tridentserve.stage.fakes import FakeRunner
from tridentserve.stage.handoff import Handoff
from tridentserve.stage.patience import Patience
from tridentserve.stage.references import References
from tridentserve.stage.runs import Run
from tridentserve.stage.scheduling import Scheduler
from tridentserve.store.memory import MemoryStore
from tridentserve.store.opening import Stores
from tridentserve.telemetry.metrics import WorkerMetrics

if TYPE_CHECKING:
    from tests.stage.conftest import MakeRequest


class FailingStore(MemoryStore):
    """A network store that is away or full for the first puts, and can hold the later ones up."""

    def __init__(self) -> None:
        """Begin as one that works."""
        super().__init__(network=True)
        self.failures: list[Exception] = []
        self.reached, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.puts = 0

    def put(self, tensors: Mapping[str, Tensor], *, ttl_s: float, now: float) -> TensorRef:
        """See `TensorStore.put`."""
        self.puts += 1
        if self.failures:
            raise self.failures.pop(0)
        self.reached.set()
        assert self.gate.wait(20)
        return super().put(tensors, ttl_s=ttl_s, now=now)


class Pauses:
    """Pauses between tries that end when the test says so, or when the Run is given up."""

    def __init__(self) -> None:
        """Begin with none."""
        self.reached, self._over = asyncio.Event(), asyncio.Event()

    def end(self) -> None:
        """End this one, and let there be no more."""
        self._over.set()

    async def sleep(self, seconds: float, given_up: asyncio.Event) -> None:
        """See `patience.Sleep`."""
        self.reached.set()
        ends = [asyncio.ensure_future(event.wait()) for event in (self._over, given_up)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()


class Bed:
    """What a Run lies in, with a count of how often its slot was given back."""

    def __init__(self) -> None:
        """Put engine, scheduler and store together."""
        self.store, self.pauses, self.freed = FailingStore(), Pauses(), 0
        metrics = WorkerMetrics(
            CollectorRegistry(), PipelineName("team/flux"), PoolName("pool"), [Stage.ENCODE]
        )
        self.runner = FakeRunner(Stage.ENCODE)
        self.engine = Engine(stall_s=60.0)
        self.handoff = Handoff(
            stores=Stores(local=None, network=self.store),
            references=References(),
            metrics=metrics,
            ttl_s=60.0,
            patience=Patience(sleep=self.pauses.sleep),
        )
        self.scheduler = Scheduler(
            runners={Stage.ENCODE: self.runner},
            engine=self.engine,
            window=Window(max_size=1, max_wait_s=0.0),
            clock=time.monotonic,
            metrics=metrics,
        )

    def start(self, request: stage_pb2.RunRequest) -> Run:
        """Start one."""
        return Run(
            orders.read(request, {Stage.ENCODE: self.runner}, ()),
            scheduler=self.scheduler,
            handoff=self.handoff,
            clock=time.monotonic,
            free=self._free,
        )

    def _free(self) -> None:
        self.freed += 1


@pytest.fixture
async def bed() -> AsyncIterator[Bed]:
    bed = Bed()
    bed.engine.start()
    bed.scheduler.start()
    yield bed
    await bed.scheduler.close()
    await bed.handoff.close()
    bed.engine.close()


async def _made(bed: Bed) -> None:
    async with asyncio.timeout(20):
        while not bed.handoff.held:  # noqa: ASYNC110  what is waited for is no event of ours
            await asyncio.sleep(0.002)


async def test_whoever_listens_late_hears_start_last_step_and_end(
    bed: Bed, make_request: "MakeRequest"
) -> None:
    run = bed.start(make_request(steps=7))
    await _made(bed)
    await asyncio.sleep(0)

    events = [event async for event in run.events()]

    assert [event.WhichOneof("event") for event in events] == ["started", "progress", "finished"]
    assert events[1].progress.step == 7


async def test_the_slot_is_free_before_finished_is_told(
    bed: Bed, make_request: "MakeRequest"
) -> None:
    events = bed.start(make_request()).events()

    async for event in events:
        assert (bed.freed > 0) == event.HasField("finished")


async def test_cancelled_after_its_delivery_it_leaves_nothing(
    bed: Bed, make_request: "MakeRequest"
) -> None:
    run = bed.start(make_request())
    _ = [event async for event in run.events()]
    assert bed.store.used_bytes > 0

    run.cancel()
    await run.settle()

    assert bed.store.used_bytes == 0


async def test_delivered_and_not_cancelled_it_leaves_its_output(
    bed: Bed, make_request: "MakeRequest"
) -> None:
    run = bed.start(make_request())
    _ = [event async for event in run.events()]

    await run.settle()

    assert bed.store.used_bytes > 0


async def test_cancelled_between_its_output_and_its_end_it_tells_so_and_leaves_nothing(
    bed: Bed, make_request: "MakeRequest"
) -> None:
    run = bed.start(make_request())
    await _made(bed)

    run.cancel()
    with pytest.raises(CancelledError):
        _ = [event async for event in run.events()]
    await run.settle()

    assert bed.store.used_bytes == 0


@pytest.mark.parametrize("failure", [ExhaustedError("full"), UnavailableError("away")])
async def test_a_store_that_fails_for_a_moment_costs_no_run_of_the_model(
    bed: Bed, make_request: "MakeRequest", failure: Exception
) -> None:
    bed.store.failures = [failure, failure]
    bed.pauses.end()

    events = [event async for event in bed.start(make_request()).events()]

    assert events[-1].WhichOneof("event") == "finished"
    assert len(bed.runner.calls) == 1
    assert bed.store.puts == 3


async def test_cancelled_while_its_store_is_away_it_ends_at_once_and_leaves_nothing(
    bed: Bed, make_request: "MakeRequest"
) -> None:
    bed.store.failures = [UnavailableError("away")]
    run = bed.start(make_request())
    async with asyncio.timeout(20):
        await bed.pauses.reached.wait()

        run.cancel()
        with pytest.raises(CancelledError):
            _ = [event async for event in run.events()]
        await run.settle()

    assert bed.store.puts == 1
    assert bed.store.used_bytes == 0


async def test_a_failed_run_is_forgotten_without_the_garbage_collector(
    bed: Bed, make_request: "MakeRequest"
) -> None:
    bed.store.failures = [TensorCorruptedError("torn")]
    run = bed.start(make_request())
    with pytest.raises(TensorCorruptedError):
        _ = [event async for event in run.events()]
    gone = weakref.ref(run)
    gc.disable()
    try:
        await run.settle()
        del run

        assert gone() is None
    finally:
        gc.enable()


async def test_a_worker_that_ends_waits_for_no_store(bed: Bed, make_request: "MakeRequest") -> None:
    bed.store.failures = [UnavailableError("away")]
    run = bed.start(make_request())
    async with asyncio.timeout(20):
        await bed.pauses.reached.wait()

        run.abort()
        with pytest.raises(UnavailableError) as caught:
            _ = [event async for event in run.events()]
        await run.settle()

    assert caught.value.reason == "DRAINING"
    assert bed.store.puts == 1


async def test_cancelled_during_a_put_that_is_tried_again_it_leaves_nothing(
    bed: Bed, make_request: "MakeRequest"
) -> None:
    bed.store.failures = [UnavailableError("away")]
    bed.store.gate.clear()
    bed.pauses.end()
    run = bed.start(make_request())
    async with asyncio.timeout(20):
        while not bed.store.reached.is_set():  # noqa: ASYNC110  an event of another thread
            await asyncio.sleep(0.002)

        run.cancel()
        bed.store.gate.set()
        await run.settle()

    assert bed.store.puts == 2
    assert bed.store.used_bytes == 0
