"""What the client makes of a router's answers."""

import asyncio
from typing import Any, cast

import grpc
import pytest
from tests.client import tls
from tests.client.conftest import Gate
from tests.router.bad_requests import MODEL
from tests.router.conftest import Town, picture, until
from tests.router.scripted import Scripted

from tridentserve import errors
from tridentserve.client import (
    Accepted,
    Event,
    Finished,
    GenerationClient,
    MediaPiece,
    Request,
    StageStarted,
    Step,
    generate,
)
from tridentserve.client.values import read_event
from tridentserve.domain.ids import RequestId, WorkerId
from tridentserve.domain.stages import STAGES
from tridentserve.rpc.v1 import common_pb2, generation_pb2

E, D, C = STAGES
FOX = Request(prompt="a fox", seed=7)


async def test_pictures_come_with_their_story(town: Town, client: GenerationClient) -> None:
    await town.chain()
    events: list[Event] = []
    result = await client.generate(
        Request(prompt="a fox", seed=7, count=2, steps=3), on_event=events.append
    )

    assert result.media == (picture(), picture())
    assert (result.finished.seed, result.finished.plan) == (7, "plan-1")
    assert [timing.stage for timing in result.finished.timings] == list(STAGES)
    assert [timing.input_store for timing in result.finished.timings] == ["", "shm", "shm"]
    assert isinstance(events[0], Accepted)
    assert [event.stage for event in events if isinstance(event, StageStarted)] == list(STAGES)
    assert Step(step=3, steps=3) in events
    assert events[-1] is result.finished


async def test_a_guidance_and_a_seed_of_zero_arrive(town: Town, client: GenerationClient) -> None:
    await town.chain()
    result = await client.generate(Request(prompt="a fox", seed=0, guidance=0.0))

    generation = town.members["diffuse"].runner.calls[0][0].generation
    assert (generation.guidance, generation.seed) == (0.0, 0)
    assert result.finished.seed == 0


async def test_what_is_left_out_is_the_models(town: Town, client: GenerationClient) -> None:
    await town.chain()
    await client.generate(Request(prompt="a fox"))

    generation = town.members["diffuse"].runner.calls[0][0].generation
    assert generation.shape == MODEL.default_shape
    assert (generation.steps, generation.guidance) == (MODEL.default_steps, 5.0)


async def test_media_of_a_broken_attempt_are_thrown_away(
    town: Town, client: GenerationClient
) -> None:
    await town.worker("encode", E)
    await town.worker("diffuse", D)
    half = Scripted("decode", C)
    half.runs = [half.media_then_hang]
    pieces: list[Event] = []
    async with half.serving(town):
        asking = asyncio.create_task(client.generate(FOX, on_event=pieces.append))
        await until(lambda: any(isinstance(event, MediaPiece) for event in pieces))
        await town.worker("decode-2", C)
        await half.kill()
        result = await asking

    assert result.media == (picture(),)


async def test_a_wrong_field_is_named(town: Town, client: GenerationClient) -> None:
    await town.chain()
    with pytest.raises(errors.InvalidFieldError) as caught:
        await client.generate(Request(prompt="a fox", height=17))

    assert caught.value.field == "height"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Request(prompt="a fox", steps=2**31), "steps"),
        (Request(prompt="a fox", seed=2**63), "seed"),
        (Request(prompt="a fox \udcff"), "prompt"),
    ],
)
async def test_what_cannot_even_be_sent_is_named(
    client: GenerationClient, request_: Request, field: str
) -> None:
    with pytest.raises(errors.InvalidFieldError) as caught:
        await client.generate(request_)

    assert caught.value.field == field


