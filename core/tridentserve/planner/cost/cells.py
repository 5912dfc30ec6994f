"""One measured kind of call, and what a profile said of it beforehand.

A cell is one (stage, shape, fraction, batch, strategy). It holds an exponentially weighted mean and
variance of the seconds of one call: of one step for diffuse, where calls of any number of steps
then teach the same cell, of the whole call elsewhere. It keeps no clock: a change of hardware is
followed call by call, not noticed.
"""

from dataclasses import dataclass, replace
from math import exp, log, sqrt

from tridentserve.domain.profiles import Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.cost.correction import shrunk_cell

PRIOR_SPREAD = 0.25
"""Relative standard deviation that is assumed before there are measurements to tell."""
_WEIGHT = 0.1
"""Least share of a new measurement in the mean: a drift is followed in some tens of calls."""
_PROFILE_CONFIDENCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CellKey:
    """What kind of call, within a stage."""

    shape: Shape
    fraction_percent: int
    batch: int
    strategy: Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Mean and variance of one kind of call, per step for diffuse."""

    mean_s: float
    variance: float
    count: int
    """Measurements; 0 where a profile said it."""
    fixed_s: float = 0.0
    """Seconds of a call beside its steps, where a profile tells them apart."""
    peak_bytes: int = 0
    prior_s: float = 0.0
    """What the profile says of the mean; 0 where it says nothing."""
    bound_s: float = 0.0
    """What a batch takes at most if the profile is right of one picture; 0 where that is unknown or
    was measured."""

    @property
    def confidence(self) -> float:
        """Between 0 and 1, by the number of measurements."""
        return self.count / (self.count + 2) if self.count else _PROFILE_CONFIDENCE

    @property
    def deviation_s(self) -> float:
        """Standard deviation of one call, or of one step."""
        return sqrt(self.variance)

    @property
    def log_ratio(self) -> float | None:
        """Logarithm of measured over predicted; None where one of them is missing."""
        return log(self.mean_s / self.prior_s) if self.count and self.prior_s > 0 else None

    @property
    def vote(self) -> float | None:
        """What the cell says of how far its stage's profile is off; None where nothing.

        A batch tells by how much it is above its bound. Below says nothing: batching gains.
        """
        if self.bound_s > 0 and self.count:
            return log(self.mean_s / self.bound_s) if self.mean_s > self.bound_s else None
        return self.log_ratio

    def observed(self, seconds: float) -> "Cell":
        """The cell after one more measurement."""
        count = self.count + 1
        weight = max(1 / count, _WEIGHT)
        if count == 1:
            return replace(self, mean_s=seconds, variance=(PRIOR_SPREAD * seconds) ** 2, count=1)
        difference = seconds - self.mean_s
        return replace(
            self,
            mean_s=self.mean_s + weight * difference,
            variance=(1 - weight) * (self.variance + weight * difference**2),
            count=count,
        )

    def corrected(self, stage_log: float) -> "Cell":
        """The cell as it is told, given the logarithm of its stage's correction.

        A cell without a profile is told as it was measured.
        """
        if self.prior_s <= 0:
            return self
        mean_s = self.prior_s * exp(shrunk_cell(self.log_ratio or 0.0, self.count, stage_log))
        factor = mean_s / self.mean_s
        return replace(self, mean_s=mean_s, variance=self.variance * factor**2)

    def scaled(self, factor: float, peak_factor: float) -> "Cell":
        """A cell that nobody measured, that many times as long and as large."""
        return replace(
            self,
            mean_s=self.mean_s * factor,
            variance=self.variance * factor**2,
            fixed_s=self.fixed_s * factor,
            peak_bytes=round(self.peak_bytes * peak_factor),
        )

    def differs(self, other: "Cell") -> bool:
        """Whether it is worth telling anew: by 1 % in the mean, 2 % of it in the deviation.

        Less is below the noise of measurements, and every telling costs its readers their caches.
        """
        return (
            abs(self.mean_s - other.mean_s) > 0.01 * other.mean_s
            or abs(self.deviation_s - other.deviation_s) > 0.02 * other.mean_s
            or abs(self.confidence - other.confidence) > 0.05
            or self.fixed_s != other.fixed_s
        )


def key_of(sample: Sample) -> CellKey:
    """The cell that a profile's sample fills."""
    return CellKey(
        shape=sample.shape,
        fraction_percent=sample.fraction_percent,
        batch=sample.batch,
        strategy=sample.strategy,
    )


def prior_cell(sample: Sample) -> Cell:
    """The cell before anything was measured."""
    steps = sample.stage is Stage.DIFFUSE
    mean_s = sample.step_s if steps else sample.fixed_s
    return Cell(
        mean_s=mean_s,
        variance=(PRIOR_SPREAD * mean_s) ** 2,
        count=0,
        fixed_s=sample.fixed_s if steps else 0.0,
        peak_bytes=sample.peak_bytes,
        prior_s=mean_s,
    )
