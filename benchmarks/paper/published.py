"""The authors' results table, and what counts as reproducing a cell of it. Pure."""

from dataclasses import dataclass
from typing import Protocol

_MARGIN = 0.05
"""Of attainment."""
_SHARE = 0.2
"""Of mean and 95th percentile."""
_ROUNDING = 1e-9


class Outcome(Protocol):
    """What the authors' table says of a cell."""

    @property
    def attainment(self) -> float:
        """Share of requests on time."""

    @property
    def mean_s(self) -> float:
        """Mean latency."""

    @property
    def p95_s(self) -> float:
        """95th percentile of latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One cell of the authors' table, or a guess at what one would be."""

    attainment: float
    mean_s: float
    p95_s: float

    def reproduced_by(self, found: Outcome) -> bool:
        """Attainment within 0.05, seconds within 20 %."""
        return self.departure(found) <= 1 + _ROUNDING

    def departure(self, found: Outcome) -> float:
        """The largest departure, in units of what is allowed."""
        return max(self.lag(found), self.lead(found))

    def lag(self, found: Outcome) -> float:
        """The largest departure towards a slower system."""
        return max(self._departures(found))

    def lead(self, found: Outcome) -> float:
        """The largest departure towards a faster system."""
        return -min(self._departures(found))

    def _departures(self, found: Outcome) -> tuple[float, float, float]:
        """Of each figure, in units of what is allowed; positive where it is slower."""
        return (
            (self.attainment - found.attainment) / _MARGIN,
            (found.mean_s / self.mean_s - 1) / _SHARE,
            (found.p95_s / self.p95_s - 1) / _SHARE,
        )


STATIC = Published(attainment=0.15, mean_s=320, p95_s=550)
THEIRS = Published(attainment=0.86, mean_s=78, p95_s=230)
SD3_STATIC = Published(attainment=0.24, mean_s=36, p95_s=99)
SD3_THEIRS = Published(attainment=0.95, mean_s=10, p95_s=28)
