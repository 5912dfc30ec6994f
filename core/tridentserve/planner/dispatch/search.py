"""What a place is looked for, and which of two places is the better one."""

from collections.abc import Callable
from dataclasses import dataclass

from tridentserve.domain.ids import WorkerId
from tridentserve.planner.dispatch.fits import Fit
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey

Rank = tuple[int, float, float, int, int, WorkerId]
"""The least wins."""
Prefer = Callable[[WorkerId], float]
"""What is said against a worker, before the fit counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One request's question: on which worker?"""

    journey: Journey
    degree: int | None
    """Devices; None takes the widest strategy of the worker."""
    fit: Fit
    kinds: tuple[Kind, ...]
    """Those that may run it."""
    excluded: frozenset[WorkerId]
    """Workers that must not, until its stage is done."""
    skipped: frozenset[WorkerId]
    """Those, and workers that are kept from it in this decision."""
    prefer: Prefer | None = None

    def width(self, kind: Kind) -> int:
        """Devices that the call would use on a worker of a kind."""
        return kind.widest.degree if self.degree is None else self.degree

    def against(self, name: WorkerId) -> float:
        """What is said against a worker; nothing where nobody was asked."""
        return 0.0 if self.prefer is None else self.prefer(name)

    def rank(self, place: Place) -> Rank:
        """The fastest, then the one that fits best, can do the least else, has the most slots."""
        return (
            -place.kind.fraction_percent,
            self.against(place.worker.id),
            self.fit(place.vacant, len(place.devices)),
            len(place.kind.capable),
            -place.kind.slots,
            place.worker.id,
        )
