"""Workers that die, drain, restart, refuse or change their model in the middle of requests."""

import asyncio
from functools import partial

import pytest
from tests.router.conftest import Member, Town, picture, until
from tests.router.scripted import Events, Scripted, scripted_chain

from tridentserve import errors
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.stages import STAGES
from tridentserve.rpc.v1 import stage_pb2
from tridentserve.stage.runner import Output, Task
from tridentserve_router import releases
from tridentserve_router.pods import Pod

E, D, C = STAGES


async def test_a_worker_that_dies_in_the_middle_is_replaced_and_the_bytes_are_the_same(
    town: Town,
) -> None:
    await town.chain()
    first = town.members["diffuse"]
    first.hold()
    ask = town.ask()
    first.runner.allow(2)
    await ask.stepped(D)
    await town.worker("diffuse-2", D)
    await town.kill("diffuse")
    result = await ask.done()

    assert result.media == [picture()]
    assert result.starts(D) == [("diffuse", 1), ("diffuse-2", 2)]
    assert [timing.attempts for timing in result.finished.timings] == [1, 2, 1]
    told = result.steps()[1:3]
    assert told[0][-1] < 4
    assert told[1][-1] == 4
    await town.settled()


async def test_a_request_waits_for_the_only_worker_of_its_stage_to_come_back(town: Town) -> None:
    await town.chain()
    town.members["diffuse"].hold()
    ask = town.ask()
    await ask.started(D)
    await town.remove("diffuse")
    await until(lambda: town.router.core.dispatcher.waiting == 1)
    await town.worker("diffuse-2", D)

    assert (await ask.done()).media == [picture()]
    await town.settled()


async def test_media_start_again_when_decode_dies_after_its_first_bytes(town: Town) -> None:
    await town.worker("encode", E)
    await town.worker("diffuse", D)
    half = Scripted("decode", C)
    half.runs = [half.media_then_hang]
    async with half.serving(town):
        ask = town.ask()
        await until(lambda: any(event.HasField("media") for event in ask.result.events))
        await town.worker("decode-2", C)
        await half.kill()
        result = await ask.done()

    assert result.media == [picture()]
    assert result.starts(C) == [("decode", 1), ("decode-2", 2)]
    await town.settled()


async def test_three_losses_end_it(town: Town) -> None:
    await town.chain()
    await town.remove("diffuse")
    workers = [await town.worker(f"diffuse-{number}", D, held=True) for number in range(3)]
    ask = town.ask()
    for attempt in range(1, 4):
        await ask.started(D, attempt)
        name, _ = ask.result.starts(D)[-1]
        await town.members[name].busy()
        await town.kill(name)
    result = await ask.done()

    assert isinstance(result.error, errors.UnavailableError)
    assert {name for name, _ in result.starts(D)} == {worker.name for worker in workers}
    await town.settled()


async def test_many_requests_survive_the_loss_of_a_worker_of_each_stage(town: Town) -> None:
    await town.chain("-1")
    await town.chain("-2", node="b")
    for stage in STAGES:
        town.members[f"{stage}-1"].hold()
    asks = [town.ask(prompt=str(number), seed=number) for number in range(12)]
    for stage in STAGES:
        member = town.members[f"{stage}-1"]
        if stage is E:
            await member.busy()
        await town.kill(member.name)
    for number, ask in enumerate(asks):
        assert (await ask.done()).media == [picture(str(number), number)]
    await town.settled()


# --- hand-offs ------------------------------------------------------------------------------------


async def test_a_hand_off_in_the_wrong_memory_is_exported(town: Town) -> None:
    await town.worker("encode", E, node="a", held=True)
    await town.worker("diffuse-a", D, node="a")
    await town.worker("decode", C, node="b")
    ask = town.ask()
    await ask.started(E)
    await town.remove("diffuse-a")
    await town.worker("diffuse-b", D, node="b")
    town.members["encode"].free()
    result = await ask.done()

    assert result.media == [picture()]
    assert [timing.input_store for timing in result.finished.timings] == ["", "redis", "shm"]
    assert [timing.attempts for timing in result.finished.timings] == [1, 1, 1]
    assert result.starts(D) == [("diffuse-b", 1)]
    await town.settled()


