"""How much work admitted requests still have to do, stage by stage, kept up change by change.

Estimates only: what nobody has measured counts for nothing.
"""

from collections.abc import Mapping

from tridentserve.domain.ids import RequestId
from tridentserve.domain.stages import STAGES, Stage


class Forecast:
    """Seconds of one worker's work, by stage."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._own: dict[RequestId, dict[Stage, float]] = {}
        self._total = dict.fromkeys(STAGES, 0.0)

    @property
    def backlog_s(self) -> Mapping[Stage, float]:
        """What is still to be done."""
        return self._total

    def add(self, request: RequestId, own_s: Mapping[Stage, float]) -> None:
        """A request came in, with its estimates."""
        self._own[request] = dict(own_s)
        for stage, seconds in own_s.items():
            self._total[stage] += seconds

    def done(self, request: RequestId, stage: Stage) -> None:
        """A request's stage is done; a second time changes nothing."""
        self._total[stage] -= self._own.get(request, {}).pop(stage, 0.0)

    def gone(self, request: RequestId) -> None:
        """A request left."""
        for stage, seconds in self._own.pop(request, {}).items():
            self._total[stage] -= seconds
        if not self._own:
            # Sums of floats drift; an empty queue is exactly empty.
            self._total = dict.fromkeys(STAGES, 0.0)
