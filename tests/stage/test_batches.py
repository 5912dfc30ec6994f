"""Runs that share a call, through the whole worker: who joins, who pays for an error, who waits."""

import asyncio
from typing import TYPE_CHECKING

from tridentserve import errors
from tridentserve.domain.stages import Stage
from tridentserve.rpc import convert
from tridentserve.stage.fakes import FakeRunner, echo
from tridentserve.stage.runner import Output, Task

if TYPE_CHECKING:
    from tests.stage.conftest import Answer, Bench, Serve

HOUR_S = 3600.0
"""A window that a test which waited for it would never see the end of."""


def _echoed(bench: "Bench", answer: "Answer") -> bytes:
    tensors = bench.network.get(convert.tensor_ref_from(answer.outputs[0]))
    return bytes(tensors["echo"].data)


async def test_two_runs_of_one_key_share_a_call_and_get_their_own_outputs(
    serve: "Serve",
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), max_batch=2, max_wait_s=HOUR_S)

    answers = await asyncio.gather(
        *(bench.run(bench.request(request=name, prompt=name)) for name in ("a", "b"))
    )

    assert [answer.batch for answer in answers] == [2, 2]
    assert [_echoed(bench, answer) for answer in answers] == [b"a", b"b"]
    assert len(bench.runner.calls) == 1
    assert bench.sample("tridentserve_stage_batch_size_sum", pool="pool") == 2
    assert bench.sample("tridentserve_stage_batch_size_count", pool="pool") == 1
    share = bench.sample("tridentserve_stage_duration_seconds_sum", pool="pool", shape_class="64px")
    # Two shares of one call add up to the call.
    calls = [answer.finished.timing.run_seconds for answer in answers]
    assert calls[0] == calls[1]
    assert abs(share - calls[0]) < 1e-9


async def test_runs_of_different_keys_run_apart_and_a_full_worker_does_not_wait(
    serve: "Serve",
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), max_batch=2, max_wait_s=HOUR_S)
    first = bench.listen(bench.request(request="a", steps=3))
    await bench.until(lambda: bench.worker_runs() == 1)
    second = bench.listen(bench.request(request="b", steps=4))

    # Nobody else could have joined it; the other one has a slot's worth of company to wait for.
    assert (await first.rest()).batch == 1
    third = bench.listen(bench.request(request="c", steps=4))

    assert [(await call.rest()).batch for call in (second, third)] == [2, 2]


async def test_a_lone_run_goes_when_its_window_closes(serve: "Serve") -> None:
    bench = await serve(FakeRunner(Stage.ENCODE), max_batch=2, max_wait_s=0.01)

    answer = await bench.run(bench.request())

    assert answer.batch == 1


async def test_runs_that_come_during_a_call_go_together_afterwards(serve: "Serve") -> None:
    runner = FakeRunner(Stage.ENCODE)
    runner.hold()
    bench = await serve(runner, max_batch=3, max_wait_s=0.0)
    first = await bench.begin(bench.request(request="a"))
    others = [bench.listen(bench.request(request=name)) for name in ("b", "c")]
    await bench.until(lambda: bench.worker_runs() == 3)

    runner.allow(100)

    assert (await first.rest()).outputs
    assert [(await call.read()).started.batch for call in others] == [2, 2]


async def test_an_input_that_fails_in_a_batch_is_paid_for_by_itself_only(
    serve: "Serve",
) -> None:
    def make(task: Task) -> Output:
        if task.generation.prompt == "bad":
            raise errors.StageFailedError("too bad")
        return echo(task)

    bench = await serve(FakeRunner(Stage.ENCODE, make=make), max_batch=3, max_wait_s=HOUR_S)
    prompts = ("good", "bad", "fine")

    outcomes = await asyncio.gather(
        *(bench.fails_or_runs(bench.request(request=name, prompt=name)) for name in prompts)
    )

    good, bad, fine = outcomes
    assert isinstance(bad, errors.StageFailedError)
    assert not isinstance(good, errors.TridentServeError)
    assert not isinstance(fine, errors.TridentServeError)
    assert [_echoed(bench, answer) for answer in (good, fine)] == [b"good", b"fine"]
    assert [len(call) for call in bench.runner.calls] == [3, 1, 1, 1]
    await bench.until(lambda: bench.worker_runs() == 0)


async def test_co_located_stages_share_the_engine_and_not_their_slots(serve: "Serve") -> None:
    encode, diffuse = FakeRunner(Stage.ENCODE), FakeRunner(Stage.DIFFUSE)
    encode.hold()
    bench = await serve(encode, diffuse)
    tensors = echo(Task(generation=convert.generation_from(bench.generation()), inputs={})).tensors
    source = convert.tensor_ref_to(bench.network.put(tensors, ttl_s=1e9, now=0.0))
    first = await bench.begin(bench.request(request="a"))

    second = bench.listen(bench.request(stage=Stage.DIFFUSE, request="b", inputs=(source,)))
    await bench.until(lambda: bench.worker_runs() == 2)
    assert diffuse.calls == []
    encode.allow(4)

    assert (await first.rest()).outputs
    assert (await second.rest()).outputs
    assert len(diffuse.calls) == 1


async def test_a_thousand_fast_steps_are_thinned_and_the_last_one_is_told(
    serve: "Serve",
) -> None:
    bench = await serve(FakeRunner(Stage.ENCODE))

    answer = await bench.run(bench.request(steps=1000))

    assert answer.steps[-1] == 1000
    took_s = answer.finished.timing.run_seconds
    # The first, the last, and one every tenth of a second.
    assert len(answer.steps) <= 2 + took_s / 0.1
