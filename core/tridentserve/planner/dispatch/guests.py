"""Who leaves a worker to the stage that hardly anybody else can run.

A stage is a *guest* on a worker that also hosts a *scarcer* one: one that fewer devices can run, of
those with the same content. So diffusion is a guest on the only worker that encodes. Without rules
for guests it stays there, next to its input, and in the order of deadlines it always goes before
encodes, which are the newest requests: then nothing is encoded, and all other diffusers idle.

1. *A guest goes elsewhere while anybody else has room*, wherever its input is: to workers on which
   it is no guest, then to those of the least `loss`, the share of what can run their scarcest
   stage that one device is.
2. *A guest leaves the last vacant device* that can run a scarcer stage, unless workers of less loss
   have enough to do: more calls wait than they could begin next, or `_PATIENCE` times as many where
   somebody waits for the scarcer stage now. So the others never idle for want of what the scarcer
   stage would make, its requests wait for one call of a guest and for each other, and under any
   overload the guests' queue stays bounded by what it is compared with.

Nothing starves by it: workers of the least loss are kept from nobody, and whoever may only use
others is no guest that leaves. What is not looked at: devices that several workers hold (a lease
decides there), and whether those who wait for the scarcer stage may use this worker.
"""

from collections import Counter
from collections.abc import Sequence

from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.dispatch.search import Search
from tridentserve.planner.dispatch.vacancies import Vacancies
from tridentserve.planner.roster import Kind, Roster
from tridentserve.planner.state import Journey, State

_PATIENCE = 4
"""Calls in line for each that the others run, beyond which a guest passes the scarcer stage."""


class Guests:
    """The rules for guests within one decision."""

    def __init__(self, state: State, vacancies: Vacancies) -> None:
        """Nothing was started yet."""
        self._state, self._roster, self._vacancies = state, state.roster, vacancies
        self._started: Counter[Stage] = Counter()

    def started(self, journey: Journey) -> None:
        """A request that waited starts."""
        if journey.running is None:
            self._started[journey.stage] += 1

    def leaves(self, search: Search, place: Place) -> bool:
        """Whether a place is the last device of a scarcer stage and has to be left to it."""
        stage = search.journey.stage
        last = [one for one in self._roster.scarcer(place.kind, stage) if self._is_last(one, place)]
        if not last:
            return False
        patience = _PATIENCE if any(self._waiting(one) for one in last) else 1
        return 0 < self._waiting(stage) <= patience * self._others(search, place.kind)

    def _waiting(self, stage: Stage) -> int:
        return self._state.queue_length(stage) - self._started[stage]

    def _is_last(self, stage: Stage, place: Place) -> bool:
        """Whether nobody who could run a stage has a vacant device beside those of a place."""
        if place.kind.concurrent and place.vacant > len(place.devices):
            return False
        content = (place.kind.pipeline, place.kind.digest)
        return not any(
            kind.slots
            and (kind.pipeline, kind.digest) == content
            and self._vacancies.any_of(kind, besides=place.worker.id)
            for kind in self._roster.kinds(stage)
        )

    def _others(self, search: Search, kind: Kind) -> int:
        """Calls like this that workers of less loss can run at the same time, busy or not."""
        stage, calls = search.journey.stage, 0
        loss = self._roster.loss(kind, stage)
        for other in search.kinds:
            if other.slots and self._roster.loss(other, stage) < loss:
                workers = other.size - sum(
                    self._roster.kind(name) is other for name in search.excluded
                )
                width = search.width(other)
                calls += workers * (
                    other.devices // width if other.concurrent else other.devices >= width
                )
        return calls


def least_missed(roster: Roster, kinds: Sequence[Kind], stage: Stage) -> tuple[Kind, ...]:
    """The kinds on which a stage is missed the least by scarcer ones, most often all of them."""
    least = min((roster.loss(kind, stage) for kind in kinds), default=0.0)
    return tuple(kind for kind in kinds if roster.loss(kind, stage) == least)
