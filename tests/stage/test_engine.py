"""The engine's thread: order, progress as a proof of life, death, and sleep that can be ended."""

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from tridentserve.domain.ids import ContentDigest, SegmentId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.work import Generation, WorkKey
from tridentserve.errors import UnavailableError
from tridentserve.stage.batching import BatchKey
from tridentserve.stage.engine import Engine
from tridentserve.stage.jobs import Job, Progress


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def job() -> Job:
    """A job of no consequence."""
    shape = Shape(height=64, width=64)
    work = WorkKey(digest=ContentDigest("d"), shape=shape, guidance=5.0)
    generation = Generation(
        prompt="",
        negative_prompt="",
        shape=shape,
        steps=4,
        guidance=5.0,
        seed=0,
        count=1,
        output_format="",
    )
    key = BatchKey(stage=Stage.DIFFUSE, work=work, steps=4)
    return Job(segment=SegmentId("s"), key=key, generation=generation)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(clock: Clock) -> AsyncIterator[Engine]:
    engine = Engine(stall_s=10.0, clock=clock)
    engine.start()
    yield engine
    engine.close()
    await asyncio.to_thread(engine.join, 20.0)
    assert not engine.alive


async def test_calls_run_one_after_another_in_one_thread(engine: Engine) -> None:
    threads = await asyncio.gather(*(engine.call(threading.get_ident) for _ in range(5)))

    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_what_a_call_raises_reaches_its_caller_and_the_engine_goes_on(
    engine: Engine,
) -> None:
    with pytest.raises(ZeroDivisionError):
        await engine.call(lambda: 1 // 0)

    assert await engine.call(lambda: 7) == 7
    assert engine.problem() is None


async def test_a_silent_call_becomes_a_problem_and_a_step_ends_it(
    engine: Engine, clock: Clock
) -> None:
    started, go = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert go.wait(20)

    call = asyncio.create_task(engine.call(work))
    await asyncio.to_thread(started.wait, 20)
    clock.now = 10.0
    assert engine.problem() is None
    clock.now = 10.1
    assert "no step" in (engine.problem() or "")
    engine.beat()
    assert engine.problem() is None

    clock.now = 21.0
    assert engine.problem() is not None
    go.set()
    await call
    assert engine.problem() is None


async def test_every_step_that_a_runner_reports_is_a_proof_of_life(
    engine: Engine, clock: Clock
) -> None:
    started, go = threading.Event(), threading.Event()
    progress = Progress((job(),), engine, clock)

    def work() -> None:
        started.set()
        assert go.wait(20)

    call = asyncio.create_task(engine.call(work))
    await asyncio.to_thread(started.wait, 20)
    clock.now = 10.1
    assert engine.problem() is not None
    progress(1, 4)
    assert engine.problem() is None

    go.set()
    await call


async def test_an_idle_engine_is_no_problem_however_long(engine: Engine, clock: Clock) -> None:
    await engine.call(lambda: None)
    clock.now = 1e9

    assert engine.problem() is None


async def test_an_unwatched_call_may_be_silent(engine: Engine, clock: Clock) -> None:
    started, go = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert go.wait(20)

    call = asyncio.create_task(engine.call(work, watched=False))
    await asyncio.to_thread(started.wait, 20)
    clock.now = 1e9
    engine.beat()

    assert engine.problem() is None
    go.set()
    await call


@pytest.mark.parametrize("death", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_a_dead_thread_is_a_problem_and_fails_every_call(death: BaseException) -> None:
    engine = Engine(stall_s=10.0)
    engine.start()
    go = threading.Event()

    def die() -> None:
        assert go.wait(20)
        raise death

    calls = [asyncio.create_task(engine.call(work)) for work in (die, lambda: None, lambda: None)]
    await asyncio.sleep(0)
    go.set()

    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, UnavailableError)
    with pytest.raises(UnavailableError):
        await engine.call(lambda: None)
    await asyncio.to_thread(engine.join, 20.0)
    assert not engine.alive
    assert "died" in (engine.problem() or "")


async def test_interrupt_ends_the_sleep_of_the_running_call_only(engine: Engine) -> None:
    started = threading.Event()

    def work() -> str:
        started.set()
        engine.sleep(3600.0)
        return "woken"

    call = asyncio.create_task(engine.call(work))
    await asyncio.to_thread(started.wait, 20)
    engine.interrupt()

    assert await call == "woken"
    # The next call's sleep is its own: 0 s, or this would wait or be woken by the interrupt before.
    assert await engine.call(lambda: engine._interrupted.is_set()) is False


async def test_a_caller_that_gave_up_before_its_turn_is_skipped(engine: Engine) -> None:
    go, ran = threading.Event(), []
    first = asyncio.create_task(engine.call(lambda: go.wait(20)))
    second = asyncio.create_task(engine.call(lambda: ran.append(2)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    go.set()

    assert await first
    await engine.call(lambda: ran.append(3))
    assert ran == [3]


async def test_a_caller_that_gave_up_in_the_middle_leaves_the_engine_working(
    engine: Engine,
) -> None:
    started, go = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        assert go.wait(20)

    call = asyncio.create_task(engine.call(work))
    await asyncio.to_thread(started.wait, 20)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    go.set()

    assert await engine.call(lambda: 7) == 7


async def test_what_a_failed_call_held_is_freed_without_the_garbage_collector(
    engine: Engine,
) -> None:
    class Activations:
        """As large as a device's memory."""

    held: list[weakref.ref[Activations]] = []

    def fail() -> None:
        activations = Activations()
        held.append(weakref.ref(activations))
        raise MemoryError

    gc.disable()
    try:
        with contextlib.suppress(MemoryError):
            await engine.call(fail)
        await engine.call(lambda: None)
        assert held[0]() is None
    finally:
        gc.enable()
