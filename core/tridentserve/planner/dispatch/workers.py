"""Which worker runs a request's stage: what every dispatch planner asks, answered once.

A worker can take a request when it hosts the stage for the request's pipeline, holds the content
that the journey began on, does not drain, has a free slot for the request's work key, and nobody
else runs on its devices. Of those that can, the best is the one that was reserved, then one that
shares memory with the producer, then the fastest, then the emptiest; names break ties, so equal
states give equal answers.

`Floor` is what of this is still free while one decision is being made: the state only changes when
the driver carries the decision out.

Batches: a worker with several slots runs one work key at a time, and its batch closes when the
call begins. So a request joins only a worker that has nothing running: several of one key are
started together, and one that comes later waits for the next call rather than inside the worker,
where it could not be given to another one any more.
"""

from collections import Counter
from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Demand
from tridentserve.domain.ids import DeviceId, WorkerId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.state import Journey, State

_Key = tuple[Shape, int, float]


def strategy_of(worker: Worker) -> Strategy:
    """The widest strategy that the worker's devices allow."""
    fitting = [one for one in worker.strategies if one.degree <= max(1, len(worker.devices))]
    return max(fitting, key=lambda one: one.degree, default=SINGLE)


def hosts(worker: Worker, demand: Demand, stage: Stage, digest: str | None) -> bool:
    """Whether a worker could ever run this, busy or not; draining workers get nothing new."""
    return (
        stage in worker.capable
        and not worker.draining
        and demand.pipeline in (None, worker.pipeline)
        and digest in (None, worker.digest)
    )


def stranded(state: State) -> list[Journey]:
    """Journeys that wait for content that is going away, while other content could serve them.

    Nothing but draining workers, or none, hosts their stage for their digest, and a complete chain
    of another digest is there. Planners leave them waiting: to begin again on other content
    (`StageFailed` with `again` encode) is the journey's own decision.
    """
    found = []
    for stage in STAGES:
        for journey in state.waiting(stage):
            if journey.digest is None:
                continue
            if any(
                hosts(worker, journey.demand, stage, journey.digest)
                for worker in state.workers.values()
            ):
                continue
            if any(
                digest != journey.digest and journey.demand.pipeline in (None, pipeline)
                for pipeline, digest in state.complete
            ):
                found.append(journey)
    return found


@dataclass(slots=True)
class _Place:
    """One worker with room: what a decision in the making has put on it."""

    worker: Worker
    slots: int
    key: _Key | None = None


