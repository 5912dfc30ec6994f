"""When a request should be done: frozen rules over the uncorrected profile.

A deadline must not depend on what a policy has learnt meanwhile, or policies would be judged by
different ones. So each rule is a function of a `Curve`, which is made once from the profile as it
was before the run. Public readings of the paper's rule disagree; these are the three that
evaluations report, each by its name in scenario files, and a fourth without the quirk that the
efficiency rule has (a class whose k* is large gets a *shorter* deadline than a smaller class).

| name | seconds after arrival | |
| --- | --- | --- |
| `2.5x` | 2.5 x best end-to-end time, diffusion at k* | the paper's, as a reader reports it |
| `1.5x` | 1.5 x the same | the tight setting |
| `4.4x+2s` | int(round(4 x diffusion at k*) x 1.1) + 2 | the authors' published code |
| `2.5x-fastest` | 2.5 x best end-to-end time over all degrees | no efficiency rule |

k* is the largest degree k with t(1) / t(k) / k >= 0.8, as the published code has it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tridentserve.domain.profiles import Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE
from tridentserve.planner.cost import CostModel

_EFFICIENT = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What a class of requests takes, alone, by the uncorrected profile."""

    encode_s: float
    """At its fastest strategy."""
    diffuse_s: tuple[tuple[int, float], ...]
    """Seconds by degree, ascending; degree 1 is always there."""
    decode_s: float
    """At its fastest strategy."""
    device_s: float
    """Device-seconds of all stages, each at the degree that takes the fewest."""

    @property
    def efficient_s(self) -> float:
        """Diffusion at k*."""
        single = self.diffuse_s[0][1]
        return [s for degree, s in self.diffuse_s if single / s / degree >= _EFFICIENT][-1]

    @property
    def fastest_s(self) -> float:
        """Diffusion at the degree that takes the least time."""
        return min(seconds for _, seconds in self.diffuse_s)

    @property
    def least_s(self) -> float:
        """The best end-to-end time over all degrees."""
        return self.encode_s + self.fastest_s + self.decode_s

    @property
    def best_s(self) -> float:
        """The best end-to-end time with diffusion at k*."""
        return self.encode_s + self.efficient_s + self.decode_s


def relaxed(curve: Curve) -> float:
    """2.5 x the best end-to-end time at k*."""
    return 2.5 * curve.best_s


def tight(curve: Curve) -> float:
    """1.5 x the best end-to-end time at k*."""
    return 1.5 * curve.best_s


def published(curve: Curve) -> float:
    """4.4 x diffusion at k* and 2 s, in whole seconds: what the authors' code computes."""
    return float(int(round(4 * curve.efficient_s) * 1.1) + 2)


def fastest(curve: Curve) -> float:
    """2.5 x the best end-to-end time over all degrees."""
    return 2.5 * curve.least_s


RULES: Mapping[str, Callable[[Curve], float]] = MappingProxyType(
    {"2.5x": relaxed, "1.5x": tight, "4.4x+2s": published, "2.5x-fastest": fastest}
)
"""Rules by the names that scenarios use."""


class Book:
    """The curves of every class that was asked about; made from a profile and never corrected."""

    def __init__(self, profile: Profile) -> None:
        """Read the profile through a cost model of its own, which observes nothing."""
        self._cost = CostModel(profile)
        self._curves: dict[tuple[Shape, int], Curve] = {}

    def curve(self, shape: Shape, steps: int) -> Curve:
        """What a class takes.

        Raises:
            ValueError: the profile lacks a stage.
        """
        known = self._curves.get((shape, steps))
        if known is None:
            times = {stage: self._times(stage, shape, steps) for stage in STAGES}
            known = self._curves[shape, steps] = Curve(
                encode_s=min(seconds for _, seconds in times[Stage.ENCODE]),
                diffuse_s=times[Stage.DIFFUSE],
                decode_s=min(seconds for _, seconds in times[Stage.DECODE]),
                device_s=sum(min(k * seconds for k, seconds in one) for one in times.values()),
            )
        return known

    def _times(self, stage: Stage, shape: Shape, steps: int) -> tuple[tuple[int, float], ...]:
        """Seconds by degree, the best strategy of each."""
        times: dict[int, float] = {}
        for strategy in (SINGLE, *self._cost.strategies(stage, shape)):
            found = self._cost.estimate(stage, shape, steps, 100, strategy=strategy)
            if found is not None:
                best = times.get(strategy.degree, found.mean_s)
                times[strategy.degree] = min(best, found.mean_s)
        if 1 not in times:
            raise ValueError(f"the profile says nothing of {stage}")
        return tuple(sorted(times.items()))
