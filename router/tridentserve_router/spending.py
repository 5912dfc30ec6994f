"""What one request has cost in device seconds, and how much of that was in vain."""

from collections.abc import Mapping

from tridentserve.domain.stages import Stage


class Spending:
    """Device seconds by stage.

    A stage that is done again had lost its first result, and nothing was of use where no media
    went out.

    >>> spending = Spending()
    >>> for stage, device_s in ((Stage.ENCODE, 1.0), (Stage.ENCODE, 1.5), (Stage.DIFFUSE, 8.0)):
    ...     spending.add(stage, device_s)
    >>> sum(spending.wasted_s(delivered=True).values())
    1.0
    >>> sum(spending.wasted_s(delivered=False).values())
    10.5
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._last_s: dict[Stage, float] = {}
        self._lost_s: dict[Stage, float] = {}

    def add(self, stage: Stage, device_s: float) -> None:
        """A stage is done, perhaps again."""
        self._lost_s[stage] = self._lost_s.get(stage, 0.0) + self._last_s.get(stage, 0.0)
        self._last_s[stage] = device_s

    def wasted_s(self, *, delivered: bool) -> Mapping[Stage, float]:
        """What was in vain; `delivered` where all media went out."""
        if delivered:
            return self._lost_s
        return {stage: self._lost_s[stage] + last_s for stage, last_s in self._last_s.items()}
