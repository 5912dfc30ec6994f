"""What stages and requests cost, learnt from measurements as they come in.

A *cell* is one (stage, shape, fraction, batch). It holds an exponentially weighted mean and
variance of the seconds of one call: of one step for diffuse, where calls of any number of steps
then teach the same cell, of the whole call elsewhere. A profile fills cells before the first
request; measurements outweigh it quickly.

| asked for | answered from |
| --- | --- |
| a measured cell | the cell |
| another fraction | seconds(f0) x f0 / f, from the nearest fraction (by ratio, the larger of equals) |
| another batch | seconds(b0) x b / b0: batching is not assumed to gain anything until it is seen to |
| another shape, several known | the straight line between the neighbours by volume; beyond the ends the end's line, never below a tenth of the end |
| another shape, one known | a tenth of it is fixed, the rest is proportional to volume; encode does not depend on volume |

Each step away from a measurement halves the confidence and widens the spread. It keeps no clock:
who never sees a change of hardware must build a new model.
"""  # noqa: E501 - a table

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import log, sqrt

from tridentserve.domain.profiles import Estimate, Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage

_WEIGHT = 0.1
"""Least share of a new measurement in the mean: a drift is followed in some tens of calls."""
_PRIOR_SPREAD = 0.25
"""Relative standard deviation that is assumed before there are measurements to tell."""
_FIXED_SHARE = 0.1
"""Share of a call that does not grow with the volume, where a single shape is known."""
_Z90 = 1.2816
"""90 % quantile of the normal distribution."""
_PROFILE_CONFIDENCE = 0.5
_SHAPES_LIMIT = 512
"""Cells of one stage beyond which the oldest is forgotten: callers choose the shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """Mean and variance of one kind of call, per step for diffuse."""

    mean_s: float
    variance: float
    count: int
    """Measurements; 0 where a profile said it."""
    fixed_s: float = 0.0
    """Seconds of a call beside its steps, where a profile tells them apart."""
    peak_bytes: int = 0

    @property
    def confidence(self) -> float:
        return self.count / (self.count + 2) if self.count else _PROFILE_CONFIDENCE

    def observed(self, seconds: float) -> "_Cell":
        """The cell after one more measurement."""
        count = self.count + 1
        weight = max(1 / count, _WEIGHT)
        if count == 1:
            return replace(self, mean_s=seconds, variance=(_PRIOR_SPREAD * seconds) ** 2, count=1)
        difference = seconds - self.mean_s
        return replace(
            self,
            mean_s=self.mean_s + weight * difference,
            variance=(1 - weight) * (self.variance + weight * difference**2),
            count=count,
        )

    def scaled(self, factor: float) -> "_Cell":
        """A cell that nobody measured, that many times as long."""
        return replace(
            self,
            mean_s=self.mean_s * factor,
            variance=self.variance * factor**2,
            fixed_s=self.fixed_s * factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _CellKey:
    shape: Shape
    fraction_percent: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guess:
    """A cell with how much of what it says was measured."""

    cell: _Cell
    confidence: float

    def further(self, factor: float) -> "_Guess":
        """One step away from what was measured."""
        wider = replace(self.cell, variance=max(self.cell.variance, self._doubt()))
        return _Guess(cell=wider.scaled(factor), confidence=self.confidence / 2)

    def _doubt(self) -> float:
        return (_PRIOR_SPREAD * self.cell.mean_s) ** 2


class CostModel:
    """Mutable and on-line: a profile to begin with, corrected by every measurement."""

    def __init__(
        self,
        profile: Profile | None = None,
        largest_percent: Mapping[Stage, int] | None = None,
    ) -> None:
        """Start from a profile, or from nothing.

        Args:
            profile: fills the cells; its samples on one device are used.
            largest_percent: the largest fraction of each stage, at which the best end-to-end time
                is meant; 100 where a stage is left out.
        """
        self._largest = dict.fromkeys(STAGES, 100) | dict(largest_percent or {})
        self._cells: dict[Stage, dict[_CellKey, _Cell]] = {stage: {} for stage in STAGES}
        for sample in profile.samples if profile else ():
            if sample.strategy.degree == 1:
                self._cells[sample.stage][_key_of(sample)] = _prior(sample)

    def observe(
        self,
        stage: Stage,
        shape: Shape,
        steps: int,
        fraction_percent: int,
        seconds: float,
        batch: int = 1,
    ) -> None:
        """Take over how long one call took, all of its batch together.

        What cannot be (no seconds, no steps, a negative number, not a number) teaches nothing.
        """
        if not 0 < seconds < float("inf") or min(fraction_percent, batch) < 1:
            return
        if stage is Stage.DIFFUSE and steps < 1:
            return
        cells = self._cells[stage]
        key = _CellKey(shape=shape, fraction_percent=fraction_percent, batch=batch)
        cell = cells.pop(key, None) or _Cell(mean_s=0.0, variance=0.0, count=0)
        if stage is Stage.DIFFUSE:
            # A call that beat its fixed part says that the profile's fixed part is wrong for us.
            if seconds <= cell.fixed_s:
                cell = replace(cell, fixed_s=0.0)
            seconds = (seconds - cell.fixed_s) / steps
        cells[key] = cell.observed(seconds)
        if len(cells) > _SHAPES_LIMIT:
            del cells[next(iter(cells))]

    def estimate(
        self, stage: Stage, shape: Shape, steps: int, fraction_percent: int, batch: int = 1
    ) -> Estimate | None:
        """Seconds of one call; None where nothing is known of the stage."""
        guess = self._guess(stage, shape, fraction_percent, batch)
        if guess is None:
            return None
        cell = guess.cell
        times = steps if stage is Stage.DIFFUSE else 1
        mean_s = cell.fixed_s + times * cell.mean_s
        return Estimate(
            mean_s=mean_s,
            q90_s=mean_s + _Z90 * sqrt(cell.variance) * times,
            peak_bytes=cell.peak_bytes,
            confidence=guess.confidence,
        )

    def request(self, shape: Shape, steps: int, first: Stage = Stage.ENCODE) -> Estimate | None:
        """Seconds of a request from `first` to its end, alone, at the largest fractions.

        None where a stage is wholly unknown. Quantiles are added, which is on the safe side.
        """
        stages = STAGES[STAGES.index(first) :]
        parts = [self.estimate(stage, shape, steps, self._largest[stage]) for stage in stages]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return Estimate(
            mean_s=sum(part.mean_s for part in known),
            q90_s=sum(part.q90_s for part in known),
            peak_bytes=max(part.peak_bytes for part in known),
            confidence=min(part.confidence for part in known),
        )

    def deadline(self, shape: Shape, steps: int, slo_scale_percent: int) -> float | None:
        """Seconds that a request may take: the scale times the best end-to-end time.

        None while a stage is wholly unknown: there is nothing yet to promise.
        """
        best = self.request(shape, steps)
        return None if best is None else best.mean_s * slo_scale_percent / 100

    def _guess(
        self, stage: Stage, shape: Shape, fraction_percent: int, batch: int
    ) -> _Guess | None:
        cells = self._cells[stage]
        exact = _CellKey(shape=shape, fraction_percent=fraction_percent, batch=batch)
        if exact in cells:
            return _Guess(cell=cells[exact], confidence=cells[exact].confidence)
        nearest: dict[Shape, _CellKey] = {}
        for key in cells:
            best = nearest.setdefault(key.shape, key)
            if _distance(key, fraction_percent, batch) < _distance(best, fraction_percent, batch):
                nearest[key.shape] = key
        by_shape = {
            one: _converted(key, cells[key], fraction_percent, batch)
            for one, key in nearest.items()
        }
        if shape in by_shape:
            return by_shape[shape]
        return _interpolated(stage, shape.volume, by_shape.items())


def _key_of(sample: Sample) -> _CellKey:
    return _CellKey(
        shape=sample.shape, fraction_percent=sample.fraction_percent, batch=sample.batch
    )


def _prior(sample: Sample) -> _Cell:
    steps = sample.stage is Stage.DIFFUSE
    mean_s = sample.step_s if steps else sample.fixed_s
    return _Cell(
        mean_s=mean_s,
        variance=(_PRIOR_SPREAD * mean_s) ** 2,
        count=0,
        fixed_s=sample.fixed_s if steps else 0.0,
        peak_bytes=sample.peak_bytes,
    )


def _distance(key: _CellKey, fraction_percent: int, batch: int) -> tuple[float, float, int]:
    return (
        abs(log(key.batch / batch)),
        abs(log(key.fraction_percent / fraction_percent)),
        -key.fraction_percent,
    )


def _converted(key: _CellKey, cell: _Cell, fraction_percent: int, batch: int) -> _Guess:
    guess = _Guess(cell=cell, confidence=cell.confidence)
    if key.fraction_percent != fraction_percent:
        guess = guess.further(key.fraction_percent / fraction_percent)
    if key.batch != batch:
        guess = guess.further(batch / key.batch)
    return guess


def _interpolated(
    stage: Stage, volume: int, known: Iterable[tuple[Shape, _Guess]]
) -> _Guess | None:
    """The guess for a volume, from the guesses for others."""
    # One guess a volume, the surest: two shapes of one volume would make a vertical line.
    by_volume: dict[int, _Guess] = {}
    for shape, guess in sorted(known, key=lambda item: (item[1].confidence, item[0])):
        by_volume[shape.volume] = guess
    if not by_volume:
        return None
    volumes = sorted(by_volume)
    nearest = min(volumes, key=lambda one: (abs(one - volume), one))
    base = by_volume[nearest]
    if nearest == volume:
        return base
    if len(volumes) == 1:
        if stage is Stage.ENCODE:
            return base.further(1.0)
        return base.further(_FIXED_SHARE + (1 - _FIXED_SHARE) * volume / nearest)
    above = next((index for index, one in enumerate(volumes) if one > volume), len(volumes) - 1)
    right = max(1, above)
    low, high = volumes[right - 1], volumes[right]
    start, end = by_volume[low].cell.mean_s, by_volume[high].cell.mean_s
    if base.cell.mean_s <= 0:
        return base.further(1.0)
    mean_s = start + (end - start) * (volume - low) / (high - low)
    return base.further(max(mean_s / base.cell.mean_s, _FIXED_SHARE))
