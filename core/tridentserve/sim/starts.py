"""Starts of one decision: those of one kind on the same devices are one call."""

from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Demand, Segment
from tridentserve.domain.ids import DeviceId, WorkerId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.state import State
from tridentserve.sim.calls import Job, problem_of_segment
from tridentserve.sim.workshop import Workshop

_Kind = tuple[WorkerId, tuple[DeviceId, ...], Strategy, Stage, Shape, int, float]


@dataclass(slots=True)
class _Opening:
    """Segments that begin together."""

    number: int
    worker: Worker
    demand: Demand
    segments: list[Segment]

    @property
    def size(self) -> int:
        """Requests."""
        return sum(len(one.requests) for one in self.segments)

    @property
    def job(self) -> Job:
        """What they compute together."""
        stage = self.segments[0].stage
        return Job(
            stage=stage,
            shape=self.demand.shape,
            steps=self.demand.steps if stage is Stage.DIFFUSE else 0,
            members=tuple(
                (one.id, tuple(cursor.request for cursor in one.requests)) for one in self.segments
            ),
        )


class Starts:
    """What one decision starts: checked one by one, begun all together."""

    def __init__(self, state: State, workshop: Workshop) -> None:
        """Nothing is started yet."""
        self._state, self._workshop = state, workshop
        self._openings: dict[_Kind, _Opening] = {}

    def refuse(self, segment: Segment) -> str | None:
        """Why a segment cannot start, beside what the state knows; None where it can."""
        worker = self._state.workers.get(segment.worker)
        problem = problem_of_segment(segment, worker)
        if problem is not None or worker is None:
            return problem
        journeys = self._state.journeys
        if not segment.requests or any(one.request not in journeys for one in segment.requests):
            return f"segment {segment.id} has a request that is not known, or gone"
        kinds = {_kind(segment, journeys[one.request].demand) for one in segment.requests}
        if len(kinds) > 1:
            return f"segment {segment.id} has requests of several kinds"
        opening = self._openings.get(kinds.pop())
        count = len(segment.requests) + (opening.size if opening is not None else 0)
        if count > worker.slots:
            return f"{count} requests in one call of {worker.id}, at most {worker.slots}"
        return None if opening else self._workshop.floorplan.problem(segment.devices)

    def admit(self, segment: Segment, now: float) -> None:
        """Take a segment's devices."""
        demand = self._state.journeys[segment.requests[0].request].demand
        opening = self._openings.get(kind := _kind(segment, demand))
        if opening is not None:
            opening.segments.append(segment)
            return
        self._openings[kind] = _Opening(
            number=self._workshop.reserve(segment.devices, now),
            worker=self._state.workers[segment.worker],
            demand=demand,
            segments=[segment],
        )

    def begin(self, ready_s: float) -> list[Worker]:
        """Begin all calls; workers that had to load a stage for it, as they are now."""
        changed = []
        for opening in self._openings.values():
            worker = self._workshop.begin(
                opening.number, opening.worker, opening.segments, opening.job, ready_s
            )
            changed += [worker] if worker is not None else []
        return changed


def _kind(segment: Segment, demand: Demand) -> _Kind:
    """What must be equal to begin together."""
    return (
        segment.worker,
        segment.devices,
        segment.strategy,
        segment.stage,
        demand.shape,
        demand.steps,
        demand.guidance,
    )
