"""Made-up costs and kinds of workers, for tests of degree policies."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.planner.floor import state_of, worker

from tridentserve.domain.profiles import Estimate
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.roster import Kind

E, D, C = STAGES
SMALL, LARGE = Shape(height=64, width=64), Shape(height=128, width=128)
UP_TO_8 = tuple(Strategy(ulysses=degree) for degree in (1, 2, 4, 8))


@dataclass
class Costs:
    """A cost model of made-up seconds: one step of diffuse, or a whole call."""

    seconds: dict[tuple[Stage, Shape, Strategy], float]
    version: int = 0
    asked: list[Strategy] = field(default_factory=list)

    def estimate(
        self,
        stage: Stage,
        shape: Shape,
        steps: int,
        fraction_percent: int,
        batch: int = 1,
        *,
        strategy: Strategy = SINGLE,
    ) -> Estimate | None:
        """Seconds of one call."""
        self.asked.append(strategy)
        one_s = self.seconds.get((stage, shape, strategy))
        if one_s is None:
            return None
        mean_s = one_s * (steps if stage is D else 1) * 100 / fraction_percent
        return Estimate(mean_s=mean_s, q90_s=1.1 * mean_s, peak_bytes=0, confidence=1.0)

    def strategies(self, stage: Stage, shape: Shape) -> Iterable[Strategy]:
        """Strategies that seconds are made up for."""
        return [key[2] for key in self.seconds if key[:2] == (stage, shape)]


def costs(*diffuse_s: float, shape: Shape = LARGE) -> Costs:
    """Seconds of a diffuse step on 1, 2, 4 and 8 devices; encode takes 1 s and decode 2 s."""
    found = {(D, shape, one): seconds for one, seconds in zip(UP_TO_8, diffuse_s, strict=False)}
    return Costs(seconds=found | {(E, shape, SINGLE): 1.0, (C, shape, SINGLE): 2.0})


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
