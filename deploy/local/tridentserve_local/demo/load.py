"""Requests at a steady rate, whatever becomes of the earlier ones, and the plan that follows them.

The arrivals are open-loop: a slow answer does not slow down who asks. Nothing but the rate differs
between the phases.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tridentserve.client import GenerationClient, Request
from tridentserve.domain.stages import Stage
from tridentserve.domain.work import Generation
from tridentserve.errors import TridentServeError
from tridentserve.stage.synthetic import SyntheticModel, picture
from tridentserve_local.cluster import LocalCluster

from . import watching
from .errors import DemoError
from .narrator import Narrator
from .plans import PlanSeen, plan_of
from .resources import LOAD

Until = Callable[[PlanSeen], bool]
"""Whether a plan is the one that is waited for."""

_TIMEOUT_S = 120.0
_LOOK_S = 0.5
_HEARTBEAT_LOOKS = 8
"""A line so often, even where nothing changes."""


@dataclass(slots=True)
class Tally:
    """What became of the requests."""

    sent: int = 0
    right: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Asked, and neither answered nor failed."""
        return self.sent - self.right - len(self.problems)


class Source:
    """Asks for one picture after the other, at a rate that may change."""

    def __init__(self, endpoint: str, model: SyntheticModel) -> None:
        """Nothing is sent before `running`."""
        self._endpoint, self._model = endpoint, model
        self.tally = Tally()
        self.rate_per_s = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Send while the block runs; every request is waited for at its end."""
        asked: list[asyncio.Task[None]] = []
        async with GenerationClient(self._endpoint) as client:
            sender = asyncio.create_task(self._send(client, asked))
            try:
                yield
                sender.cancel()
                await asyncio.gather(*asked)
            finally:
                # No task group, which would wrap the error of whoever follows the plan.
                for task in (sender, *asked):
                    task.cancel()
                await asyncio.gather(sender, *asked, return_exceptions=True)

    async def _send(self, client: GenerationClient, asked: list[asyncio.Task[None]]) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            # At due times, not so long after the last: what sending takes must not lower the rate.
            due = max(due, clock() - 1) + 1 / self.rate_per_s
            await asyncio.sleep(max(0.0, due - clock()))
            self.tally.sent += 1
            asked.append(asyncio.create_task(self._ask(client, self.tally.sent)))

    async def _ask(self, client: GenerationClient, number: int) -> None:
        request = Request(prompt=f"number {number}", seed=number)
        try:
            result = await client.generate(request, timeout_s=_TIMEOUT_S)
        except TridentServeError as error:
            self.tally.problems.append(f"{type(error).__name__}: {error}")
            return
        if result.media == self._expected(number):
            self.tally.right += 1
        else:
            self.tally.problems.append("a wrong picture")

    def _expected(self, number: int) -> tuple[bytes, ...]:
        info = self._model.info
        generation = Generation(
            prompt=f"number {number}",
            negative_prompt="",
            shape=info.default_shape,
            steps=info.default_steps,
            guidance=info.default_guidance,
            seed=number,
            count=1,
            output_format="image/png",
        )
        return tuple(media.data for media in picture(self._model, generation))


class Follower:
    """Shows every change of the plan, and what has become of the requests by then."""

    def __init__(self, cluster: LocalCluster, source: Source, narrator: Narrator) -> None:
        """Nothing has been shown yet."""
        self._cluster, self._source, self._narrator = cluster, source, narrator
        self._shown: PlanSeen | None = None
        self._quiet_looks = 0

    async def follow(self, *, until: Until, within_s: float) -> PlanSeen:
        """Return once the plan is what is waited for, and settled.

        Raises:
            DemoError: it never was.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + within_s
        while True:
            pipeline = await asyncio.to_thread(watching.look, self._cluster, LOAD)
            plan = plan_of(pipeline.status, Stage.DIFFUSE)
            if plan is not None:
                self._show(plan)
                if plan.settled and until(plan):
                    return plan
            if clock() > deadline:
                raise DemoError(
                    f"the plan did not follow the load within {within_s:.0f} s; at last it was"
                    f" {plan.words if plan else 'not there'}: {plan.reason if plan else ''}"
                )
            await asyncio.sleep(_LOOK_S)

    def _show(self, plan: PlanSeen) -> None:
        before, self._shown = self._shown, plan
        self._quiet_looks += 1
        if plan == before and self._quiet_looks < _HEARTBEAT_LOOKS:
            return
        self._quiet_looks = 0
        if before is None or plan.id != before.id:
            self._narrator.say(f"plan {plan.id[:6]}: diffuse {plan.words}, because {plan.reason}")
        tally = self._source.tally
        self._narrator.say(
            f"  sent {tally.sent}, answered {tally.right}, under way {tally.open},"
            f" failed {len(tally.problems)}; diffuse workers ready {plan.ready}/{plan.workers}"
            + " (changing)"
            * (not plan.settled)
        )