class Floor:
    """Slots and devices that are still free within one decision."""

    def __init__(self, state: State) -> None:
        """Nothing is taken yet."""
        self._state = state
        self._taken: dict[DeviceId, WorkerId] = {}
        self._held: dict[DeviceId, WorkerId] = {}
        self._reserved: Counter[WorkerId] = Counter()
        self._places: dict[WorkerId, _Place] = {}

    def open(self, stage: Stage) -> bool:
        """Whether any worker of a stage has a slot left."""
        return any(self._room(worker) is not None for worker in self._state.capable(stage))

    def choose(self, journey: Journey) -> Worker | None:
        """The best worker that can start the journey's stage now; None leaves it waiting.

        A journey that only a device lease keeps waiting holds that device: whoever comes after it
        in this decision cannot take it, so a stream of small work does not starve large work.
        """
        reserved = self._reserved_place(journey)
        if reserved is not None:
            return reserved.worker
        ready = [place for place in self._eligible(journey) if self._fits(place, journey)]
        if not ready:
            return None
        best = min(ready, key=lambda place: self._rank(place, journey))
        if self._leased(best.worker):
            free = [place for place in ready if not self._leased(place.worker)]
            if not free:
                for device in best.worker.devices:
                    self._held.setdefault(device, best.worker.id)
                return None
            best = min(free, key=lambda place: self._rank(place, journey))
        return best.worker

    def take(self, worker: Worker, journey: Journey) -> None:
        """Use a slot of a worker, and its devices."""
        place = self._places.setdefault(worker.id, _Place(worker, worker.slots))
        place.slots -= 1
        place.key = _key(journey)
        for device in worker.devices[: strategy_of(worker).degree]:
            self._taken[device] = worker.id

    def consumer(self, journey: Journey, producer: Worker) -> Worker | None:
        """The worker to prefer for the stage after the journey's, given who runs this one.

        One that shares memory with the producer, then the one with the least to do.
        """
        following = journey.stage.next
        if following is None:
            return None
        candidates = [
            worker
            for worker in self._state.capable(following)
            if hosts(worker, journey.demand, following, producer.digest)
            and worker.pipeline == producer.pipeline
        ]
        best = min(
            candidates,
            key=lambda worker: (
                not _share_memory(worker, producer),
                self._busy(worker),
                -worker.fraction_percent,
                worker.id,
            ),
            default=None,
        )
        if best is not None:
            self._reserved[best.id] += 1
        return best

    def _room(self, worker: Worker) -> _Place | None:
        """Where a worker stands in this decision; None where it has no slot left."""
        place = self._places.get(worker.id)
        if place is None:
            # Only what is touched is noted: most decisions are about one request of many workers.
            idle = self._state.is_idle(worker.id) and worker.slots > 0
            return _Place(worker, worker.slots) if idle else None
        return place if place.slots > 0 else None

    def _reserved_place(self, journey: Journey) -> _Place | None:
        """The place that comes before all others, where it can be had; no need to rank then."""
        if journey.preferred is None or journey.preferred_stage is not journey.stage:
            return None
        worker = self._state.workers.get(journey.preferred)
        if (
            worker is None
            or worker.id in journey.excluded
            or not hosts(worker, journey.demand, journey.stage, journey.digest)
        ):
            return None
        place = self._room(worker)
        return place if place and place.key is None and not self._leased(worker) else None

    def _eligible(self, journey: Journey) -> list[_Place]:
        """Workers with a place that may run it: not excluded ones, unless there is no other."""
        capable = [
            worker
            for worker in self._state.capable(journey.stage)
            if hosts(worker, journey.demand, journey.stage, journey.digest)
        ]
        others = [worker for worker in capable if worker.id not in journey.excluded]
        chosen = others or capable
        if journey.digest is None:
            # A first segment binds the journey to a content: one that can finish it comes first.
            whole = [w for w in chosen if (w.pipeline, w.digest) in self._state.complete]
            chosen = whole or chosen
        return [place for worker in chosen if (place := self._room(worker)) is not None]

    def _fits(self, place: _Place, journey: Journey) -> bool:
        return place.key in (None, _key(journey))

    def _leased(self, worker: Worker) -> bool:
        """Whether somebody else runs on, or is before us for, a device that this one would use."""
        if worker.isolated:
            return False
        for device in worker.devices[: strategy_of(worker).degree]:
            if self._state.is_leased(device, besides=worker.id):
                return True
            if self._taken.get(device, worker.id) != worker.id:
                return True
            if self._held.get(device, worker.id) != worker.id:
                return True
        return False

    def _rank(self, place: _Place, journey: Journey) -> tuple[bool, bool, bool, int, int, WorkerId]:
        worker = place.worker
        producer = self._state.workers.get(journey.producer) if journey.producer else None
        reserved = journey.preferred == worker.id and journey.preferred_stage is journey.stage
        return (
            place.key is not None,  # an idle worker before one that a batch would make slower
            not reserved,
            not (producer is not None and _share_memory(worker, producer)),
            -worker.fraction_percent,
            -place.slots,
            worker.id,
        )

    def _busy(self, worker: Worker) -> float:
        """Requests that a worker runs or is preferred by, by slot."""
        running = 0
        if not self._state.is_idle(worker.id):
            running = sum(len(segment.requests) for segment in self._state.running(worker.id))
        waiting = self._state.reserved(worker.id) + self._reserved[worker.id]
        return (running + waiting) / max(1, worker.slots)


def _key(journey: Journey) -> _Key:
    """What must be equal to run in one call, beside the worker's own content."""
    demand = journey.demand
    return (demand.shape, demand.steps, demand.guidance)


def _share_memory(one: Worker, other: Worker) -> bool:
    return one.domain is not None and one.domain == other.domain
