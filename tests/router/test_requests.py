"""Requests from end to end through real gRPC: what callers see, and what is left behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.router.bad_requests import BAD_REQUESTS, LIMITS
from tests.router.conftest import Ask, Result, Town, opened, picture, until

from tridentserve import errors
from tridentserve.domain.ids import PipelineName
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.rpc import status
from tridentserve.rpc.v1 import generation_pb2
from tridentserve.stage.runner import Media, Output, Task
from tridentserve_router import api
from tridentserve_router.app import Router
from tridentserve_router.pipeline import Pipeline
from tridentserve_router.pods import MemoryPods
from tridentserve_router.profiles import MemoryConfigMaps
from tridentserve_router.settings import RouterSettings

E, D, C = STAGES


async def failing(town: Town, **fields: object) -> errors.TridentServeError:
    """The error of a request that must fail."""
    result = await town.generate(**fields)
    assert result.error is not None
    return result.error


async def test_a_picture_comes_out_with_its_story(town: Town) -> None:
    await town.chain()
    result = await town.generate(count=2)

    assert result.media == [picture(), picture()]
    assert len(result.request_id) >= 20
    assert [result.starts(stage) for stage in STAGES] == [[(stage, 1)] for stage in STAGES]
    finished = result.finished
    assert (finished.seed, finished.mime_type) == (7, "image/png")
    assert (finished.revision, finished.digest, finished.plan_id) == ("rev-old", "old", "plan-1")
    assert [timing.stage for timing in finished.timings] == [1, 2, 3]
    assert [timing.input_store for timing in finished.timings] == ["", "shm", "shm"]
    assert [timing.attempts for timing in finished.timings] == [1, 1, 1]
    assert [timing.node for timing in finished.timings] == ["a", "a", "a"]
    assert finished.total_seconds > 0
    assert finished.deadline_met
    await town.settled()


async def test_events_come_in_order(town: Town) -> None:
    await town.chain()
    result = await town.generate()
    kinds = [event.WhichOneof("event") for event in result.events]

    assert kinds[0] == "accepted"
    assert kinds[-1] == "finished"
    assert kinds.count("finished") == kinds.count("accepted") == 1
    assert kinds.index("media") > max(i for i, kind in enumerate(kinds) if kind == "stage_start")
    for told in result.steps():
        assert told == sorted(told)
        assert told[-1] == 4


async def test_workers_that_share_no_memory_hand_off_over_the_network(town: Town) -> None:
    for node, stage in zip("abc", STAGES, strict=True):
        await town.worker(stage, stage, node=node)
    result = await town.generate()

    assert result.media == [picture()]
    assert [timing.input_store for timing in result.finished.timings] == ["", "redis", "redis"]
    await town.settled()


async def test_a_worker_of_the_same_memory_is_preferred(town: Town) -> None:
    await town.chain("-b", node="b")
    await town.worker("encode-a", E, node="a")
    await town.worker("diffuse-a", D, node="a")
    await town.worker("decode-a", C, node="a")
    for result in await asyncio.gather(*(town.generate() for _ in range(6))):
        nodes = [timing.node for timing in result.finished.timings]
        stores = [timing.input_store for timing in result.finished.timings[1:]]
        shared = ["shm" if a == b else "redis" for a, b in pairwise(nodes)]
        assert stores == shared
    await town.settled()


async def test_a_seed_that_was_drawn_is_told(town: Town) -> None:
    await town.chain()
    request = generation_pb2.GenerateRequest(prompt="a fox")
    events = [event async for event in town.stub.Generate(request)]
    seed = events[-1].finished.seed

    assert any(event.media.data == picture(seed=seed) for event in events)


async def test_media_larger_than_a_message_come_in_chunks(town: Town) -> None:
    data = bytes(range(256)) * 10_000

    def make(task: Task) -> Output:
        return Output(tensors={}, media=(Media(mime_type="image/png", data=data),) * 2)

    await town.worker("encode", E)
    await town.worker("diffuse", D)
    await town.worker("decode", C, make=make)
    result = await town.generate(count=2)

    assert result.media == [data, data]
    assert all(len(event.media.data) <= 1_000_000 for event in result.events)


# --- refusals -------------------------------------------------------------------------------------


async def test_bad_requests_are_refused_with_status_and_field(town: Town) -> None:
    town.edit(limits=LIMITS)
    await town.chain()
    await until(lambda: town.router.core.pipeline.spec.limits == LIMITS)
    send: Callable[..., Any] = town.channel.unary_stream(
        "/tridentserve.rpc.v1.GenerationService/Generate"
    )
    for bad in BAD_REQUESTS:
        with pytest.raises(aio.AioRpcError) as caught:
            [event async for event in send(bad.data)]
        assert (bad.why, caught.value.code()) == (bad.why, bad.code)
        error = status.from_call(caught.value)
        assert isinstance(error, errors.InvalidFieldError)
        assert (bad.why, error.field) == (bad.why, bad.named)
    count = town.sample("tridentserve_requests_total", outcome="invalid")
    assert count == len(BAD_REQUESTS)
    assert town.sample("tridentserve_requests_arrived_total") == 0
    await town.settled()


async def test_before_the_first_worker_callers_are_told_when_to_ask_again(town: Town) -> None:
    error = await failing(town)

    assert isinstance(error, errors.UnavailableError)
    assert (error.reason, error.retry_after_s) == ("NOT_READY", 2.0)
    assert town.sample("tridentserve_requests_arrived_total") == 1
    assert town.sample("tridentserve_requests_total", outcome="unavailable") == 1


async def test_a_full_queue_refuses_and_says_when_to_ask_again(town: Town) -> None:
    town.edit(max_queue=2)
    await town.chain(held=True)
    asks = [town.ask() for _ in range(3)]
    await until(lambda: town.router.core.dispatcher.waiting == 2)
    error = await failing(town)

    assert isinstance(error, errors.ExhaustedError)
    assert (error.reason, error.retry_after_s) == ("QUEUE_FULL", 1.0)
    assert town.sample("tridentserve_requests_arrived_total") == 4
    assert town.sample("tridentserve_requests_total", outcome="refused") == 1
    for member in town.members.values():
        member.free()
    for ask in asks:
        assert (await ask.done()).media == [picture()]
    await town.settled()


async def test_a_storm_does_not_slip_past_the_bound_of_the_queue(town: Town) -> None:
    town.edit(max_queue=5)
    await town.worker("encode", E, held=True)
    asks = [town.ask() for _ in range(30)]
    await until(lambda: sum(ask.task.done() for ask in asks) == 24)

    assert town.router.core.dispatcher.waiting == 5
    for ask in asks:
        ask.call.cancel()
    await asyncio.gather(*(ask.task for ask in asks), return_exceptions=True)
    town.members["encode"].free()
    await town.settled()


async def test_who_wants_to_know_is_told_that_it_would_be_late(town: Town) -> None:
    await town.chain()
    assert (await town.generate()).error is None
    error = await failing(town, refuse_late=True, deadline_seconds=1e-6)

    assert isinstance(error, errors.ExhaustedError)
    assert error.reason == "TOO_LATE"


async def test_late_work_is_finished_and_counted_as_missed(town: Town) -> None:
    await town.chain()
    result = await town.generate(deadline_seconds=1e-6)

    assert result.media == [picture()]
    assert not result.finished.deadline_met
    assert town.sample("tridentserve_deadline_missed_total") == 1
    assert town.sample("tridentserve_deadline_met_total") == 0


async def test_the_slo_gives_a_deadline_once_costs_are_known(town: Town) -> None:
    await town.chain()
    first = await town.generate()
    second = await town.generate()

    assert first.events[0].accepted.deadline_unix_seconds == 0
    assert first.events[0].accepted.predicted_seconds == 0
    assert second.events[0].accepted.deadline_unix_seconds > 0
    assert second.events[0].accepted.predicted_seconds > 0


async def test_an_idempotency_key_runs_once_at_a_time_and_counts_once(town: Town) -> None:
    await town.chain(held=True)
    first = town.ask(idempotency_key="order-1")
    await first.accepted()
    assert isinstance(await failing(town, idempotency_key="order-1"), errors.AlreadyExistsError)
    assert town.sample("tridentserve_requests_arrived_total") == 1
    assert town.sample("tridentserve_deadline_missed_total") == 0
    other = town.ask(idempotency_key="order-2")
    await other.accepted()
    for member in town.members.values():
        member.free()
    assert (await first.done()).media == (await other.done()).media == [picture()]
    await town.settled()

    assert (await town.generate(idempotency_key="order-1")).error is None


async def test_a_model_that_fails_is_not_asked_twice(town: Town) -> None:
    def make(task: Task) -> Output:
        raise errors.StageFailedError("not a number at step 3")

    await town.chain()
    await town.worker("encode-2", E)
    await town.worker("diffuse-2", D, make=make)
    await town.remove("diffuse")
    error = await failing(town)

    assert isinstance(error, errors.StageFailedError)
    assert "not a number" in str(error)
    assert len(town.members["diffuse-2"].runner.calls) == 1
    assert town.sample("tridentserve_requests_total", outcome="failed") == 1
    await town.settled()


# --- early ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout_s", [None, 60.0])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_caller_that_goes_away_stops_its_work(
    town: Town, stage: Stage, timeout_s: float | None
) -> None:
    await town.chain()
    town.members[stage].hold()
    ask = town.ask(timeout_s=timeout_s)
    await ask.started(stage)
    await town.members[stage].busy()
    ask.call.cancel()
    await asyncio.gather(ask.task, return_exceptions=True)
    await until(lambda: not len(town.router.core.requests))
    town.members[stage].free()

    await town.settled()
    assert town.sample("tridentserve_requests_total", outcome="cancelled") == 1
    assert town.sample("tridentserve_deadline_missed_total") == 0


class Stalled:
    """A caller who reads until the first piece of a picture, and then nothing."""

    def __init__(self, town: Town) -> None:
        """Ask."""
        self.call: Any = town.stub.Generate(generation_pb2.GenerateRequest(prompt="a fox", seed=7))

    async def stall(self) -> None:
        """Read so far."""
        while not (await self.call.read()).HasField("media"):
            pass

    async def read_on(self) -> None:
        """Read the rest."""
        while await self.call.read() is not aio.EOF:
            pass


def large(task: Task) -> Output:
    """More than any buffer between two processes holds."""
    return Output(tensors={}, media=(Media(mime_type="image/png", data=bytes(40_000_000)),))


async def test_a_caller_that_goes_away_while_media_are_written_frees_the_worker(
    town: Town,
) -> None:
    await town.worker("encode", E)
    await town.worker("diffuse", D)
    await town.worker("decode", C, make=large)
    stalled = Stalled(town)
    await stalled.stall()
    # Somebody waits for that very slot; the router's write is stuck by then.
    ask = town.ask()
    await town.queued(C, 1)
    stalled.call.cancel()
    result = await ask.done()

    assert len(result.media[0]) == 40_000_000
    assert result.starts(C) == [("decode", 1)]
    await town.settled()
    assert town.sample("tridentserve_requests_total", outcome="cancelled") == 1


async def test_a_caller_that_does_not_read_loses_the_worker(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.worker("encode", E)
    await town.worker("diffuse", D)
    await town.worker("decode", C, make=large)
    with monkeypatch.context() as patch:
        # Long enough that a busy machine, which is slow to read, is not taken for such a caller.
        patch.setattr(api, "UNREAD_S", 2.0)
        stalled = Stalled(town)
        await stalled.stall()
    result = await town.generate()

    assert len(result.media[0]) == 40_000_000
    with pytest.raises(aio.AioRpcError) as caught:
        await stalled.read_on()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    await town.settled()


async def test_a_request_is_cancelled_by_its_id_in_the_middle_of_its_steps(town: Town) -> None:
    await town.chain()
    diffuse = town.members["diffuse"]
    diffuse.hold()
    ask = town.ask()
    diffuse.runner.allow(2)
    await ask.stepped(D)
    request = generation_pb2.CancelRequest(request_id=await ask.accepted())
    await town.stub.Cancel(request)
    result = await ask.done()

    assert isinstance(result.error, errors.CancelledError)
    diffuse.free()
    await town.settled()
    with pytest.raises(aio.AioRpcError) as caught:
        await town.stub.Cancel(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_request_that_waits_can_be_cancelled(town: Town) -> None:
    await town.worker("encode", E)
    ask = town.ask()
    await until(lambda: town.router.core.dispatcher.waiting == 1 and town.used_bytes() > 0)
    await town.stub.Cancel(generation_pb2.CancelRequest(request_id=await ask.accepted()))

    assert isinstance((await ask.done()).error, errors.CancelledError)
    await town.settled()


async def test_the_calls_deadline_is_hard(town: Town) -> None:
    await town.chain()
    town.members["diffuse"].hold()
    late = 0
    while not await ends_by_a_deadline_heard_in_time(town):
        late += 1
        assert late < 20

    town.members["diffuse"].free()
    await town.settled()
    # Whichever of the two ended it, gRPC or the router.
    ended = town.sample("tridentserve_requests_total", outcome="deadline") or 0
    assert 1 <= ended <= 1 + late
    assert (town.sample("tridentserve_requests_total", outcome="cancelled") or 0) <= late
    assert town.sample("tridentserve_deadline_missed_total") == ended


async def ends_by_a_deadline_heard_in_time(town: Town) -> bool:
    """Ask with a deadline that passes; whether the router heard of it when it was sent.

    One that hears of it 0.1 s later takes its end for that of a caller who goes away, and of a
    deadline that is over by then it never hears.
    """
    loop = asyncio.get_running_loop()
    sent_s = loop.time()
    ask = town.ask(timeout_s=0.3)
    await until(lambda: bool(ask.result.events) or ask.task.done())
    heard_s = loop.time()
    result = await ask.done()
    assert isinstance(result.error, errors.DeadlineExceededError)
    return bool(result.events) and heard_s - sent_s < 0.05


async def test_a_defect_is_counted_as_a_failure(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.chain()
    monkeypatch.setattr("tridentserve_router.admission.check", None)

    assert isinstance(await failing(town), errors.StageFailedError)
    assert town.sample("tridentserve_requests_total", outcome="failed") == 1


# --- waiting for workers --------------------------------------------------------------------------


async def test_requests_are_held_while_there_are_no_workers(town: Town) -> None:
    await town.chain()
    assert (await town.generate()).error is None
    for name in ("encode", "diffuse", "decode"):
        await town.remove(name)
    asks = [town.ask(prompt=str(number)) for number in range(3)]
    await until(lambda: town.router.core.dispatcher.waiting == 3)
    await town.chain("-again")

    for number, ask in enumerate(asks):
        assert (await ask.done()).media == [picture(str(number))]
    await town.settled()


class BrokenPipeline:
    """A source with a defect."""

    async def watch(self) -> AsyncIterator[Pipeline]:
        """See `PipelineSource.watch`."""
        raise KeyError("items")
        yield  # what makes it a generator


async def test_a_router_whose_watch_ends_before_it_is_ready_ends_too() -> None:
    settings = RouterSettings(
        pipeline=PipelineName("default/flux"),
        host="127.0.0.1",
        grpc_port=0,
        metrics_port=0,
        drain_s=1.0,
        log_format="text",
    )
    router = Router(
        settings, pipeline=BrokenPipeline(), pods=MemoryPods(), config_maps=MemoryConfigMaps()
    )

    with pytest.raises(KeyError, match="items"):
        await router.start()

    await router.stop()


async def test_a_request_waits_a_while_for_the_first_worker_ever() -> None:
    # A pipeline is Ready when its pods are, which is before the router has asked them.
    async with opened(first_worker_s=60.0) as town:
        ask = town.ask(prompt="early")
        await until(lambda: town.router.core.requests.early == 1)
        await town.chain()

        assert (await ask.done()).media == [picture("early")]
        await town.settled()


async def test_no_more_than_max_queue_wait_for_the_first_worker() -> None:
    async with opened(first_worker_s=60.0) as town:
        town.edit(max_queue=1)
        await until(lambda: town.router.core.pipeline.spec.max_queue == 1)
        ask = town.ask(prompt="early")
        await until(lambda: town.router.core.requests.early == 1)

        assert isinstance(await failing(town), errors.UnavailableError)
        await town.chain()
        assert (await ask.done()).error is None


async def order_of_diffuse(town: Town, *asks: tuple[str, float]) -> list[str]:
    """Ask for (prompt, deadline) behind one that runs; the prompts in the order of diffusion."""
    diffuse = town.members["diffuse"]
    diffuse.hold()
    running = [town.ask(prompt="first", deadline_seconds=1000.0)]
    await running[0].started(D)
    for prompt, deadline in asks:
        running.append(town.ask(prompt=prompt, deadline_seconds=deadline))
        await town.queued(D, len(running) - 1)
    diffuse.free()
    await asyncio.gather(*(ask.done() for ask in running))
    return [call[0].generation.prompt for call in diffuse.runner.calls[1:]]


async def test_the_most_urgent_request_goes_first(town: Town) -> None:
    await town.chain()

    assert await order_of_diffuse(town, ("later", 500.0), ("soon", 100.0)) == ["soon", "later"]


async def test_another_planner_decides_as_soon_as_the_pipeline_says_so(town: Town) -> None:
    town.edit(dispatch="Fifo")
    await town.chain()
    await until(lambda: town.router.core.pipeline.spec.dispatch == "Fifo")

    assert await order_of_diffuse(town, ("later", 500.0), ("soon", 100.0)) == ["later", "soon"]


async def test_limits_are_edited_without_a_restart(town: Town) -> None:
    await town.chain()
    assert (await town.generate(steps=4)).error is None
    town.edit(plan="plan-2", limits=replace(town.spec.limits, max_steps=3))
    await until(lambda: town.router.core.pipeline.plan == "plan-2")
    error = await failing(town, steps=4)

    assert isinstance(error, errors.InvalidFieldError)
    assert (await town.generate(steps=3)).finished.plan_id == "plan-2"


# --- the rest of the service ----------------------------------------------------------------------


async def test_it_describes_what_it_serves(town: Town) -> None:
    await town.worker("encode", E)
    await town.worker("encode-2", E)
    await town.worker("diffuse", D)
    answer = await town.stub.Describe(generation_pb2.DescribeGenerationRequest())

    assert (answer.pipeline, answer.family) == ("team/flux", "fake")
    assert [one.workers for one in answer.stages] == [2, 1, 0]
    assert (answer.limits.max_pixels, answer.limits.size_multiple) == (1048576, 16)
    assert (answer.default_shape.height, answer.default_steps) == (64, 4)
    assert list(answer.output_formats) == ["image/png"]


async def test_health_and_reflection_are_there(town: Town) -> None:
    stub = health_pb2_grpc.HealthStub(town.channel)
    request = health_pb2.HealthCheckRequest(service="tridentserve.rpc.v1.GenerationService")

    assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.SERVING


async def test_every_metric_is_there_from_the_beginning(town: Town) -> None:
    for outcome in ("ok", "invalid", "refused", "cancelled", "deadline", "unavailable", "failed"):
        assert town.sample("tridentserve_requests_total", outcome=outcome) == 0
    await town.chain()
    await town.generate()

    assert town.sample("tridentserve_requests_total", outcome="ok") == 1
    assert town.sample("tridentserve_dispatch_decision_seconds_count") > 0  # type: ignore[operator]


# --- going away -----------------------------------------------------------------------------------


async def test_a_router_that_stops_finishes_what_runs_and_takes_nothing_new(town: Town) -> None:
    await town.chain(held=True)
    ask = town.ask()
    await ask.started(E)
    stopping = asyncio.create_task(town.router.stop())
    await until(lambda: town.router.core.requests.draining)
    error = await failing(town)
    assert isinstance(error, errors.UnavailableError)
    assert error.reason == "DRAINING"
    for member in town.members.values():
        member.free()

    assert (await ask.done()).media == [picture()]
    await stopping
    await until(lambda: town.used_bytes() == 0)


async def test_what_is_still_running_when_the_drain_ends_is_told_so() -> None:
    async with opened(drain_s=0.05) as town:
        await town.chain(held=True)
        ask: Ask = town.ask()
        await ask.started(E)
        await town.router.stop()
        result: Result = await ask.done()

        assert isinstance(result.error, errors.UnavailableError)
        assert result.error.reason == "DRAINING"
        town.members["encode"].free()
        await until(lambda: town.used_bytes() == 0)