async def test_a_hand_off_that_is_gone_with_its_producer_is_made_again(town: Town) -> None:
    await town.worker("encode", E, node="a", held=True)
    await town.worker("diffuse-a", D, node="a")
    await town.worker("decode", C, node="b")
    ask = town.ask()
    await ask.started(E)
    await town.remove("diffuse-a")
    town.members["encode"].free()
    await until(lambda: town.used_bytes() > 0)
    await until(lambda: town.router.core.dispatcher.waiting == 1)
    await town.remove("encode")
    await town.worker("encode-2", E, node="b")
    await town.worker("diffuse-b", D, node="b")
    result = await ask.done()

    assert result.media == [picture()]
    assert result.starts(E) == [("encode", 1), ("encode-2", 2)]
    await town.settled()


async def test_a_hand_off_that_the_network_store_lost_is_made_again(town: Town) -> None:
    await town.worker("encode", E, node="a")
    ask = town.ask()
    await until(lambda: town.network.used_bytes > 0)
    await until(lambda: town.router.core.dispatcher.waiting == 1)
    town.network.reap(now=float("inf"))
    await town.worker("diffuse", D, node="b")
    await town.worker("decode", C, node="b")
    result = await ask.done()

    assert result.media == [picture()]
    assert [timing.attempts for timing in result.finished.timings] == [2, 1, 1]
    await town.settled()


# --- digests --------------------------------------------------------------------------------------


async def test_when_its_digest_goes_a_request_begins_again_on_the_new_one(town: Town) -> None:
    await town.chain("-old")
    old = town.members["diffuse-old"]
    old.hold()
    ask = town.ask()
    await ask.started(D)
    await town.chain("-new", digest="new")
    await town.remove("diffuse-old")
    result = await ask.done()

    assert result.media == [picture(digest="new")]
    assert (result.finished.digest, result.finished.revision) == ("new", "rev-new")
    assert result.finished.seed == 7
    assert [name for name, _ in result.starts(E)] == ["encode-old", "encode-new"]
    await town.settled()


async def test_a_waiting_request_is_not_stranded_when_the_last_worker_of_its_digest_goes(
    town: Town,
) -> None:
    await town.worker("encode-old", E)
    ask = town.ask()
    await until(lambda: town.used_bytes() > 0 and town.router.core.dispatcher.waiting == 1)
    await town.chain("-new", digest="new")

    assert (await ask.done()).media == [picture(digest="new")]
    await town.settled()


async def test_without_another_chain_a_request_waits_for_its_own_digest(town: Town) -> None:
    await town.worker("encode-old", E)
    ask = town.ask()
    await until(lambda: town.used_bytes() > 0 and town.router.core.dispatcher.waiting == 1)
    await town.worker("encode-new", E, digest="new")
    await town.worker("diffuse-new", D, digest="new")
    assert town.router.core.dispatcher.waiting == 1
    await town.worker("diffuse-old", D)
    await town.worker("decode-old", C)

    assert (await ask.done()).media == [picture(digest="old")]
    await town.settled()


async def test_an_upgrade_under_load_mixes_no_digests_and_fails_nobody(town: Town) -> None:
    await town.chain("-old")
    for member in town.members.values():
        member.hold()
    asks = [town.ask(prompt=str(number)) for number in range(10)]
    await town.chain("-new", digest="new")
    for stage in STAGES:
        pod = Pod(
            worker=WorkerId(f"{stage}-old"),
            uid=f"{stage}-old",
            address=town.members[f"{stage}-old"].worker.server.address,
            draining=True,
        )
        town.pods.put(pod)
        town.members[f"{stage}-old"].free()
    asks += [town.ask(prompt=str(number)) for number in range(10, 20)]
    results = await asyncio.gather(*(ask.done() for ask in asks))

    for number, result in enumerate(results):
        digest = result.finished.digest
        assert result.media == [picture(str(number), digest=digest)]
    assert {result.finished.digest for result in results[10:]} == {"new"}
    await town.settled()


