"""What a stage costs: the answer of the cost model, and the measurements behind it."""

from dataclasses import dataclass

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Predicted time and memory of one call."""

    mean_s: float
    q90_s: float
    peak_bytes: int
    """0 where nobody knows."""
    confidence: float
    """0 is a guess, 1 is measured often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured cell of a profile: seconds = fixed + steps x per step."""

    stage: Stage
    shape: Shape
    fixed_s: float
    step_s: float = 0.0
    """0 for stages without steps."""
    fraction_percent: int = 100
    batch: int = 1
    strategy: Strategy = SINGLE
    peak_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Named measurements of a pipeline, with where they come from."""

    name: str
    source: str
    samples: tuple[Sample, ...]
    steps: int = 20
    """Steps of a usual request, for who needs the seconds of the whole stage."""
