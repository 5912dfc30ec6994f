"""What comes in, what is filled in, and what is refused with which field."""

import contextlib
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.router.bad_requests import BAD_REQUESTS, LIMITS, MODEL, BadRequest

from tridentserve.domain.ids import RequestId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import ExhaustedError, InvalidFieldError
from tridentserve_router.admission import (
    Asked,
    Queue,
    check,
    check_lateness,
    check_queue,
    predict_s,
)
from tridentserve_router.api import read_request
from tridentserve_router.forecast import Forecast


def checked(data: bytes, seed: int = 0) -> object:
    return check(read_request(data), LIMITS, MODEL, Random(seed))


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.why)
def test_bad_requests_are_refused_with_the_field_they_are_wrong_in(bad: BadRequest) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        checked(bad.data)

    assert caught.value.field == bad.named
    assert caught.value.problem


def test_the_table_is_as_long_as_promised_and_says_each_thing_once() -> None:
    assert len(BAD_REQUESTS) >= 30
    assert len({bad.why for bad in BAD_REQUESTS}) == len(BAD_REQUESTS)
    assert len({bad.data for bad in BAD_REQUESTS}) == len(BAD_REQUESTS)


def ask(**fields: Any) -> Asked:
    return Asked(**{"prompt": "a fox", **fields})


def test_defaults_are_the_models() -> None:
    found = check(ask(), LIMITS, MODEL, Random(0))

    assert (found.shape, found.steps, found.guidance) == (MODEL.default_shape, 4, 5.0)
    assert (found.count, found.output_format) == (1, "image/png")


def test_half_a_size_takes_the_other_half_from_the_model() -> None:
    assert check(ask(height=128), LIMITS, MODEL, Random(0)).shape == Shape(height=128, width=64)


def test_a_guidance_and_a_seed_of_zero_are_not_left_out() -> None:
    found = check(ask(guidance=0.0, seed=0), LIMITS, MODEL, Random(0))

    assert (found.guidance, found.seed) == (0.0, 0)


def test_a_seed_is_drawn_where_none_is_given() -> None:
    one, other = (check(ask(), LIMITS, MODEL, Random(seed)).seed for seed in (1, 2))

    assert one != other
    assert 0 <= one < 2**32


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "x" * 200},
        {"negative_prompt": "x" * 200},
        {"height": 256, "width": 256},
        {"height": 4080, "width": 16},
        {"steps": 20},
        {"steps": 1},
        {"guidance": 100.0},
        {"seed": 2**63 - 1},
        {"count": 2},
        {"frames": 1},
        {"deadline_seconds": 86_400.0},
        {"idempotency_key": "k" * 128},
        {"output_format": "image/png"},
    ],
)
def test_what_is_just_within_bounds_comes_in(fields: dict[str, object]) -> None:
    check(ask(**fields), LIMITS, MODEL, Random(0))


def test_a_default_beyond_the_limits_does_not_refuse_who_left_it_out() -> None:
    limits = replace(LIMITS, max_steps=2)

    assert check(ask(), limits, MODEL, Random(0)).steps == 2


@pytest.mark.parametrize(
    ("default", "asked", "expected"),
    [
        ((1024, 1024), {}, (256, 256)),
        ((1024, 512), {}, (352, 176)),
        ((64, 64), {}, (64, 64)),
        ((1024, 1024), {"height": 128}, (128, 512)),
        ((1024, 1024), {"width": 16}, (1024, 16)),
        ((64, 1024), {"height": 512}, (512, 128)),
    ],
)
def test_a_side_that_is_left_out_is_the_models_as_far_as_the_limit_goes(
    default: tuple[int, int], asked: dict[str, int], expected: tuple[int, int]
) -> None:
    model = replace(MODEL, default_shape=Shape(height=default[0], width=default[1]))

    shape = check(ask(**asked), LIMITS, model, Random(0)).shape

    assert (shape.height, shape.width) == expected
    assert shape.height * shape.width <= LIMITS.max_pixels


def test_a_side_that_leaves_no_room_for_the_other_is_named() -> None:
    with pytest.raises(InvalidFieldError) as caught:
        check(ask(height=8192), LIMITS, MODEL, Random(0))
    assert caught.value.field == "height"


