"""Made-up costs and kinds of workers, for tests of degree policies."""

from dataclasses import replace

from tests.planner.floor import state_of, worker

from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel
from tridentserve.planner.roster import Kind

E, D, C = STAGES
SMALL, LARGE = Shape(height=64, width=64), Shape(height=128, width=128)
UP_TO_8 = tuple(Strategy(ulysses=degree) for degree in (1, 2, 4, 8))


def step(
    seconds: float, strategy: Strategy = SINGLE, *, shape: Shape = LARGE, peak_bytes: int = 0
) -> Sample:
    """A diffuse step of so many seconds."""
    return Sample(
        stage=D, shape=shape, fixed_s=0.0, step_s=seconds, strategy=strategy, peak_bytes=peak_bytes
    )


def call(stage: Stage, seconds: float, *, shape: Shape = LARGE) -> Sample:
    """A call of encode or decode on one device."""
    return Sample(stage=stage, shape=shape, fixed_s=seconds)


def samples(*diffuse_s: float, shape: Shape = LARGE) -> tuple[Sample, ...]:
    """Seconds of a diffuse step on 1, 2, 4 and 8 devices; encode takes 1 s and decode 2 s."""
    steps = (
        step(seconds, strategy, shape=shape)
        for strategy, seconds in zip(UP_TO_8, diffuse_s, strict=False)
    )
    return (*steps, call(E, 1.0, shape=shape), call(C, 2.0, shape=shape))


def model(*known: Sample) -> CostModel:
    """A cost model that believes these samples."""
    return CostModel(Profile(name="made up", source="test", samples=known))


def costs(*diffuse_s: float) -> CostModel:
    """A cost model of one shape, `samples` of it."""
    return model(*samples(*diffuse_s))


def kind(devices: int = 8, strategies: tuple[Strategy, ...] = UP_TO_8, fraction: int = 100) -> Kind:
    """A kind of workers that run all stages."""
    held = tuple(f"n1/gpu{index}" for index in range(devices))
    one = replace(
        worker("w", *STAGES, devices=held, fraction=fraction),
        strategies=strategies,
        concurrent=True,
    )
    found = state_of(one).roster.kind(one.id)
    assert found is not None
    return found