async def test_a_full_queue_says_when_to_come_again(town: Town, client: GenerationClient) -> None:
    town.edit(max_queue=1)
    await town.worker("encode", E, held=True)
    asks = [town.ask(), town.ask()]
    await until(lambda: town.router.core.dispatcher.waiting == 1)
    with pytest.raises(errors.ExhaustedError) as caught:
        await client.generate(FOX)

    assert (caught.value.reason, caught.value.retry_after_s) == ("QUEUE_FULL", 1.0)
    for ask in asks:
        ask.call.cancel()
    await asyncio.gather(*(ask.task for ask in asks), return_exceptions=True)


async def test_nobody_there_is_unavailable() -> None:
    async with GenerationClient("127.0.0.1:1") as client:
        with pytest.raises(errors.UnavailableError):
            await client.generate(FOX)
        with pytest.raises(errors.UnavailableError):
            await client.describe()
        with pytest.raises(errors.UnavailableError):
            await client.cancel(RequestId("x"))


async def test_what_ends_tls_before_the_router_is_spoken_to_with_headers(gate: Gate) -> None:
    credentials = grpc.ssl_channel_credentials(tls.CERTIFICATE)
    metadata = [("authorization", "Bearer x")]
    async with GenerationClient(gate.address, credentials=credentials, metadata=metadata) as client:
        result = await client.generate(FOX)

    assert result.finished.seed == 7
    assert ("authorization", "Bearer x") in gate.metadata


async def test_names_of_metadata_are_sent_in_lower_case(gate: Gate) -> None:
    credentials = grpc.ssl_channel_credentials(tls.CERTIFICATE)
    metadata = [("Authorization", "Bearer x")]
    async with GenerationClient(gate.address, credentials=credentials, metadata=metadata) as client:
        await client.generate(FOX)

    assert ("authorization", "Bearer x") in gate.metadata


@pytest.mark.parametrize(
    "pair", [("", "x"), ("a b", "x"), ("a", "ü"), ("a", "1\n2"), ("a-bin", "x"), ("A-Bin", "x")]
)
def test_metadata_that_cannot_be_sent_is_refused_at_once(pair: tuple[str, str]) -> None:
    with pytest.raises(errors.InvalidFieldError) as caught:
        GenerationClient("127.0.0.1:1", metadata=[pair])

    assert caught.value.field == "metadata"


async def test_a_certificate_that_nobody_trusts_is_unavailable(gate: Gate) -> None:
    async with GenerationClient(gate.address, credentials=grpc.ssl_channel_credentials()) as client:
        with pytest.raises(errors.UnavailableError):
            await client.generate(FOX)


async def test_a_client_made_before_any_event_loop_works_in_the_one_of_its_first_call(
    town: Town,
) -> None:
    await town.chain()
    client = await asyncio.to_thread(GenerationClient, town.router.address)
    async with client:
        result = await client.generate(FOX)

    assert result.media == (picture(),)


async def test_a_closed_client_says_so_to_those_who_wait_and_those_who_come(
    town: Town, client: GenerationClient
) -> None:
    await town.worker("encode", E, held=True)
    asking = asyncio.create_task(client.generate(FOX))
    await town.members["encode"].busy()
    await client.close()

    with pytest.raises(errors.UnavailableError, match="client is closed"):
        await asking
    with pytest.raises(errors.UnavailableError, match="client is closed"):
        await client.describe()
    town.members["encode"].free()
    await town.settled()


@pytest.mark.parametrize("timeout_s", [float("inf"), 1e12])
async def test_a_timeout_beyond_all_bounds_is_none(
    town: Town, client: GenerationClient, timeout_s: float
) -> None:
    await town.chain()

    assert (await client.generate(FOX, timeout_s=timeout_s)).media == (picture(),)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
async def test_a_timeout_that_is_none_is_named(client: GenerationClient, timeout_s: float) -> None:
    with pytest.raises(errors.InvalidFieldError) as caught:
        await client.generate(FOX, timeout_s=timeout_s)

    assert caught.value.field == "timeout_s"


async def test_the_timeout_is_hard(town: Town, client: GenerationClient) -> None:
    await town.worker("encode", E, held=True)
    with pytest.raises(errors.DeadlineExceededError):
        await client.generate(FOX, timeout_s=0.2)

    town.members["encode"].free()
    await town.settled()


