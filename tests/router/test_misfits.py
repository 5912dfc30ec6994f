"""Requests that no pool has the memory for are refused with a status; others wait for workers."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from tests.router.bad_requests import MODEL
from tests.router.conftest import PIPELINE, make_spec
from tests.router.test_parts import worker

from tridentserve import errors
from tridentserve.domain.dispatch import Demand
from tridentserve.domain.ids import DeviceId, RequestId, WorkerId
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.misfits import pools_of
from tridentserve.telemetry.metrics import RouterMetrics
from tridentserve_router.dispatcher import Dispatcher
from tridentserve_router.moves import Ended

C, GB = Stage.DECODE, 10**9
TILES = Strategy(vae_tiles=2)
SHAPE = MODEL.default_shape
WAITS = RequestId("waits")


def costs(usable_gb: int) -> CostModel:
    """Decode of the one shape needs 30 GB of one device, or 25 GB of each of two."""
    samples = [Sample(stage=one, shape=SHAPE, fixed_s=1.0) for one in STAGES]
    samples[2] = replace(samples[2], peak_bytes=10 * GB)
    return CostModel(
        Profile(
            name="made up",
            source="test",
            samples=(*samples, replace(samples[2], strategy=TILES, peak_bytes=5 * GB)),
            weights_bytes=((C, 20 * GB),),
            usable_bytes=usable_gb * GB,
        )
    )


def with_devices(count: int) -> PipelineSpec:
    spec = make_spec()
    return replace(
        spec, stages=tuple(replace(one, devices_per_worker=count) for one in spec.stages)
    )


def dispatcher_of(cost: CostModel, spec: PipelineSpec) -> Dispatcher:
    metrics = RouterMetrics(CollectorRegistry(), PIPELINE)
    return Dispatcher(planner="Fifo", cost=cost, metrics=metrics, pools=pools_of(spec))


def demand() -> Demand:
    return Demand(
        id=WAITS,
        shape=SHAPE,
        steps=4,
        guidance=5.0,
        count=1,
        arrived_s=0.0,
        deadline_s=9.0,
        pipeline=PIPELINE,
    )


@pytest.mark.parametrize(("usable_gb", "devices"), [(30, 1), (25, 2)])
def test_what_a_pool_could_hold_that_is_not_up_yet_is_let_in(usable_gb: int, devices: int) -> None:
    dispatcher_of(costs(usable_gb), with_devices(devices)).check_fits(SHAPE)


@pytest.mark.parametrize(("usable_gb", "devices"), [(29, 1), (24, 2)])
def test_what_no_pool_could_hold_is_refused_before_any_worker_is_up(
    usable_gb: int, devices: int
) -> None:
    with pytest.raises(errors.TooLargeError, match=f"decode of 64 x 64.* {usable_gb}.00 GB"):
        dispatcher_of(costs(usable_gb), with_devices(devices)).check_fits(SHAPE)


def test_pictures_that_no_pool_could_decode_together_are_refused() -> None:
    dispatcher = dispatcher_of(costs(35), with_devices(1))

    dispatcher.check_fits(SHAPE)
    with pytest.raises(errors.TooLargeError, match="decode of 2 times 64 x 64"):
        dispatcher.check_fits(SHAPE, 2)


async def test_what_waits_is_refused_when_the_last_worker_that_could_hold_it_goes() -> None:
    dispatcher = dispatcher_of(costs(25), with_devices(1))
    devices = (DeviceId("n/0"), DeviceId("n/1"))
    wide = worker("w", C, devices=devices, strategies=(SINGLE, TILES))
    dispatcher.worker_up(wide, MODEL)
    dispatcher.check_fits(SHAPE)
    dispatcher.arrive(demand())
    waits = asyncio.create_task(dispatcher.placed(WAITS))
    await asyncio.sleep(0)
    assert not waits.done()

    dispatcher.worker_down(WorkerId("w"), lost=False)
    answer = await waits

    assert isinstance(answer, Ended)
    assert isinstance(answer.error, errors.TooLargeError)


async def test_what_waits_is_refused_when_an_edit_takes_its_pool_away() -> None:
    cost = costs(25)
    dispatcher = dispatcher_of(cost, with_devices(2))
    dispatcher.arrive(demand())
    dispatcher.use("Fifo", pools_of(with_devices(1)), cost)
    answer = await dispatcher.placed(WAITS)

    assert isinstance(answer, Ended)
    assert isinstance(answer.error, errors.TooLargeError)


async def test_what_waits_is_refused_when_a_profile_comes_that_says_so() -> None:
    dispatcher = dispatcher_of(CostModel(), with_devices(1))
    dispatcher.arrive(demand())
    dispatcher.use("Fifo", pools_of(with_devices(1)), costs(29))
    answer = await dispatcher.placed(WAITS)

    assert isinstance(answer, Ended)
    assert isinstance(answer.error, errors.TooLargeError)
