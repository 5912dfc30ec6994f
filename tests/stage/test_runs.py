"""One Run without a network: what it tells when, and what it leaves when it is cancelled late."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from tridentserve.domain.ids import PipelineName, PoolName
from tridentserve.domain.stages import Stage
from tridentserve.errors import CancelledError
from tridentserve.rpc.v1 import stage_pb2
from tridentserve.stage import orders
from tridentserve.stage.batching import Window
from tridentserve.stage.engine import Engine
from tridentserve.stage.fakes import FakeRunner
from tridentserve.stage.handoff import Handoff
from tridentserve.stage.references import References
from tridentserve.stage.runs import Run
from tridentserve.stage.scheduling import Scheduler
from tridentserve.store.memory import MemoryStore
from tridentserve.store.opening import Stores
from tridentserve.telemetry.metrics import WorkerMetrics

if TYPE_CHECKING:
    from tests.stage.conftest import MakeRequest


class Bed:
    """What a Run lies in, with a count of how often its slot was given back."""

    def __init__(self) -> None:
        """Put engine, scheduler and store together."""
        self.store, self.freed = MemoryStore(network=True), 0
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
