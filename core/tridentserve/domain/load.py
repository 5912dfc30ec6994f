"""What Prometheus said about a pipeline: measured, zero, or unknown, which are three things."""

from dataclasses import dataclass, field

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """Mean seconds of one request in one stage at one fraction, while it ran."""

    stage: Stage
    fraction_percent: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRate:
    """How often requests of one class arrive: what they ask for, averaged over the window."""

    shape: Shape
    steps: int
    guidance: float
    arrivals_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Load of one pipeline over the last window.

    `arrivals_per_s` of None is *unknown* (absent, stale or failed): planners hold and never
    shrink. 0.0 is a fresh measurement of no load. `seconds` keeps the last valid value of each
    (stage, fraction); what was never measured is absent.
    """

    arrivals_per_s: float | None
    seconds: tuple[StageTime, ...] = field(default=())
    mix: tuple[ClassRate, ...] = ()
    """Arrivals by class, where whoever measures tells classes apart; empty where nobody does."""
    problem: str = ""
    """Why the arrival rate is unknown, as a sentence for a condition; empty where it is known."""

    def seconds_at(self, stage: Stage, fraction_percent: int) -> float | None:
        """The measured mean, None where this fraction was never measured."""
        return next(
            (
                time.seconds
                for time in self.seconds
                if time.stage is stage and time.fraction_percent == fraction_percent
            ),
            None,
        )


UNKNOWN = Load(arrivals_per_s=None, problem="no measurement yet")
"""Nothing is known: hold."""