async def test_a_worker_with_a_broken_device_does_not_fail_the_queue(town: Town) -> None:
    def make(task: Task) -> Output:
        raise RuntimeError("an illegal memory access was encountered")

    await town.chain()
    broken = await town.worker("diffuse-2", D, make=make)
    broken.runner.device_error = RuntimeError("an illegal memory access was encountered")

    results = await asyncio.gather(*(town.generate() for _ in range(10)))

    assert [result.error for result in results] == [None] * 10
    assert broken.worker.problem() is not None
    await town.settled()


# --- draining -------------------------------------------------------------------------------------


def label(town: Town, member: Member, *, draining: bool) -> None:
    """Let the operator put its label on a pod, or take it off."""
    address = member.worker.server.address
    town.pods.put(Pod(worker=member.name, uid=member.name, address=address, draining=draining))


async def test_a_draining_pod_finishes_what_it_runs_and_gets_nothing_new(town: Town) -> None:
    await town.chain()
    diffuse = town.members["diffuse"]
    diffuse.hold()
    running = town.ask(prompt="running")
    await running.started(D)
    await town.worker("diffuse-2", D)
    label(town, diffuse, draining=True)
    workers = town.router.core.dispatcher.workers
    await until(lambda: workers[diffuse.name].draining)
    diffuse.free()
    later = await asyncio.gather(*(town.generate() for _ in range(4)))

    assert (await running.done()).starts(D) == [("diffuse", 1)]
    assert {result.starts(D)[0][0] for result in later} == {"diffuse-2"}
    await town.settled()


async def test_a_pod_that_is_wanted_after_all_gets_work_again(town: Town) -> None:
    await town.chain()
    diffuse = town.members["diffuse"]
    workers = town.router.core.dispatcher.workers

    def is_told(draining: bool) -> bool:
        return workers[diffuse.name].draining is draining

    for draining in (True, False):
        label(town, diffuse, draining=draining)
        await until(partial(is_told, draining))

    assert (await town.generate()).starts(D) == [("diffuse", 1)]
    await town.settled()


async def test_a_worker_that_drains_refuses_and_that_is_no_attempt(town: Town) -> None:
    await town.chain()
    await town.worker("diffuse-2", D)
    for name in ("diffuse", "diffuse-2"):
        town.members[name].worker._service.drain()
        results = await asyncio.gather(*(town.generate() for _ in range(3)))
        assert [result.media for result in results] == [[picture()]] * 3
        assert {timing.attempts for r in results for timing in r.finished.timings} == {1}
        await town.worker(f"{name}-next", D)
    await town.settled()


# --- workers that misbehave -----------------------------------------------------------------------


async def test_what_travels_to_a_worker_is_complete(town: Town) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = (("traceparent", trace), ("authorization", "secret"))
    async with scripted_chain(town) as chain:
        result = await town.ask(metadata=metadata, negative_prompt="blurry", count=2).done()
        sent = {stage: worker.requests[0] for stage, worker in chain.items()}

        assert result.media == [b"scripted"]
        for epoch, (stage, request) in enumerate(sent.items(), start=1):
            item = request.items[0]
            assert request.segment_id == f"{result.request_id}/{stage}/{epoch}"
            assert (request.epoch, request.digest) == (epoch, "old")
            assert item.request_id == result.request_id
            assert (item.generation.prompt, item.generation.seed) == ("a fox", 7)
            assert (item.generation.negative_prompt, item.generation.count) == ("blurry", 2)
            assert list(request.device_ids) == [f"cpu/{stage}-scripted"]
        assert not sent[E].items[0].inputs
        assert [ref.key for ref in sent[D].items[0].inputs] == [sent[E].segment_id]
        assert [ref.key for ref in sent[C].items[0].inputs] == [sent[D].segment_id]
        for worker in chain.values():
            assert worker.metadata[0]["traceparent"] == trace
            assert "authorization" not in worker.metadata[0]
        await until(lambda: chain[E].released == [sent[E].segment_id])
        await until(lambda: chain[D].released == [sent[D].segment_id])


async def test_the_hard_deadline_travels_to_the_worker(town: Town) -> None:
    async with scripted_chain(town) as chain:
        chain[D].runs = [chain[D].hang]
        ask = town.ask(timeout_s=60)
        await until(lambda: len(chain[D].remaining_s) == 1)
        (remaining_s,) = chain[D].remaining_s
        ask.call.cancel()

        assert remaining_s is not None
        # 60 and some tenths: gRPC sends the rest of the time rounded up, to three digits.
        assert 0 < remaining_s < 61
        await until(lambda: chain[D].cancelled == 1)
        await asyncio.gather(ask.task, return_exceptions=True)


