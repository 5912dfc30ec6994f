"""What stages and requests cost, learnt from measurements as they come in."""

from collections.abc import Mapping

from tridentserve.domain.profiles import Estimate, Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage


class CostModel:
    """Mutable and on-line: a profile to begin with, corrected by every measurement."""

    def __init__(
        self,
        profile: Profile | None = None,
        largest_percent: Mapping[Stage, int] | None = None,
    ) -> None:
        """Start from a profile, or from nothing; `largest_percent` defaults to 100 a stage."""
        raise NotImplementedError

    def observe(
        self,
        stage: Stage,
        shape: Shape,
        steps: int,
        fraction_percent: int,
        seconds: float,
        batch: int = 1,
    ) -> None:
        """Take over how long one call took, all of its batch together."""
        raise NotImplementedError

    def estimate(
        self, stage: Stage, shape: Shape, steps: int, fraction_percent: int, batch: int = 1
    ) -> Estimate | None:
        """Seconds of one call; None where nothing is known of the stage."""
        raise NotImplementedError

    def request(self, shape: Shape, steps: int, first: Stage = Stage.ENCODE) -> Estimate | None:
        """Seconds of a request from `first` to its end, alone, at the largest fractions."""
        raise NotImplementedError

    def deadline(self, shape: Shape, steps: int, slo_scale_percent: int) -> float | None:
        """Seconds that a request may take: the scale times the best end-to-end time."""
        raise NotImplementedError
