"""The loop: what is dirty or due is looked at, and nothing that happens to one stops another."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from prometheus_client import CollectorRegistry

from tridentserve.domain.ids import PipelineName
from tridentserve.errors import UnavailableError
from tridentserve.telemetry.metrics import OperatorMetrics
from tridentserve_operator.health import MAX_AGE_S, Health
from tridentserve_operator.loop import Loop
from tridentserve_operator.observe import Observation
from tridentserve_operator.reconcile import Kept
from tridentserve_operator.testing import pipeline_body

A, B = PipelineName("default/a"), PipelineName("other/b")


class Looks:
    """In place of a reconciler: notes who was looked at, and does as it is told."""

    def __init__(self) -> None:
        """Succeed, and want no further look."""
        self.seen: list[str] = []
        self.error: dict[str, Exception] = {}
        self.gate: dict[str, asyncio.Event] = {}
        self.next_s = float("inf")
        self.kept: list[Kept] = []

    async def look(self, body: Any, observed: Observation, kept: Kept, now: float) -> float:
        """Note it, wait at the gate, fail if told to."""
        name = body["metadata"]["name"]
        self.seen.append(name)
        self.kept.append(kept)
        if name in self.gate:
            await self.gate[name].wait()
        if name in self.error:
            raise self.error[name]
        return self.next_s


class Sources:
    """Pipelines that are there."""

    def __init__(self, *names: PipelineName) -> None:
        """Make a resource for each name."""
        self.bodies = {}
        for name in names:
            namespace, _, short = name.partition("/")
            self.bodies[name] = pipeline_body(short, namespace, uid=name)

    def pipelines(self) -> Iterable[PipelineName]:
        """All of them."""
        return list(self.bodies)

    def body(self, name: PipelineName) -> dict[str, Any] | None:
        """One of them."""
        return self.bodies.get(name)

    def observe(self, name: PipelineName, uid: str, now: float) -> Observation:
        """Nothing."""
        return Observation()


class Bench:
    """A loop with a clock that is turned by hand."""

    def __init__(self, *names: PipelineName) -> None:
        """Attach pipelines of these names, none of them marked."""
        self.now = 1000.0
        self.looks, self.sources = Looks(), Sources(*names)
        self.health = Health(lambda: self.now)
        self.registry = CollectorRegistry()
        self.metrics = OperatorMetrics(self.registry)
        self.loop = Loop(
            self.looks,  # type: ignore[arg-type]
            self.metrics,
            self.health,
            lambda: self.now,
            tick_s=1.0,
        )
        self.loop.attach(self.sources)

    async def tick(self, seconds: float = 1.0) -> None:
        """Let time pass, tick, and let the looks run as far as they can."""
        self.now += seconds
        self.loop.tick()
        for _ in range(10):
            await asyncio.sleep(0)


async def test_only_what_was_marked_is_looked_at() -> None:
    bench = Bench(A, B)
    await bench.tick()
    assert bench.looks.seen == []  # the indexes may still be filling

    bench.loop.mark(A)
    await bench.tick()
    await bench.tick()

    assert bench.looks.seen == ["a"]


async def test_a_look_comes_again_when_it_said_it_would() -> None:
    bench = Bench(A)
    bench.loop.mark(A)
    bench.looks.next_s = bench.now + 10
    await bench.tick()
    await bench.tick(5)
    assert len(bench.looks.seen) == 1

    await bench.tick(6)

    assert len(bench.looks.seen) == 2


async def test_marks_during_a_look_lead_to_one_more() -> None:
    bench = Bench(A)
    bench.looks.gate["a"] = asyncio.Event()
    bench.loop.mark(A)
    await bench.tick()
    bench.loop.mark(A)
    bench.loop.mark(A)
    await bench.tick()
    assert len(bench.looks.seen) == 1

    bench.looks.gate["a"].set()
    await bench.tick()
    await bench.tick()
    await bench.tick()

    assert len(bench.looks.seen) == 2


async def test_a_pipeline_that_hangs_stops_no_other() -> None:
    bench = Bench(A, B)
    bench.looks.gate["a"] = asyncio.Event()
    bench.loop.mark(A)
    await bench.tick()

    for _ in range(3):
        bench.loop.mark(B)
        await bench.tick()

    assert bench.looks.seen == ["a", "b", "b", "b"]
    bench.looks.gate["a"].set()
    await bench.tick()


async def test_a_defect_in_one_pipeline_stops_no_other_and_is_retried_later_each_time() -> None:
    bench = Bench(A, B)
    bench.looks.error["a"] = ZeroDivisionError("a defect")
    bench.loop.mark(A)
    times = []
    for _ in range(200):
        before = len(bench.looks.seen)
        bench.loop.mark(A)  # a retry that fails half way marks its own pipeline
        await bench.tick()
        if len(bench.looks.seen) > before:
            times.append(bench.now)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:6] == [1, 2, 4, 8, 16, 32]
    assert set(gaps[6:]) == {60}

    bench.loop.mark(B)
    await bench.tick()
    assert bench.looks.seen[-1] == "b"


async def test_an_observation_that_breaks_is_retried_later_and_not_every_tick() -> None:
    bench = Bench(A)
    tried = []

    def observe(name: PipelineName, uid: str, now: float) -> Observation:
        tried.append(bench.now)
        raise KeyError("a label")

    bench.sources.observe = observe  # type: ignore[method-assign]
    bench.loop.mark(A)
    for _ in range(8):
        await bench.tick()

    assert [later - earlier for earlier, later in pairwise(tried)] == [1, 2, 4]


async def test_failures_are_counted_for_each_pipeline() -> None:
    bench = Bench(A, B)
    bench.looks.error["a"] = UnavailableError("HTTP 500")
    for name in (A, B):
        bench.loop.mark(name)
    await bench.tick()
    await bench.tick()

    def counted(name: PipelineName) -> float | None:
        return bench.registry.get_sample_value(
            "tridentserve_reconcile_failures_total", {"pipeline": name}
        )

    assert (counted(A), counted(B)) == (2, None)


async def test_a_pipeline_that_is_gone_alerts_nobody_any_more() -> None:
    bench = Bench(A)
    shown = {"pipeline": A, "type": "Degraded", "status": "True"}
    bench.loop.mark(A)
    await bench.tick()
    bench.metrics.conditions(A, {"Degraded": "True"})
    assert bench.registry.get_sample_value("tridentserve_pipeline_condition", shown) == 1

    del bench.sources.bodies[A]
    await bench.tick()

    assert bench.registry.get_sample_value("tridentserve_pipeline_condition", shown) is None


async def test_success_forgets_the_failures() -> None:
    bench = Bench(A)
    bench.looks.error["a"] = UnavailableError("HTTP 500")
    bench.loop.mark(A)
    await bench.tick()
    await bench.tick()
    bench.looks.error.clear()
    await bench.tick(60)
    count = len(bench.looks.seen)

    bench.loop.mark(A)
    await bench.tick()

    assert len(bench.looks.seen) == count + 1


async def test_a_clock_set_back_does_not_stop_retries() -> None:
    bench = Bench(A)
    bench.looks.error["a"] = UnavailableError("HTTP 500")
    bench.loop.mark(A)
    await bench.tick()
    bench.loop.mark(A)

    await bench.tick(-3600)

    assert len(bench.looks.seen) == 2


async def test_a_pipeline_that_is_gone_is_forgotten() -> None:
    bench = Bench(A)
    bench.loop.mark(A)
    await bench.tick()
    body = bench.sources.bodies.pop(A)
    bench.loop.mark(A)
    await bench.tick()

    bench.sources.bodies[A] = body
    bench.loop.mark(A)
    await bench.tick()

    first, second = bench.looks.kept
    assert first is not second


async def test_a_pipeline_that_is_being_deleted_is_left_alone() -> None:
    bench = Bench(A)
    bench.sources.bodies[A]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    bench.loop.mark(A)

    await bench.tick()

    assert bench.looks.seen == []


async def test_stopping_the_loop_ends_the_looks_that_run() -> None:
    bench = Bench(A)
    bench.looks.gate["a"] = asyncio.Event()
    bench.loop.mark(A)
    running = asyncio.create_task(bench.loop.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.looks.seen == ["a"]

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert others == []


def test_health_tells_how_old_the_last_good_tick_is() -> None:
    now = 0.0
    health = Health(lambda: now)
    assert health.problem() is None
    now = MAX_AGE_S + 1
    problem = health.problem()
    assert problem is not None
    assert "61 s ago" in problem
    health.ticked()
    assert health.problem() is None
