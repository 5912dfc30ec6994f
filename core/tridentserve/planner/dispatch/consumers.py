"""Who is to read what a call makes: the worker to prefer for the stage after it.

It is chosen before the call runs, so that the producer can put its tensors where that worker can
read them. The producer itself comes first, then one that shares memory with it, then the one with
the least to do; before all that, one that no scarcer stage needs more (`guests`).
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.workers import share_memory, suits
from tridentserve.planner.state import Journey, State

_COMPARED = 64
"""Workers that are compared; beyond that only the emptiest are."""


class Consumers:
    """Consumers of one decision."""

    def __init__(self, state: State) -> None:
        """Nobody was chosen yet."""
        self._state, self._roster = state, state.roster
        self._chosen: Counter[WorkerId] = Counter()

    def choose(self, journey: Journey, producer: Worker) -> Worker | None:
        """The worker to prefer for the stage after the journey's, given who runs this one.

        None after the last stage, and where nobody hosts the next one for this content.
        """
        following = journey.stage.next
        if following is None:
            return None
        own = self._roster.kind(producer.id)
        if own is not None and following in own.capable and not self._loss(producer, following):
            return producer
        best = min(
            self._candidates(journey, producer, following),
            key=lambda worker: (
                self._loss(worker, following),
                worker.id != producer.id,
                not share_memory(worker, producer),
                self._busy(worker),
                -worker.fraction_percent,
                worker.id,
            ),
            default=None,
        )
        if best is not None:
            self._chosen[best.id] += 1
        return best

    def _candidates(self, journey: Journey, producer: Worker, following: Stage) -> Iterator[Worker]:
        """All of a small fleet, of a large one those with the most room."""
        kinds = [
            kind
            for kind in self._roster.kinds(following)
            if suits(kind, journey.demand, producer.digest) and kind.pipeline == producer.pipeline
        ]
        names = [producer.id]
        for kind in kinds:
            emptiest_first = chain.from_iterable(reversed(kind.rooms))
            names += islice(emptiest_first, _COMPARED)
        if producer.domain is not None:
            names += self._roster.in_domain(producer.domain)
        for name in names:
            if self._roster.kind(name) in kinds:
                yield self._state.workers[name]

    def _loss(self, worker: Worker, stage: Stage) -> float:
        kind = self._roster.kind(worker.id)
        return 0.0 if kind is None else self._roster.loss(kind, stage)

    def _busy(self, worker: Worker) -> float:
        """Requests that a worker runs or is preferred by, by slot."""
        running = 0
        if not self._state.is_idle(worker.id):
            running = sum(len(segment.requests) for segment in self._state.running(worker.id))
        waiting = self._state.reserved(worker.id) + self._chosen[worker.id]
        return (running + waiting) / max(1, worker.seats)