def test_a_family_without_negative_prompts_refuses_them() -> None:
    model = replace(MODEL, negative_prompt=False)

    with pytest.raises(InvalidFieldError) as caught:
        check(ask(negative_prompt="blurry"), LIMITS, model, Random(0))
    assert caught.value.field == "negative_prompt"


@given(st.binary(max_size=64))
def test_no_bytes_do_anything_else_than_come_in_or_be_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidFieldError):
        checked(data)


# --- the queue ------------------------------------------------------------------------------------


def queue(
    waiting: int = 0, backlog: float = 0.0, slots: int = 1, without: Stage | None = None
) -> Queue:
    return Queue(
        waiting=waiting,
        backlog_s=dict.fromkeys(STAGES, backlog),
        slots={stage: slots for stage in STAGES if stage is not without},
    )


OWN = {Stage.ENCODE: 1.0, Stage.DIFFUSE: 5.0, Stage.DECODE: 2.0}


def test_with_nobody_before_it_a_request_takes_its_own_time() -> None:
    assert predict_s(queue(), OWN) == 8.0


def test_the_longest_backlog_of_a_slot_is_waited_for() -> None:
    behind = Queue(
        waiting=9,
        backlog_s={Stage.ENCODE: 10.0, Stage.DIFFUSE: 60.0, Stage.DECODE: 10.0},
        slots={Stage.ENCODE: 1, Stage.DIFFUSE: 4, Stage.DECODE: 1},
    )

    assert predict_s(behind, OWN) == 15.0 + 8.0


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_predicted_without_a_worker_of_each_stage(stage: Stage) -> None:
    assert predict_s(queue(without=stage), OWN) is None


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_predicted_from_a_stage_that_nobody_measured(stage: Stage) -> None:
    assert predict_s(queue(), {s: 1.0 for s in STAGES if s is not stage}) is None


def test_the_queue_takes_as_many_as_the_limit_and_no_more() -> None:
    check_queue(queue(waiting=2), 3, None)
    with pytest.raises(ExhaustedError) as caught:
        check_queue(queue(waiting=3), 3, None)

    assert (caught.value.reason, caught.value.retry_after_s) == ("QUEUE_FULL", 1.0)


@pytest.mark.parametrize(
    ("predicted_s", "retry_s"), [(None, 1.0), (0.1, 1.0), (100.0, 10.0), (1e9, 60.0)]
)
def test_the_retry_delay_is_about_one_place_in_the_queue(
    predicted_s: float | None, retry_s: float
) -> None:
    with pytest.raises(ExhaustedError) as caught:
        check_queue(queue(waiting=10), 10, predicted_s)

    assert caught.value.retry_after_s == retry_s


def test_late_requests_are_refused_only_for_those_who_want_to_know() -> None:
    check_lateness(ask(), 10.0, 5.0)
    with pytest.raises(ExhaustedError) as caught:
        check_lateness(ask(refuse_late=True), 10.0, 5.0)

    assert (caught.value.reason, caught.value.retry_after_s) == ("TOO_LATE", 5.0)


@pytest.mark.parametrize(("predicted_s", "deadline_s"), [(None, 5.0), (10.0, None), (5.0, 5.0)])
def test_what_nobody_knows_or_is_just_in_time_is_not_refused(
    predicted_s: float | None, deadline_s: float | None
) -> None:
    check_lateness(ask(refuse_late=True), predicted_s, deadline_s)


# --- the forecast ---------------------------------------------------------------------------------


def test_the_backlog_is_what_is_not_done_of_those_who_are_here() -> None:
    one, other = RequestId("one"), RequestId("other")
    forecast = Forecast()
    forecast.add(one, OWN)
    forecast.add(other, OWN)
    forecast.done(one, Stage.ENCODE)
    forecast.done(one, Stage.ENCODE)
    assert forecast.backlog_s == {Stage.ENCODE: 1.0, Stage.DIFFUSE: 10.0, Stage.DECODE: 4.0}
    forecast.gone(other)
    forecast.gone(other)
    assert forecast.backlog_s == {Stage.ENCODE: 0.0, Stage.DIFFUSE: 5.0, Stage.DECODE: 2.0}
    forecast.gone(one)

    assert forecast.backlog_s == dict.fromkeys(STAGES, 0.0)
