"""What the router's cost model learns of a run: by strategy, and by who ran it."""

import time
from dataclasses import replace

import pytest
from tests.router.bad_requests import MODEL
from tests.router.conftest import Town, until
from tests.router.scripted import Events, Run, Scripted

from tridentserve.domain.ids import WorkerId
from tridentserve.domain.model import ModelInfo
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.rpc import convert
from tridentserve.rpc.v1 import common_pb2, stage_pb2, tensor_pb2
from tridentserve_router.guidance import usual_s

E, D, C = STAGES
SHAPE, STEPS = Shape(height=64, width=64), 4
PAIR = Strategy(ulysses=2)


def taking(seconds: float) -> Run:
    """A run of diffuse that says that it took so long."""

    async def run(request: stage_pb2.RunRequest) -> Events:
        yield stage_pb2.RunEvent(
            finished=stage_pb2.RunFinished(
                results=[
                    stage_pb2.ItemResult(
                        outputs=[tensor_pb2.TensorRef(store="redis", key=request.segment_id)]
                    )
                ],
                timing=common_pb2.StageTiming(run_seconds=seconds, batch=1),
                digest="old",
            )
        )

    return run


def told(town: Town, strategy: Strategy = SINGLE, worker: WorkerId | None = None) -> float:
    """Seconds of diffuse as the router expects them."""
    found = town.router.core.cost.estimate(D, SHAPE, STEPS, 100, strategy=strategy, worker=worker)
    assert found is not None
    return found.mean_s


def teach(town: Town, seconds: float, strategy: Strategy = SINGLE) -> None:
    """Have the router expect diffuse to take so long."""
    town.router.core.cost.observe(D, SHAPE, STEPS, 100, seconds, strategy=strategy)


FLUX = replace(MODEL, default_guidance=3.5, negative_prompt=False)
TURBO = replace(MODEL, default_guidance=0.0)


@pytest.mark.parametrize(
    ("model", "stage", "guidance", "seconds"),
    [
        (MODEL, D, 7.0, 4.0),
        (MODEL, D, 1.0, 8.0),
        (MODEL, E, 0.0, 8.0),
        (MODEL, C, 0.0, 4.0),
        (TURBO, D, 0.0, 4.0),
        (TURBO, D, 5.0, 2.0),
        (FLUX, D, 0.0, 4.0),
        (None, D, 0.0, 4.0),
    ],
)
def test_a_run_counts_as_one_with_the_guidance_that_the_model_has_of_itself(
    model: ModelInfo | None, stage: Stage, guidance: float, seconds: float
) -> None:
    assert usual_s(4.0, stage, guidance, model) == seconds


async def test_requests_without_guidance_do_not_drag_down_what_the_others_are_expected_to_take(
    town: Town,
) -> None:
    diffuse = Scripted("diffuse-one", D)
    diffuse.runs = [taking(4.0), taking(8.0)]
    async with (
        Scripted("encode-one", E).serving(town),
        diffuse.serving(town),
        Scripted("decode-one", C).serving(town),
    ):
        assert (await town.generate(guidance=0.0)).error is None
        without = told(town)
        assert (await town.generate()).error is None

    assert without == told(town) == 8.0


async def test_a_run_on_two_devices_teaches_the_strategy_of_two_devices_alone(town: Town) -> None:
    town.edit(dispatch="DeadlineAware")
    await until(lambda: town.router.core.pipeline.spec.dispatch == "DeadlineAware")
    teach(town, 8.0)
    teach(town, 2.0, PAIR)
    pair = Scripted("diffuse-pair", D)
    pair.description.device_ids[:] = ["scripted/gpu0", "scripted/gpu1"]
    pair.description.strategies.extend([convert.strategy_to(SINGLE), convert.strategy_to(PAIR)])
    pair.runs = [taking(4.0)]
    async with (
        Scripted("encode-one", E).serving(town),
        pair.serving(town),
        Scripted("decode-one", C).serving(town),
    ):
        result = await town.generate(height=64, width=64, steps=STEPS)

    assert result.error is None
    assert convert.strategy_from(pair.requests[0].strategy) == PAIR
    assert told(town, PAIR) > 2.5
    assert told(town) == 8.0


async def test_a_run_of_four_pictures_teaches_what_four_take_and_not_what_one_takes(
    town: Town,
) -> None:
    teach(town, 4.0)
    diffuse = Scripted("diffuse-one", D)
    diffuse.runs = [taking(6.0)]
    async with (
        Scripted("encode-one", E).serving(town),
        diffuse.serving(town),
        Scripted("decode-one", C).serving(town),
    ):
        assert (await town.generate(height=64, width=64, steps=STEPS, count=4)).error is None

    four = town.router.core.cost.estimate(D, SHAPE, STEPS, 100, 4)
    assert four is not None
    assert (four.mean_s, told(town)) == (6.0, 4.0)


async def test_the_deadline_of_four_pictures_goes_by_what_four_pictures_take(town: Town) -> None:
    for stage in STAGES:
        batch = 1 if stage is E else 4
        town.router.core.cost.observe(stage, SHAPE, STEPS, 100, 10.0 * batch, batch)
    async with (
        Scripted("encode-one", E).serving(town),
        Scripted("diffuse-one", D).serving(town),
        Scripted("decode-one", C).serving(town),
    ):
        now_s = time.time()
        result = await town.generate(height=64, width=64, steps=STEPS, count=4)

    accepted = result.events[0].accepted
    assert accepted.predicted_seconds == pytest.approx(90.0)
    assert accepted.deadline_unix_seconds - now_s == pytest.approx(2.5 * 90.0, abs=30.0)


async def test_a_worker_that_is_slower_than_the_others_is_known_to_be(town: Town) -> None:
    slow = Scripted("diffuse-slow", D)
    slow.runs = [taking(2.0)] * 4
    teach(town, 1.0)
    async with (
        Scripted("encode-one", E).serving(town),
        slow.serving(town),
        Scripted("decode-one", C).serving(town),
    ):
        for _ in range(4):
            assert (await town.generate(height=64, width=64, steps=STEPS)).error is None

    assert told(town, worker=slow.name) > 1.05 * told(town)
    assert told(town, worker=WorkerId("diffuse-other")) == told(town)
