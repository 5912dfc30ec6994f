"""Differences over seeds: intervals, tests, and the correction for many cells. Pure.

The replicate is the seed, never the request: requests of one run share its queue. Contenders meet
the same arrivals and the same luck under one seed, so their differences are paired. With one seed
there is no interval, and nothing is significant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import TypeVar

from scipy import stats

Name = TypeVar("Name")
LEAST_SEEDS = 20
"""With fewer pairs nothing is claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over seeds with its confidence interval (Student's t)."""

    mean: float
    low: float
    high: float
    seeds: int

    def excludes(self, value: float) -> bool:
        """Whether the value lies outside."""
        return not self.low <= value <= self.high


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of independent values, and where the true one should be.

    Raises:
        ValueError: there are none.

    >>> interval([1.0, 1.0, 1.0]).low
    1.0
    """
    if not values:
        raise ValueError("no values, no mean")
    count = len(values)
    mean = sum(values) / count
    if count == 1:
        return Interval(mean=mean, low=-inf, high=inf, seeds=1)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * _error(values, mean)
    return Interval(mean=mean, low=mean - half, high=mean + half, seeds=count)


def p_value(values: Sequence[float]) -> float:
    """Two-sided probability of such a mean where the true one is 0; 1 with fewer than two."""
    count = len(values)
    if count < 2:
        return 1.0
    mean = sum(values) / count
    error = _error(values, mean)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean / error), count - 1))


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """P-values corrected for there being many (Holm 1979): each at most 0.05 holds all at 5 %.

    >>> holm({"a": 0.01, "b": 0.04})
    {'a': 0.02, 'b': 0.04}
    """
    ordered = sorted(p_values, key=lambda name: p_values[name])
    corrected: dict[Name, float] = {}
    largest = 0.0
    for index, name in enumerate(ordered):
        largest = max(largest, min(1.0, p_values[name] * (len(ordered) - index)))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def _error(values: Sequence[float], mean: float) -> float:
    """Standard error of the mean."""
    count = len(values)
    return sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
