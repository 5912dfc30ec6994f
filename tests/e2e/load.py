"""Requests at a given rate, whatever becomes of those before them, and what became of each.

An open loop in a thread of its own: a service that slows down does not slow down its load. Every
request has another seed, and every picture is compared with what the model makes of it.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tridentserve.client import GenerationClient, Request, Result
from tridentserve.domain.ids import ContentDigest
from tridentserve.domain.shapes import Shape
from tridentserve.domain.work import Generation
from tridentserve.errors import TridentServeError
from tridentserve.stage.synthetic import FORMAT, SyntheticModel, picture, read_model

_MOST = 3000
"""Requests of one load; more is a test that went wrong."""
_LONGEST_S = 600.0
"""Of one load, for the same reason."""
_PATIENCE_S = 60.0
"""Hard deadline of a request."""
_LOOK_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one request."""

    number: int
    sent_s: float
    """Unix time."""
    seconds: float
    result: Result | None
    error: str
    """Empty where there is a result."""

    @property
    def digest(self) -> ContentDigest:
        """Of the model that made the result."""
        assert self.result is not None
        return self.result.finished.digest


class Load:
    """A context in which requests are sent; leaving it waits for those that are on their way."""

    def __init__(self, endpoint: str, *, rate: float = 0.0, steps: int = 4) -> None:
        """Prepare to send `rate` requests a second of so many steps to a router."""
        self.rate = rate
        """Requests a second; may be set at any time."""
        self.outcomes: list[Outcome] = []
        """Of requests that have ended, in the order of their ends."""
        self.sent = 0
        self._endpoint, self._steps = endpoint, steps
        self._stopped = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        """Begin to send."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send no more, and wait for what is on its way."""
        self._stopped.set()
        self._thread.join()
        if self._problem is not None and error is None:
            raise self._problem

    @property
    def failures(self) -> list[str]:
        """Why requests failed, so far."""
        return [f"{one.number}: {one.error}" for one in list(self.outcomes) if one.error]

    @property
    def served(self) -> int:
        """Requests with a result, so far."""
        return sum(not one.error for one in list(self.outcomes))

    def assert_nothing_lost(self, models: Iterable[Path]) -> list[Outcome]:
        """Every request has the picture of one of these models, and of that alone."""
        assert self.failures == []
        assert len(self.outcomes) == self.sent > 0
        known = {model.info.digest: model for model in map(read_model, models)}
        wrong = [one.number for one in self.outcomes if not self._is_right(one, known)]
        assert wrong == []
        return sorted(self.outcomes, key=lambda one: one.number)

    def _is_right(self, one: Outcome, models: Mapping[ContentDigest, SyntheticModel]) -> bool:
        assert one.result is not None
        model = models.get(one.digest)
        if model is None:
            return False
        generation = Generation(
            prompt=f"load {one.number}",
            negative_prompt="",
            shape=Shape(height=64, width=64),
            steps=self._steps,
            guidance=5.0,
            seed=one.number,
            count=1,
            output_format=FORMAT,
        )
        return one.result.media == tuple(made.data for made in picture(model, generation))

    def _run(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits for it
            self._problem = error

    async def _send_all(self) -> None:
        began_s = last_s = time.monotonic()
        owed = 0.0
        async with GenerationClient(self._endpoint) as client, asyncio.TaskGroup() as group:
            while not self._stopped.is_set():
                await asyncio.sleep(_LOOK_S)
                now = time.monotonic()
                owed += self.rate * (now - last_s)
                last_s = now
                assert now - began_s < _LONGEST_S, "a load without an end"
                while owed >= 1.0:
                    owed -= 1.0
                    self.sent += 1
                    assert self.sent <= _MOST, "a load without an end"
                    group.create_task(self._send(client, self.sent))

    async def _send(self, client: GenerationClient, number: int) -> None:
        request = Request(
            prompt=f"load {number}",
            height=64,
            width=64,
            steps=self._steps,
            guidance=5.0,
            seed=number,
        )
        sent_s, error, result = time.time(), "", None
        try:
            result = await client.generate(request, timeout_s=_PATIENCE_S)
        except TridentServeError as problem:
            error = f"{type(problem).__name__}: {problem}"
        outcome = Outcome(
            number=number,
            sent_s=sent_s,
            seconds=time.time() - sent_s,
            result=result,
            error=error,
        )
        self.outcomes.append(outcome)