async def test_a_caller_that_goes_away_cancels_the_workers_call(town: Town) -> None:
    async with scripted_chain(town) as chain:
        chain[D].runs = [chain[D].hang]
        ask = town.ask()
        await until(lambda: len(chain[D].requests) == 1)
        ask.call.cancel()

        await until(lambda: chain[D].cancelled == 1)
        await until(lambda: len(chain[E].released) == 1)
        await asyncio.gather(ask.task, return_exceptions=True)
        # In words too: a worker that had just finished takes a dropped call for a heard one.
        run = chain[D].requests[0]
        await until(lambda: chain[D].told_to_cancel == [(run.segment_id, run.epoch)])
        assert chain[E].told_to_cancel == []


@pytest.mark.parametrize(
    "error",
    [
        errors.ExhaustedError("full", reason="NO_SLOT"),
        errors.UnavailableError("starting", reason="NOT_READY"),
        errors.DigestMismatchError("another model"),
    ],
)
async def test_refusals_are_tried_again_and_are_no_attempts(
    town: Town, error: errors.TridentServeError
) -> None:
    async with scripted_chain(town) as chain:
        chain[D].runs = [chain[D].fail(error)] * 4
        result = await town.generate()

        assert [timing.attempts for timing in result.finished.timings] == [1, 1, 1]
        assert result.starts(D) == [("diffuse-scripted", 1)]
        assert [request.epoch for request in chain[D].requests] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "error",
    [
        errors.ExhaustedError("no room", reason="STORE_FULL"),
        errors.UnavailableError("no connection", reason="STORE_UNREACHABLE"),
        errors.StaleEpochError("newer"),
    ],
)
async def test_failures_that_may_pass_are_attempts(
    town: Town, error: errors.TridentServeError
) -> None:
    async with scripted_chain(town) as chain:
        chain[D].runs = [chain[D].fail(error)]
        result = await town.generate()

        assert [timing.attempts for timing in result.finished.timings] == [1, 2, 1]
        assert result.starts(D) == [("diffuse-scripted", 1), ("diffuse-scripted", 2)]


async def test_a_value_that_only_the_model_can_refuse_is_the_callers_error(town: Town) -> None:
    async with scripted_chain(town) as chain:
        problem = errors.InvalidFieldError("prompt", "has 300 tokens; at most 77")
        chain[E].runs = [chain[E].fail(problem)]
        result = await town.generate()

        assert isinstance(result.error, errors.InvalidFieldError)
        assert result.error.field == "prompt"
        assert town.sample("tridentserve_requests_total", outcome="invalid") == 1


async def test_work_is_wasted_that_is_done_again_or_whose_request_fails(town: Town) -> None:
    def wasted_s() -> list[float | None]:
        return [
            town.sample("tridentserve_wasted_gpu_seconds_total", stage=stage) for stage in STAGES
        ]

    async with scripted_chain(town) as chain:
        await town.generate()
        assert wasted_s() == [0, 0, 0]

        chain[D].runs = [chain[D].fail(errors.TensorUnavailableError("gone"))]
        assert (await town.generate()).error is None
        assert wasted_s() == [0.01, 0, 0]

        chain[C].runs = [chain[C].fail(errors.StageFailedError("not a number"))]
        assert isinstance((await town.generate()).error, errors.StageFailedError)
        assert wasted_s() == [0.02, 0.01, 0]


async def test_a_stream_that_ends_without_a_result_is_a_failed_attempt(town: Town) -> None:
    async with scripted_chain(town) as chain:
        chain[C].runs = [chain[C].end_early]
        result = await town.generate()

        assert result.media == [b"scripted"]
        assert [timing.attempts for timing in result.finished.timings] == [1, 1, 2]


