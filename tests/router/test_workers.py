"""The directory of workers, where pods go at the worst moment."""

import asyncio

import pytest

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import PipelineName, WorkerId
from tridentserve.domain.model import ModelInfo
from tridentserve.rpc.v1 import common_pb2, stage_pb2
from tridentserve_router.links import Link
from tridentserve_router.pods import Pod
from tridentserve_router.workers import Directory

WORKER = WorkerId("encode-1")
POD = Pod(worker=WORKER, uid="uid", address="127.0.0.1:1")
SHAPE = common_pb2.Shape(height=64, width=64, frames=1)
ANSWER = stage_pb2.DescribeResponse(
    worker=WORKER,
    pipeline="default/flux",
    boot_id="1",
    slots=1,
    capable=[common_pb2.STAGE_ENCODE],
    model=stage_pb2.ModelInfo(digest="d", default_shape=SHAPE, default_steps=4, size_multiple=16),
)


class Heard:
    """What dispatch is told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.told: list[str] = []

    def worker_up(self, worker: Worker, model: ModelInfo) -> None:
        """Note it."""
        self.told.append("up")

    def worker_draining(self, worker: WorkerId) -> None:
        """Note it."""
        self.told.append("draining")

    def worker_down(self, worker: WorkerId, *, lost: bool) -> None:
        """Note it."""
        self.told.append("lost" if lost else "down")


@pytest.mark.parametrize("known", [False, True])
async def test_an_answer_that_comes_as_the_pod_goes_brings_nobody_up(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: asyncio.Queue[asyncio.Future[stage_pb2.DescribeResponse]] = asyncio.Queue()

    async def describe(link: Link, timeout_s: float) -> stage_pb2.DescribeResponse:
        answer: asyncio.Future[stage_pb2.DescribeResponse] = (
            asyncio.get_running_loop().create_future()
        )
        asked.put_nowait(answer)
        return await answer

    monkeypatch.setattr(Link, "describe", describe)
    heard = Heard()
    directory = Directory(pipeline=PipelineName("default/flux"), listener=heard, poll_s=60.0)
    directory.reconcile({WORKER: POD})
    answer = await asked.get()
    if known:
        answer.set_result(ANSWER)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        directory.suspect(WORKER)
        answer = await asked.get()
    before = list(heard.told)

    answer.set_result(ANSWER)
    directory.reconcile({})
    await directory.close()

    assert before == (["up", "down"] if known else [])
    assert heard.told[len(before) :] == (["lost"] if known else [])
