"""Load of all pipelines from Prometheus, in one question, without anybody waiting for it.

A task of its own asks every few seconds and keeps the last good answer with its age; the loop reads
what is there. A Prometheus that hangs costs a timeout of this task and nothing else.

Four figures come as one union, so that they are of one moment (`figure` tells them apart):

    arrivals   requests that arrived per second, by pipeline
    age        seconds since the newest scrape of a pipeline's router
    busy       run seconds per second, by pipeline, stage and pool
    calls      runs per second, by pipeline, stage and pool

Measured, zero and unknown are three things:

    answer                                   arrivals per second       seconds of a stage
    fresh sample                             the rate, 0.0 included    busy / calls of a fraction
    calls are 0 (no traffic), NaN            -                         the last valid value
    no series, or age above the limit        unknown                   the last valid value
    no answer, an error, nonsense            unknown once too old      the last valid value
"""

import asyncio
import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from tridentserve.domain.ids import PipelineName, PoolName
from tridentserve.domain.load import Load, StageTime
from tridentserve.domain.stages import Stage
from tridentserve.errors import TemporaryError, UnavailableError

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_MAX_ANSWER_BYTES = 16 << 20
"""A hundred thousand series; more is not an answer to this question."""
MISSED_ANSWERS = 3
"""After so many intervals without an answer, the last one counts for nothing."""
_LOGIN = re.compile(r"//\S*@")
"""User and password of an address, whatever is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What one answer says about one pipeline."""

    arrivals_per_s: float | None = None
    age_s: float | None = None
    busy: Mapping[tuple[Stage, PoolName], float] = field(default_factory=dict)
    calls: Mapping[tuple[Stage, PoolName], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The last good answer, None before the first, and why there is no newer one."""

    pipelines: Mapping[PipelineName, Series] | None = None
    at_s: float = 0.0
    """By the monotonic clock of whoever asked."""
    problem: str = ""
    """Why the last question failed, empty where it did not."""

    @property
    def asked(self) -> bool:
        """Whether there was an answer or a refusal, so that silence means something."""
        return self.pipelines is not None or bool(self.problem)


def query(window_s: int) -> str:
    """The question, as PromQL."""
    arrived = "tridentserve_requests_arrived_total"
    duration = "tridentserve_stage_duration_seconds"
    by = "sum by (pipeline, stage, pool)"
    figures = {
        "arrivals": f"sum by (pipeline) (rate({arrived}[{window_s}s]))",
        "age": f"time() - max by (pipeline) (timestamp({arrived}))",
        "busy": f"{by} (rate({duration}_sum[{window_s}s]))",
        "calls": f"{by} (rate({duration}_count[{window_s}s]))",
    }
    return " or ".join(
        f'label_replace({expression}, "figure", "{name}", "", "")'
        for name, expression in figures.items()
    )


def parse(body: object) -> dict[PipelineName, Series]:
    """Read Prometheus' answer; series that make no sense are left out, as if not there.

    Raises:
        UnavailableError: it is no successful answer.
    """
    if not isinstance(body, dict) or body.get("status") != "success":
        problem = body.get("error") if isinstance(body, dict) else None
        raise UnavailableError(f"Prometheus answered {problem or 'something else than a result'}")
    data = body.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("result"), list):
        raise UnavailableError("Prometheus answered without a result")
    found: dict[PipelineName, Series] = {}
    for sample in data["result"]:
        _take(found, sample)
    return found


def _take(found: dict[PipelineName, Series], sample: Any) -> None:
    try:
        labels, (_, text) = sample["metric"], sample["value"]
        figure, value = labels["figure"], float(text)
        pipeline = PipelineName(labels["pipeline"])
        if not math.isfinite(value) or value < 0:
            return
        known = found.get(pipeline, Series())
        if figure == "arrivals":
            known = replace(known, arrivals_per_s=value)
        elif figure == "age":
            known = replace(known, age_s=value)
        else:
            key = (Stage(labels["stage"]), PoolName(labels["pool"]))
            if figure == "busy":
                known = replace(known, busy={**known.busy, key: value})
            elif figure == "calls":
                known = replace(known, calls={**known.calls, key: value})
        found[pipeline] = known
    except (KeyError, TypeError, ValueError):
        return


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From when on an answer or a sample is too old to be one, in seconds."""

    answer_age_s: float
    sample_age_s: float


def load_of(
    pipeline: PipelineName,
    answer: Answer,
    fractions: Mapping[PoolName, int],
    known: tuple[StageTime, ...],
    *,
    limits: Limits,
    now: float,
) -> Load:
    """Load of one pipeline: the answer where it is good, `known` times where it says nothing.

    Pools that are not in `fractions` are gone, and what they took is no news. Messages hold no
    figures that move: they end up in a condition, which is written whenever it changes.
    """
    if answer.pipelines is None or now - answer.at_s > limits.answer_age_s:
        problem = answer.problem or "Prometheus has not been asked yet"
        return Load(arrivals_per_s=None, seconds=known, problem=problem)
    series = answer.pipelines.get(pipeline, Series())
    seconds = _merged(known, _measured(series, fractions))
    problem = ""
    if series.arrivals_per_s is None or series.age_s is None:
        problem = (
            "Prometheus has no tridentserve_requests_arrived_total of this pipeline;"
            " see that it scrapes the router's pod"
        )
    elif series.age_s > limits.sample_age_s:
        problem = (
            "the newest scrape of the router is too old; see whether Prometheus reaches it, and"
            " scrapes it twice within intervals.loadMaxAgeSeconds"
        )
    return Load(
        arrivals_per_s=None if problem else series.arrivals_per_s,
        seconds=seconds,
        problem=problem,
    )


def _measured(series: Series, fractions: Mapping[PoolName, int]) -> dict[tuple[Stage, int], float]:
    # Pools of one fraction (two revisions, say) are one measurement, weighted by their calls.
    busy: dict[tuple[Stage, int], float] = {}
    calls: dict[tuple[Stage, int], float] = {}
    for (stage, pool), rate in series.calls.items():
        if pool in fractions and (stage, pool) in series.busy:
            key = (stage, fractions[pool])
            calls[key] = calls.get(key, 0.0) + rate
            busy[key] = busy.get(key, 0.0) + series.busy[stage, pool]
    return {key: busy[key] / rate for key, rate in calls.items() if rate > 0 and busy[key] > 0}


def _merged(
    known: tuple[StageTime, ...], measured: Mapping[tuple[Stage, int], float]
) -> tuple[StageTime, ...]:
    times = {(time.stage, time.fraction_percent): time.seconds for time in known} | dict(measured)
    return tuple(
        StageTime(stage=stage, fraction_percent=fraction, seconds=seconds)
        for (stage, fraction), seconds in sorted(times.items())
    )


class Prometheus:
    """Asks for ever, and keeps the last good answer."""

    def __init__(
        self, url: str, *, window_s: int, interval_s: float, clock: Callable[[], float]
    ) -> None:
        """Prepare to ask; an empty address never asks."""
        self._url, self._interval_s, self._clock = url, interval_s, clock
        self._query = query(window_s)
        self.answer = Answer(
            problem="" if url else "no Prometheus is configured: set TRIDENTSERVE_PROMETHEUS_URL"
        )

    async def run(self) -> None:
        """Ask every interval until cancelled; failures end up in the answer."""
        if not self._url:
            return
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self.ask(session)
                await asyncio.sleep(self._interval_s)

    async def ask(self, session: aiohttp.ClientSession) -> None:
        """Ask once and take over what comes."""
        try:
            pipelines = parse(await self._fetch(session))
        except TemporaryError as error:
            problem = _LOGIN.sub("//", str(error))  # it ends up in a condition
            if problem != self.answer.problem:
                log.warning("Prometheus did not answer", extra={"problem": problem})
            self.answer = Answer(
                pipelines=self.answer.pipelines, at_s=self.answer.at_s, problem=problem
            )
            return
        self.answer = Answer(pipelines=pipelines, at_s=self._clock())

    async def _fetch(self, session: aiohttp.ClientSession) -> object:
        form = {"query": self._query, "timeout": f"{_TIMEOUT_S:.0f}s"}
        try:
            async with session.post(f"{self._url}/api/v1/query", data=form) as response:
                content = await response.content.read(_MAX_ANSWER_BYTES)
                while chunk := await response.content.read(_MAX_ANSWER_BYTES):
                    content += chunk
                    if len(content) > _MAX_ANSWER_BYTES:
                        raise UnavailableError("Prometheus answered too much")
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeError) as error:
            # UnicodeError: a host that is no name; it must not end the loop beside this task.
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            raise UnavailableError(f"Prometheus at {self._url}: {reason}") from error
        try:
            answer: object = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UnavailableError(
                f"Prometheus at {self._url} answered HTTP {response.status} without JSON"
            ) from error
        return answer