async def test_a_result_of_another_digest_than_described_is_not_used(town: Town) -> None:
    async with scripted_chain(town) as chain:
        described = chain[D].description
        other = stage_pb2.DescribeResponse()
        other.CopyFrom(described)
        other.model.digest = "new"

        async def swapped(request: stage_pb2.RunRequest) -> Events:
            chain[D].description = other
            async for event in chain[D].succeed(request):
                yield event
            chain[D].description = described

        chain[D].runs = [swapped]
        result = await town.generate()

        assert result.finished.digest == "old"
        assert len(chain[D].requests) == 2
        await until(lambda: len(chain[D].released) == 2)


async def test_a_process_that_restarts_under_its_name_loses_what_it_ran(town: Town) -> None:
    async with scripted_chain(town) as chain:
        chain[D].runs = [chain[D].hang]
        ask = town.ask()
        await until(lambda: len(chain[D].requests) == 1)
        description = stage_pb2.DescribeResponse()
        description.CopyFrom(chain[D].description)
        description.boot_id = "boot-2"
        chain[D].description = description
        result = await ask.done()

        assert result.media == [b"scripted"]
        assert [timing.attempts for timing in result.finished.timings] == [1, 2, 1]
        # In case it was not lost but behind a broken connection, and had just finished.
        lost = chain[D].requests[0]
        await until(lambda: chain[D].told_to_cancel == [(lost.segment_id, lost.epoch)])


async def test_a_worker_whose_pod_is_gone_loses_what_it_ran_even_if_it_still_answers(
    town: Town,
) -> None:
    async with scripted_chain(town) as chain, Scripted("diffuse-2", D).serving(town) as other:
        for worker in (chain[D], other):
            worker.runs = [worker.hang]
        ask = town.ask()
        await until(lambda: len(chain[D].requests) + len(other.requests) == 1)
        first, second = (chain[D], other) if chain[D].requests else (other, chain[D])
        second.runs = []
        town.pods.remove(first.name)
        result = await ask.done()

        assert result.starts(D) == [(first.name, 1), (second.name, 2)]
        await until(lambda: first.cancelled == 1)


async def test_a_release_that_is_not_heard_is_said_again(town: Town) -> None:
    async with scripted_chain(town) as chain:
        chain[C].runs = [chain[C].hang]
        ask = town.ask()
        await until(lambda: len(chain[C].requests) == 1)
        await chain[E].kill()
        ask.call.cancel()
        await until(lambda: len(chain[D].released) == 1)
        await chain[E].start()

        await until(lambda: chain[E].released == [chain[E].requests[0].segment_id])
        await asyncio.gather(ask.task, return_exceptions=True)


async def test_somebody_else_is_told_what_a_pod_that_is_gone_left_behind(town: Town) -> None:
    async with scripted_chain(town) as chain:
        chain[C].runs = [chain[C].hang]
        ask = town.ask()
        await until(lambda: len(chain[C].requests) == 1)
        town.pods.remove(chain[E].name)
        await until(lambda: chain[E].name not in town.router.core.dispatcher.workers)
        ask.call.cancel()

        left = chain[E].requests[0].segment_id
        await until(lambda: left in chain[D].released + chain[C].released)
        await asyncio.gather(ask.task, return_exceptions=True)


async def test_somebody_else_is_told_when_a_producer_stays_silent(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "_TRIES", 3)
    async with scripted_chain(town) as chain:
        chain[C].runs = [chain[C].hang]
        ask = town.ask()
        await until(lambda: len(chain[C].requests) == 1)
        await chain[E].kill()
        await until(lambda: chain[E].name not in town.router.core.dispatcher.workers)
        ask.call.cancel()

        left = chain[E].requests[0].segment_id
        await until(lambda: left in chain[D].released + chain[C].released)
        await asyncio.gather(ask.task, return_exceptions=True)


async def test_a_frozen_worker_is_given_up(town: Town) -> None:
    town.router.core.directory.lost_s = 0.0
    async with scripted_chain(town) as chain:
        chain[D].runs = [chain[D].hang]
        ask = town.ask()
        await until(lambda: len(chain[D].requests) == 1)
        thaw = chain[D].frozen = asyncio.Event()
        async with Scripted("diffuse-2", D).serving(town):
            result = await ask.done()
            thaw.set()

        assert result.starts(D) == [("diffuse-scripted", 1), ("diffuse-2", 2)]
        assert result.media == [b"scripted"]
