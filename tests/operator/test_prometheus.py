"""What Prometheus' answers mean: measured, zero and unknown are three things."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tridentserve.domain.ids import PipelineName, PoolName
from tridentserve.domain.load import StageTime
from tridentserve.domain.stages import Stage
from tridentserve.errors import UnavailableError
from tridentserve_operator import prometheus
from tridentserve_operator.prometheus import Answer, Limits, Prometheus, Series, load_of, parse

FLUX = PipelineName("default/flux")
LIMITS = Limits(answer_age_s=20.0, sample_age_s=30.0)
ENCODE_100, ENCODE_50 = PoolName("encode-100"), PoolName("encode-50")
OLD_100 = PoolName("encode-100-old")
FRACTIONS = {ENCODE_100: 100, ENCODE_50: 50, OLD_100: 100}


def sample(figure: str, value: str, **labels: str) -> dict[str, Any]:
    metric = {"figure": figure, "pipeline": "default/flux", **labels}
    return {"metric": metric, "value": [1_700_000_000.0, value]}


def success(*samples: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": list(samples)}}


def load(series: Series | None, known: tuple[StageTime, ...] = (), *, age_s: float = 0.0) -> Any:
    pipelines = {} if series is None else {FLUX: series}
    answer = Answer(pipelines=pipelines, at_s=100.0)
    return load_of(FLUX, answer, FRACTIONS, known, limits=LIMITS, now=100.0 + age_s)


def test_figures_of_all_pipelines_are_told_apart() -> None:
    other = {**sample("arrivals", "7"), "metric": {"figure": "arrivals", "pipeline": "x/y"}}
    found = parse(
        success(
            sample("arrivals", "2.5"),
            sample("age", "3"),
            sample("busy", "0.5", stage="encode", pool="encode-100"),
            sample("calls", "2", stage="encode", pool="encode-100"),
            other,
        )
    )

    assert found[FLUX] == Series(
        arrivals_per_s=2.5,
        age_s=3.0,
        busy={(Stage.ENCODE, ENCODE_100): 0.5},
        calls={(Stage.ENCODE, ENCODE_100): 2.0},
    )
    assert found[PipelineName("x/y")].arrivals_per_s == 7.0


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1", "many", ""])
def test_a_value_that_is_no_measurement_is_left_out(value: str) -> None:
    assert parse(success(sample("arrivals", value))).get(FLUX, Series()).arrivals_per_s is None


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"metric": {}, "value": [0, "1"]},
        {"metric": {"figure": "arrivals"}, "value": [0, "1"]},
        {"metric": {"figure": "busy", "pipeline": "default/flux", "stage": "x"}, "value": [0, "1"]},
        {"metric": {"figure": "arrivals", "pipeline": "default/flux"}, "value": []},
        {"metric": {"figure": "arrivals", "pipeline": "default/flux"}},
        None,
        7,
    ],
)
def test_a_broken_sample_does_not_hide_the_good_ones(broken: Any) -> None:
    assert parse(success(broken, sample("arrivals", "1")))[FLUX].arrivals_per_s == 1.0


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "ok",
        {},
        {"status": "error", "error": "query timed out"},
        {"status": "success"},
        {"status": "success", "data": {}},
        {"status": "success", "data": {"result": {}}},
    ],
)
def test_what_is_no_result_is_unavailable(body: Any) -> None:
    with pytest.raises(UnavailableError):
        parse(body)


def test_a_fresh_zero_is_zero_load() -> None:
    found = load(Series(arrivals_per_s=0.0, age_s=1.0))

    assert found.arrivals_per_s == 0.0
    assert found.problem == ""


@pytest.mark.parametrize(
    ("series", "age_s", "words"),
    [
        (None, 0.0, "scrapes the router"),
        (Series(age_s=1.0), 0.0, "scrapes the router"),
        (Series(arrivals_per_s=3.0), 0.0, "scrapes the router"),
        (Series(arrivals_per_s=3.0, age_s=31.0), 0.0, "intervals.loadMaxAgeSeconds"),
        (Series(arrivals_per_s=3.0, age_s=1.0), 21.0, "has not been asked"),
    ],
)
def test_absent_and_stale_are_unknown_and_say_why(
    series: Series | None, age_s: float, words: str
) -> None:
    found = load(series, age_s=age_s)

    assert found.arrivals_per_s is None
    assert words in found.problem


def test_before_the_first_answer_the_load_is_unknown() -> None:
    found = load_of(FLUX, Answer(), FRACTIONS, (), limits=LIMITS, now=0.0)

    assert found.arrivals_per_s is None


def test_an_answer_stays_good_through_one_failed_question() -> None:
    answer = Answer(
        pipelines={FLUX: Series(arrivals_per_s=3.0, age_s=1.0)}, at_s=100.0, problem="refused"
    )

    assert load_of(FLUX, answer, {}, (), limits=LIMITS, now=110.0).arrivals_per_s == 3.0
    assert load_of(FLUX, answer, {}, (), limits=LIMITS, now=121.0).problem == "refused"


def test_seconds_keep_their_last_valid_value_where_there_is_no_traffic() -> None:
    known = (StageTime(stage=Stage.ENCODE, fraction_percent=100, seconds=0.25),)
    idle = Series(
        arrivals_per_s=0.0,
        age_s=1.0,
        busy={(Stage.ENCODE, ENCODE_100): 0.0},
        calls={(Stage.ENCODE, ENCODE_100): 0.0},
    )

    assert load(idle, known).seconds == known
    assert load(None, known).seconds == known


def test_pools_of_one_fraction_are_weighted_by_their_calls() -> None:
    found = load(
        Series(
            arrivals_per_s=1.0,
            age_s=1.0,
            busy={(Stage.ENCODE, ENCODE_100): 3.0, (Stage.ENCODE, OLD_100): 1.0},
            calls={(Stage.ENCODE, ENCODE_100): 3.0, (Stage.ENCODE, OLD_100): 5.0},
        )
    )

    assert found.seconds == (StageTime(stage=Stage.ENCODE, fraction_percent=100, seconds=0.5),)


def test_fractions_are_measured_apart_and_pools_that_are_gone_not_at_all() -> None:
    series = Series(
        arrivals_per_s=1.0,
        age_s=1.0,
        busy={
            (Stage.ENCODE, ENCODE_50): 1.0,
            (Stage.ENCODE, ENCODE_100): 1.0,
            (Stage.ENCODE, PoolName("gone")): 9.0,
        },
        calls={
            (Stage.ENCODE, ENCODE_50): 1.0,
            (Stage.ENCODE, ENCODE_100): 2.0,
            (Stage.ENCODE, PoolName("gone")): 1.0,
        },
    )

    found = load(series)

    assert {(time.fraction_percent, time.seconds) for time in found.seconds} == {
        (50, 1.0),
        (100, 0.5),
    }


def test_the_question_is_one_union_of_four_figures() -> None:
    text = prometheus.query(60)

    assert text.count('"figure"') == 4
    assert text.count("[60s]") == 3
    assert "tridentserve_requests_arrived_total" in text


# --- asking ---------------------------------------------------------------------------------------

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A Prometheus that answers as a test says, and remembers what it was asked."""

    def __init__(self) -> None:
        """Answer well until told otherwise."""
        self.handler: Handler = self.good
        self.forms: list[dict[str, Any]] = []
        self.url = ""

    async def good(self, _: web.Request) -> web.StreamResponse:
        """One pipeline under load."""
        return web.json_response(success(sample("arrivals", "1.5"), sample("age", "1")))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Note the question and do as told."""
        self.forms.append(dict(await request.post()))
        return await self.handler(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    fake = Server()
    application = web.Application()
    application.router.add_post("/api/v1/query", fake.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


async def ask(url: str, before: Answer | None = None, total_s: float = 5.0) -> Answer:
    source = Prometheus(url, window_s=60, interval_s=1.0, clock=lambda: 42.0)
    if before is not None:
        source.answer = before
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=total_s)) as session:
        await source.ask(session)
    return source.answer


async def test_a_good_answer_is_kept_with_its_time(server: Server) -> None:
    answer = await ask(server.url)

    assert answer.pipelines is not None
    assert answer.pipelines[FLUX].arrivals_per_s == 1.5
    assert (answer.at_s, answer.problem) == (42.0, "")
    assert server.forms == [{"query": prometheus.query(60), "timeout": "5s"}]


async def test_a_password_in_the_address_is_used_and_never_told(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def login(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Basic cmVhZGVyOnMzY3JldA=="
        return await server.good(request)

    server.handler = login
    answer = await ask(server.url.replace("//", "//reader:s3cret@"))
    assert answer.pipelines is not None

    for place in ("127.0.0.1:1/prom", "127.0.0.1:99999", "[/", "/"):
        answer = await ask(f"http://reader:s3cret@{place}")
        assert answer.problem.startswith("Prometheus at http://")
        assert "s3cret" not in answer.problem
    server.handler = _html
    answer = await ask(server.url.replace("//", "//reader:s3cret@"))
    assert answer.problem.startswith(f"Prometheus at {server.url} answered HTTP 502")
    assert "s3cret" not in "".join(str(vars(record)) for record in caplog.records)


async def _error(_: web.Request) -> web.StreamResponse:
    body = json.dumps({"status": "error", "errorType": "timeout", "error": "too slow"})
    return web.Response(text=body, status=503, content_type="application/json")


async def _html(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>bad gateway</html>", status=502)


async def _hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError("unreachable")


async def _drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def _cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"status":')
    assert request.transport is not None
    request.transport.close()
    return response


async def _deep(_: web.Request) -> web.StreamResponse:
    return web.Response(text="[" * 200_000)


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (_error, "too slow"),
        (_html, "HTTP 502"),
        (_deep, "without JSON"),
        (_hang, "no answer in time"),
        (_drip, "no answer in time"),
        (_cut, "Prometheus at"),
    ],
)
async def test_a_failed_question_keeps_the_last_answer_and_says_why(
    server: Server, handler: Handler, words: str
) -> None:
    server.handler = handler
    before = Answer(pipelines={FLUX: Series(arrivals_per_s=9.0)}, at_s=7.0)

    # Those that answer get all the time that a busy machine takes.
    answer = await ask(server.url, before, total_s=0.3 if "in time" in words else 60.0)

    assert (answer.pipelines, answer.at_s) == (before.pipelines, 7.0)
    assert words in answer.problem


async def test_nobody_listening_is_a_sentence() -> None:
    answer = await ask("http://127.0.0.1:1")

    assert answer.pipelines is None
    assert answer.asked
    assert "http://127.0.0.1:1" in answer.problem


@pytest.mark.parametrize("url", ["http://a..b:9090", "http://host:99999", "nonsense", "http://"])
async def test_an_address_that_is_none_is_a_sentence(url: str) -> None:
    answer = await ask(url)

    assert answer.asked
    assert url in answer.problem


async def test_without_an_address_nothing_is_asked() -> None:
    source = Prometheus("", window_s=60, interval_s=1.0, clock=lambda: 0.0)

    await source.run()

    assert "TRIDENTSERVE_PROMETHEUS_URL" in source.answer.problem
