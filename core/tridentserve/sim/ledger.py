"""Keeps the books of a run: where each request spent its time, and what devices were used for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Demand
from tridentserve.domain.ids import RequestId
from tridentserve.domain.stages import STAGES, Stage, stages_label
from tridentserve.sim.calls import Call
from tridentserve.sim.results import Outcome, Record, Timeline, Usage

_BINS = 120


@dataclass(slots=True)
class _Trip:
    """A request on its way."""

    demand: Demand
    best_s: float
    since_s: float
    """When it last began to wait or to run."""
    waited_s: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    ran_s: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    longest_s: float = 0.0
    degree: int = 0
    retries: int = 0
    stage: Stage = Stage.ENCODE
    runs: bool = False

    def turn(self, now: float) -> None:
        """Put the time since the last change where it belongs."""
        spent = now - self.since_s
        index = STAGES.index(self.stage)
        if self.runs:
            self.ran_s[index] += spent
        else:
            self.waited_s[index] += spent
            self.longest_s = max(self.longest_s, spent)
        self.since_s = now


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Devices at work."""

    stage: Stage
    devices: int
    from_s: float
    to_s: float
    requests: int


class Ledger:
    """Trips, spans and what is held."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._trips: dict[RequestId, _Trip] = {}
        self._records: dict[RequestId, Record] = {}
        self._spans: list[Span] = []
        self._resident: list[tuple[float, tuple[tuple[str, int], ...]]] = []
        self._held_device_s = 0.0
        self._held = 0
        self._held_since_s = 0.0
        self._lost_device_s = 0.0

    # --- requests ---------------------------------------------------------------------------------

    @property
    def open(self) -> int:
        """Requests that have arrived and not ended."""
        return len(self._trips)

    def arrived(self, demand: Demand, best_s: float) -> None:
        """A request waits for encode."""
        self._trips[demand.id] = _Trip(demand=demand, best_s=best_s, since_s=demand.arrived_s)

    def runs(self, request: RequestId, stage: Stage, degree: int, now: float) -> None:
        """A request has been given devices."""
        trip = self._trips[request]
        trip.turn(now)
        trip.stage, trip.runs = stage, True
        trip.degree = degree if stage is Stage.DIFFUSE else trip.degree

    def waits(self, request: RequestId, stage: Stage, now: float) -> None:
        """A request waits for a stage, or is parked in it."""
        trip = self._trips[request]
        trip.turn(now)
        trip.stage, trip.runs = stage, False

    def lost_run(self, request: RequestId) -> None:
        """A run had no result."""
        self._trips[request].retries += 1

    def ended(self, request: RequestId, outcome: Outcome, now: float) -> None:
        """A request is gone."""
        trip = self._trips.pop(request)
        trip.turn(now)
        demand = trip.demand
        self._records[request] = Record(
            id=str(request),
            shape=demand.shape,
            steps=demand.steps,
            arrived_s=demand.arrived_s,
            deadline_s=demand.deadline_s,
            ended_s=None if outcome is Outcome.UNFINISHED else now,
            outcome=outcome,
            best_s=trip.best_s,
            waited_s=(trip.waited_s[0], trip.waited_s[1], trip.waited_s[2]),
            ran_s=(trip.ran_s[0], trip.ran_s[1], trip.ran_s[2]),
            longest_wait_s=trip.longest_s,
            degree=trip.degree,
            retries=trip.retries,
        )

    def close(self, now: float) -> None:
        """Whoever is still there was not served in time."""
        for request in tuple(self._trips):
            self.ended(request, Outcome.UNFINISHED, now)
        self._hold(self._held, now)

    def records(self) -> tuple[Record, ...]:
        """All requests that ended, in order of arrival, then by name."""
        return tuple(sorted(self._records.values(), key=lambda one: (one.arrived_s, one.id)))

    # --- devices ----------------------------------------------------------------------------------

    def worked(self, call: Call, now: float, *, lost: bool = False) -> None:
        """A call was at work until now, from when it was set up; `lost` without a result."""
        from_s = call.work_s
        if now <= from_s:
            return
        span = Span(
            stage=call.job.stage,
            devices=len(call.devices),
            from_s=from_s,
            to_s=now,
            requests=len(call.job.requests),
        )
        self._spans.append(span)
        if lost:
            self._lost_device_s += span.devices * (now - from_s)

    def spans(self, since_s: float) -> list[Span]:
        """Work that ended after a moment; the latest first."""
        found = []
        for span in reversed(self._spans):
            if span.to_s <= since_s:
                break
            found.append(span)
        return found

    def fleet(self, workers: Iterable[Worker], held: int, now: float) -> None:
        """Workers that are up, and devices that are held, from now on."""
        counts: dict[str, int] = {}
        for worker in workers:
            label = stages_label(worker.resident)
            counts[label] = counts.get(label, 0) + len(worker.devices)
        entry = (now, tuple(sorted(counts.items())))
        if self._resident and self._resident[-1][0] == now:
            self._resident.pop()
        if not self._resident or self._resident[-1][1] != entry[1]:
            self._resident.append(entry)
        self._hold(held, now)

    def _hold(self, held: int, now: float) -> None:
        self._held_device_s += self._held * (now - self._held_since_s)
        self._held, self._held_since_s = held, now

    def usage(self, taken_device_s: float) -> Usage:
        """Device-seconds of the whole run; what was taken and did not work is overhead."""
        work = {
            stage: sum(one.devices * (one.to_s - one.from_s) for one in spans)
            for stage, spans in _by_stage(self._spans).items()
        }
        return Usage(
            work=tuple(work.items()),
            overhead=max(0.0, taken_device_s - sum(work.values())),
            held=self._held_device_s,
            lost=self._lost_device_s,
        )

    def timeline(self, until_s: float) -> Timeline:
        """Busy devices by stage over time."""
        width_s = max(until_s, 1e-9) / _BINS
        return Timeline(
            width_s=width_s,
            busy=tuple(
                (stage, _binned(spans, width_s)) for stage, spans in _by_stage(self._spans).items()
            ),
            resident=tuple(self._resident),
        )


def _by_stage(spans: Sequence[Span]) -> dict[Stage, list[Span]]:
    return {stage: [one for one in spans if one.stage is stage] for stage in STAGES}


def _binned(spans: Sequence[Span], width_s: float) -> tuple[float, ...]:
    """Average devices in each bin."""
    sums = [0.0] * _BINS
    for span in spans:
        first = min(_BINS - 1, int(span.from_s / width_s))
        last = min(_BINS - 1, int(span.to_s / width_s))
        for index in range(first, last + 1):
            begin, end = index * width_s, (index + 1) * width_s
            sums[index] += span.devices * max(0.0, min(end, span.to_s) - max(begin, span.from_s))
    return tuple(value / width_s for value in sums)
