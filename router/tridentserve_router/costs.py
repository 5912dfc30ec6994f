"""What everything is expected to take, through changes of the profile.

A cost model begins with a profile and never changes it, so another profile is another model. The
calls that were measured are true of this hardware whatever a profile says of it: the last of every
kind are kept and told to the new model, as though it had seen them itself. So a profile that comes
late, or is edited, changes what is said of calls that nobody has made yet, and little else.

Only the last few calls of a kind are kept, of kinds that ran lately: what is older is expected as
the new profile says, corrected by what is known of its stage.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from tridentserve.domain.ids import WorkerId
from tridentserve.domain.profiles import Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost import CostModel

_CALLS = 5
"""Of each kind: a cell that has as many speaks for itself, see `planner.cost.correction`."""
_KINDS = 128
"""Callers choose the shapes; telling all of it to a new model holds up the router."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that was measured; the fields are the arguments of `CostModel.observe`."""

    stage: Stage
    shape: Shape
    steps: int
    fraction_percent: int
    seconds: float
    batch: int = 1
    strategy: Strategy = SINGLE
    worker: WorkerId | None = None

    @property
    def kind(self) -> tuple[object, ...]:
        """What calls of one cell have in common."""
        return self.stage, self.shape, self.fraction_percent, self.batch, self.strategy


class Costs:
    """The cost model in force, and what it takes to make the next one."""

    def __init__(self, largest_percent: Mapping[Stage, int]) -> None:
        """Begin without a profile; the largest fraction of each stage is as `CostModel` has it."""
        self._largest = largest_percent
        self._calls: dict[tuple[object, ...], deque[tuple[int, Call]]] = {}
        self._numbers = count()
        self._profile: Profile | None = None
        self.model = CostModel(largest_percent=largest_percent)
        """Another object whenever the profile or the largest fractions have changed."""

    def use(self, profile: Profile | None, largest_percent: Mapping[Stage, int]) -> None:
        """Expect what this profile says, where nothing was measured."""
        if (profile, largest_percent) == (self._profile, self._largest):
            return
        self._profile, self._largest = profile, largest_percent
        self.model = CostModel(profile, largest_percent=largest_percent)
        numbered = [item for calls in self._calls.values() for item in calls]
        for _, call in sorted(numbered, key=lambda item: item[0]):
            _tell(self.model, call)

    def observe(self, call: Call) -> None:
        """Take over how long a call took."""
        calls = self._calls.pop(call.kind, None) or deque(maxlen=_CALLS)
        calls.append((next(self._numbers), call))
        self._calls[call.kind] = calls
        if len(self._calls) > _KINDS:
            del self._calls[next(iter(self._calls))]
        _tell(self.model, call)


def _tell(model: CostModel, call: Call) -> None:
    model.observe(
        call.stage,
        call.shape,
        call.steps,
        call.fraction_percent,
        call.seconds,
        call.batch,
        strategy=call.strategy,
        worker=call.worker,
    )