async def test_cancelling_the_task_cancels_the_request(
    town: Town, client: GenerationClient
) -> None:
    await town.worker("encode", E, held=True)
    asking = asyncio.create_task(client.generate(FOX))
    await town.members["encode"].busy()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: not len(town.router.core.requests))

    town.members["encode"].free()
    await town.settled()


async def test_ending_the_iteration_cancels_the_request(
    town: Town, client: GenerationClient
) -> None:
    await town.worker("encode", E, held=True)
    events = client.stream(FOX)
    async for event in events:
        if isinstance(event, StageStarted):
            break
    await events.aclose()

    await until(lambda: not len(town.router.core.requests))
    town.members["encode"].free()
    await town.settled()


async def test_a_request_is_cancelled_by_its_id(town: Town, client: GenerationClient) -> None:
    await town.worker("encode", E, held=True)
    accepted: asyncio.Queue[Event] = asyncio.Queue()
    asking = asyncio.create_task(client.generate(FOX, on_event=accepted.put_nowait))
    first = await accepted.get()
    assert isinstance(first, Accepted)
    await client.cancel(first.request)
    with pytest.raises(errors.CancelledError):
        await asking
    with pytest.raises(errors.NotFoundError):
        await client.cancel(first.request)

    town.members["encode"].free()
    await town.settled()


async def test_it_describes_the_pipeline(town: Town, client: GenerationClient) -> None:
    await town.worker("encode", E)
    found = await client.describe()

    assert (found.pipeline, found.family) == ("team/flux", "fake")
    assert found.workers == {E: 1, D: 0, C: 0}
    assert (found.limits.max_pixels, found.size_multiple) == (1048576, 16)
    assert (found.default_shape, found.default_steps) == (MODEL.default_shape, 4)


async def test_a_stream_that_ends_without_a_finish_is_no_result(
    client: GenerationClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(self: GenerationClient, request: Request, *, timeout_s: float | None) -> Any:
        yield Accepted(request=RequestId("r"), predicted_s=None, deadline_s=None)

    monkeypatch.setattr(GenerationClient, "stream", cut_off)
    with pytest.raises(errors.UnavailableError, match="ended before"):
        await client.generate(FOX)


async def test_programs_without_a_loop_have_a_blocking_call(town: Town) -> None:
    await town.chain()
    result = await asyncio.to_thread(generate, town.router.address, FOX)

    assert result.media == (picture(),)


def test_events_of_a_newer_router_are_passed_over() -> None:
    upscale = cast(Any, 9)  # a stage that is yet to come
    start = generation_pb2.StageStart(stage=upscale, worker="w", attempt=2)
    assert read_event(generation_pb2.GenerateEvent()) is None
    # Of a stage it needs to know no more than that what came of an earlier attempt is void.
    assert read_event(generation_pb2.GenerateEvent(stage_start=start)) == StageStarted(
        stage=None, worker=WorkerId("w"), attempt=2
    )


def test_timings_of_stages_yet_to_come_cost_no_picture() -> None:
    timings = [
        common_pb2.StageTiming(stage=cast(Any, 9)),
        common_pb2.StageTiming(stage=common_pb2.STAGE_DECODE),
    ]
    finished = generation_pb2.GenerateFinished(timings=timings)
    found = read_event(generation_pb2.GenerateEvent(finished=finished))

    assert isinstance(found, Finished)
    assert [timing.stage for timing in found.timings] == [C]


def test_unknown_predictions_are_none() -> None:
    message = generation_pb2.GenerateEvent(accepted=generation_pb2.Accepted(request_id="r"))

    assert read_event(message) == Accepted(
        request=RequestId("r"), predicted_s=None, deadline_s=None
    )
    assert isinstance(
        read_event(generation_pb2.GenerateEvent(finished=generation_pb2.GenerateFinished())),
        Finished,
    )
