"""Starts of one decision: those of one kind on the same devices are one call."""

from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Demand, Segment
from tridentserve.domain.ids import DeviceId, WorkerId
from tridentserve.planner.state import State
from tridentserve.sim.calls import problem_of_segment
from tridentserve.sim.windows import Gathering
from tridentserve.sim.workshop import Workshop


@dataclass(slots=True)
class _Opening:
    """Segments that begin together."""

    number: int
    worker: Worker
    demand: Demand
    segments: list[Segment]
    size: int
    """Requests."""

    def takes(self, segment: Segment, demand: Demand) -> bool:
        """Whether a segment on the same devices computes the same in the same way."""
        first = self.segments[0]
        return (
            segment.stage is first.stage
            and segment.strategy == first.strategy
            and _are_alike(demand, self.demand)
        )


class Starts:
    """What one decision starts: checked one by one, begun all together."""

    def __init__(self, state: State, workshop: Workshop, ready_s: float) -> None:
        """Nothing is started yet; the decision is made at `ready_s`."""
        self._state, self._workshop, self._ready_s = state, workshop, ready_s
        self._openings: dict[tuple[WorkerId, tuple[DeviceId, ...]], _Opening] = {}

    def refuse(self, segment: Segment) -> str | None:
        """Why a segment cannot start, beside what the state knows; None where it can."""
        worker = self._state.workers.get(segment.worker)
        problem = problem_of_segment(segment, worker)
        if problem is not None or worker is None:
            return problem
        journeys = self._state.journeys
        known = [journeys.get(one.request) for one in segment.requests]
        demands = [one.demand for one in known if one is not None]
        if not demands or len(demands) < len(known):
            return f"segment {segment.id} has a request that is not known, or gone"
        if not all(_are_alike(one, demands[0]) for one in demands[1:]):
            return f"segment {segment.id} has requests of several kinds"
        joined = self._joined(worker, segment, demands[0])
        count = len(demands) + (0 if joined is None else joined.size)
        if count > worker.slots:
            return f"{count} requests in one call of {worker.id}, at most {worker.slots}"
        return None if joined is not None else self._workshop.floorplan.problem(segment.devices)

    def _joined(
        self, worker: Worker, segment: Segment, demand: Demand
    ) -> _Opening | Gathering | None:
        """What a segment is added to: another of this decision, or a call that waits for more."""
        opening = self._openings.get((worker.id, segment.devices))
        if opening is not None:
            return opening if opening.takes(segment, demand) else None
        return self._workshop.gathering(worker, segment, demand, self._ready_s)

    def admit(self, segment: Segment, now: float) -> None:
        """Take a segment's devices."""
        worker = self._state.workers[segment.worker]
        demand = self._state.journeys[segment.requests[0].request].demand
        match self._joined(worker, segment, demand):
            case _Opening() as opening:
                opening.segments.append(segment)
                opening.size += len(segment.requests)
            case Gathering() as gathering:
                self._workshop.join(gathering, segment, demand, self._ready_s)
            case None:
                self._openings[worker.id, segment.devices] = _Opening(
                    number=self._workshop.reserve(segment.devices, now),
                    worker=worker,
                    demand=demand,
                    segments=[segment],
                    size=len(segment.requests),
                )

    def begin(self) -> list[Worker]:
        """Begin all calls; workers that had to load a stage for it, as they are now."""
        changed = []
        for opening in self._openings.values():
            worker = self._workshop.begin(
                opening.number, opening.worker, opening.segments, opening.demand, self._ready_s
            )
            changed += [worker] if worker is not None else []
        return changed


def _are_alike(one: Demand, other: Demand) -> bool:
    """Whether requests may share a call."""
    return one.shape == other.shape and one.steps == other.steps and one.guidance == other.guidance
