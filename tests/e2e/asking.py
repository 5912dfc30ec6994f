"""A request that runs beside the test, so that the test can do harm while it does."""

import asyncio
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.pipelines import Pipeline

from tridentserve.client import GenerationClient, Request, Result
from tridentserve.client.values import Accepted, Event, Finished, StageStarted, Step
from tridentserve.domain.names import PORT_METRICS
from tridentserve.domain.stages import Stage
from tridentserve.domain.work import Generation
from tridentserve.stage.synthetic import picture, read_model
from tridentserve_local.testing import eventually, get

E = TypeVar("E")


class Asking:
    """One request in a thread with an event loop of its own."""

    def __init__(self, pipeline: Pipeline, request: Request, *, timeout_s: float = 60) -> None:
        """Send it."""
        self._endpoint, self._request, self._timeout_s = pipeline.endpoint(), request, timeout_s
        self._outcome: Result | BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Result] | None = None
        self.events: list[Event] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = asyncio.run(self._ask())
        except BaseException as error:  # noqa: BLE001  raised again in the test's thread
            self._outcome = error

    async def _ask(self) -> Result:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        async with GenerationClient(self._endpoint) as client:
            return await client.generate(
                self._request, timeout_s=self._timeout_s, on_event=self.events.append
            )

    def saw(self, kind: type[E], test: Callable[[E], bool] = lambda event: True) -> E:
        """The first event of a kind that passes a test, waited for."""

        def look() -> list[E]:
            ended = self._outcome  # before the events, which may become more until then
            found: list[E] = [e for e in list(self.events) if isinstance(e, kind) and test(e)]
            if not found and ended is not None:
                raise AssertionError(f"ended without {kind.__name__}: {str(ended)[:200]}")
            return found

        return eventually(look, every_s=0.01, what=kind.__name__)[0]

    def accepted(self) -> Accepted:
        """Its first event."""
        return self.saw(Accepted)

    def started(self, stage: Stage, attempt: int = 1) -> str:
        """The worker that a stage begins on."""
        one = self.saw(StageStarted, lambda e: (e.stage, e.attempt) == (stage, attempt))
        return one.worker

    def stepped(self, step: int = 1) -> None:
        """Diffusion has done so many steps."""
        self.started(Stage.DIFFUSE)
        self.saw(Step, lambda e: e.step >= step and e.steps > 1)

    @property
    def has_stepped(self) -> bool:
        """Diffusion has done a step by now."""
        return any(isinstance(e, Step) and e.steps > 1 for e in list(self.events))

    @property
    def running(self) -> bool:
        """Not at its end yet: what was done until now, was done in its middle."""
        return self._outcome is None and not any(isinstance(e, Finished) for e in self.events)

    def go_away(self) -> None:
        """End the stream, as a caller does that is not interested any more."""
        assert self._loop is not None
        assert self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)

    def result(self, *, within_s: float = 60) -> Result:
        """What came of it.

        Raises:
            TridentServeError: what it ended with.
        """
        self._thread.join(within_s)
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None, f"still running after {self.events}"
        return self._outcome


def drawn(model: Path, request: Request) -> tuple[bytes, ...]:
    """The media of a synthetic model, computed here and nowhere else."""
    known = read_model(model)
    info = known.info
    assert request.seed is not None
    generation = Generation(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        shape=replace(
            info.default_shape,
            height=request.height or info.default_shape.height,
            width=request.width or info.default_shape.width,
        ),
        steps=request.steps or info.default_steps,
        guidance=info.default_guidance if request.guidance is None else request.guidance,
        seed=request.seed,
        count=request.count,
        output_format=request.output_format or "image/png",
    )
    return tuple(media.data for media in picture(known, generation))


def attempts(result: Result) -> list[int]:
    """How often each stage was tried, in order of the stages."""
    return [timing.attempts for timing in result.finished.timings]


def stores(result: Result) -> list[str]:
    """What the hops to diffuse and to decode went through."""
    return [timing.input_store for timing in result.finished.timings[1:]]


def scrape(pipeline: Pipeline, pod: str) -> str:
    """A pod's `/metrics`."""
    where = get(pipeline.cluster, pipeline.namespace, "pod", pod)["status"]["podIP"]
    with urllib.request.urlopen(f"http://{where}:{PORT_METRICS}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def sample(pipeline: Pipeline, pod: str, name: str, **labels: str) -> float:
    """The sum of a metric's children that have these labels."""
    families = text_string_to_metric_families(scrape(pipeline, pod))
    samples = (one for family in families for one in family.samples if one.name == name)
    return sum(one.value for one in samples if labels.items() <= one.labels.items())
