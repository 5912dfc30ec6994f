"""The physical side of dispatch: calls begin, stop at steps, end, and are lost.

It charges what happens before a call works, keeps each device to one call at a time, and appoints
on the agenda when a call is to be looked at next. It knows no planner and no queue: what should be
done is `Dispatch`'s affair. Whoever changes something asks first why that could not be.
"""

from collections.abc import Sequence
from dataclasses import replace

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Demand, Resize, Segment, Yield
from tridentserve.domain.ids import DeviceId, SegmentId, WorkerId
from tridentserve.domain.strategy import Strategy
from tridentserve.sim.agenda import Agenda, Rank
from tridentserve.sim.calls import (
    Call,
    Job,
    Parked,
    job_of,
    problem_of_group,
    problem_of_segment,
)
from tridentserve.sim.floorplan import Floorplan
from tridentserve.sim.items import Due, Item
from tridentserve.sim.ledger import Ledger
from tridentserve.sim.preparing import Preparing
from tridentserve.sim.scenario import WorldPart
from tridentserve.sim.windows import Gathering, Windows
from tridentserve.sim.world import Effort, World


class Workshop:
    """Every running call, and what is parked."""

    def __init__(
        self,
        world: World,
        settings: WorldPart,
        windows: Windows,
        preparing: Preparing,
        ledger: Ledger,
        agenda: Agenda[Item],
    ) -> None:
        """Nothing runs."""
        self._world, self._settings, self._preparing = world, settings, preparing
        self._windows = windows
        self._ledger, self._agenda = ledger, agenda
        self.floorplan = Floorplan()
        self._calls: dict[int, Call] = {}
        self._call_of: dict[SegmentId, int] = {}
        self._parked: dict[SegmentId, Parked] = {}
        self._made = 0

    def call(self, due: Due) -> Call | None:
        """The call that an appointment is for; None where the appointment is void."""
        call = self._calls.get(due.call)
        return call if call is not None and call.version == due.version else None

    def is_idle(self, worker: WorkerId) -> bool:
        """Whether nothing runs or is parked on a worker."""
        return not any(call.worker.id == worker for call in self._calls.values()) and not any(
            one.worker.id == worker for one in self._parked.values()
        )

    # --- begin ------------------------------------------------------------------------------------

    def reserve(self, devices: Sequence[DeviceId], now: float) -> int:
        """Take free devices for a call that is about to begin; its number."""
        self._made += 1
        self.floorplan.take(devices, self._made, now)
        return self._made

    def begin(
        self,
        number: int,
        worker: Worker,
        segments: Sequence[Segment],
        demand: Demand,
        ready_s: float,
    ) -> Worker | None:
        """Begin a call on reserved devices, once its decision is made at `ready_s`.

        Returns:
            The worker as it is now, where it had to load the stage.
        """
        first, job = segments[0], job_of(segments, demand)
        readable = self._preparing.all_readable(job)
        handoff_s = self._preparing.handoff_s(worker, job)
        regroup_s = self._preparing.regroup_s(worker, first.devices, first.strategy, job)
        work_s = ready_s + (handoff_s + regroup_s)
        at_s = ready_s + handoff_s
        work_s += self._windows.open(number, worker, segments, demand, at_s) - at_s
        loads = job.stage not in worker.resident
        if loads:
            work_s += self._preparing.load_s(job.stage)
            worker = self._preparing.loaded(worker, job.stage)
        call = Call(
            number=number,
            worker=worker,
            devices=first.devices,
            strategy=first.strategy,
            job=job,
            effort=self._effort(worker, first.strategy, job) if readable else None,
            work_s=work_s,
            marks={one.id: one.boundary for one in segments if one.boundary is not None},
        )
        self._enter(call, ready_s)
        return worker if loads else None

    def gathering(
        self, worker: Worker, segment: Segment, demand: Demand, ready_s: float
    ) -> Gathering | None:
        """The call that waits for company and that a segment would join; full ones too."""
        found = self._windows.find(worker, segment, demand, ready_s)
        call = None if found is None else self._calls.get(found.number)
        # A call that is about to be rearranged goes as it is.
        return found if call is not None and not call.pending else None

    def join(self, gathering: Gathering, segment: Segment, demand: Demand, ready_s: float) -> None:
        """Add a segment to a call that waits for company."""
        call, goes_s = self._calls[gathering.number], gathering.goes_s
        joining = job_of([segment], demand)
        gathering.add(segment, ready_s + self._preparing.handoff_s(call.worker, joining))
        call.job = replace(call.job, members=(*call.job.members, *joining.members))
        readable = self._preparing.all_readable(call.job)
        call.effort = self._effort(call.worker, call.strategy, call.job) if readable else None
        call.work_s = max(gathering.goes_s, call.work_s + gathering.goes_s - goes_s)
        if segment.boundary is not None:
            call.marks[segment.id] = segment.boundary
        self._call_of[segment.id] = call.number
        self._appoint(call, ready_s)

    def _effort(self, worker: Worker, strategy: Strategy, job: Job) -> Effort | None:
        if not self._world.fits(worker, job.stage, job.shape, strategy, len(job.requests)):
            return None
        return self._world.effort(
            job.stage, job.shape, strategy, worker.fraction_percent, job.requests
        )

    def _enter(self, call: Call, now: float) -> None:
        self._calls[call.number] = call
        for segment in call.job.segments:
            self._call_of[segment] = call.number
        self._appoint(call, now)

    def _appoint(self, call: Call, now: float) -> None:
        """When to look at a call again; older appointments are void."""
        call.version += 1
        call.stop = call.next_stop(now)
        at_s = call.ends_s if call.stop is None else call.step_ends_s(call.stop)
        self._agenda.add(at_s, Rank.WORK, Due(call=call.number, version=call.version))

    # --- change -----------------------------------------------------------------------------------

    def refuse(self, change: Resize | Yield) -> str | None:
        """Why a running segment cannot be changed so; None where it can."""
        number = self._call_of.get(change.segment)
        if number is None:
            return f"segment {change.segment} does not run"
        if isinstance(change, Yield):
            return None
        call = self._calls[number]
        problem = problem_of_group(change.devices, change.strategy, call.worker)
        problem = problem or call.problem_of_claim(change)
        return problem or self.floorplan.problem(change.devices, number)

    def ask(self, change: Resize | Yield, now: float) -> None:
        """Change a segment when its step is done; what it grows into is taken at once."""
        call = self._calls[self._call_of[change.segment]]
        if isinstance(change, Resize):
            self.floorplan.take(change.devices, call.number, now)
            call.claim(change)
        call.pending[change.segment] = change
        self._appoint(call, now)

    def stop(self, call: Call, now: float) -> tuple[SegmentId, ...]:
        """A step is done for which something was asked; whom it concerns, in order.

        Those that asked to be looked at go on. Those with a change leave the call: parked,
        or in a call of their own.
        """
        step = call.stop
        assert step is not None
        marked = [one for one, mark in call.marks.items() if mark <= step]
        for segment in marked:
            del call.marks[segment]
        stopped = tuple(one for one in call.job.segments if one in call.pending or one in marked)
        if call.pending:
            self._part(call, step, now)
        else:
            self._appoint(call, now)
        return stopped

    def _part(self, call: Call, step: int, now: float) -> None:
        """Let those go that asked for a change; the others stay together."""
        self._ledger.worked(call, now)
        del self._calls[call.number]
        staying = tuple(one for one in call.job.members if one[0] not in call.pending)
        for segment, requests in call.job.members:
            change = call.pending.get(segment)
            job = replace(call.job, members=((segment, requests),), done=step)
            if change is not None:
                del self._call_of[segment]
            match change:
                case Yield():
                    self._parked[segment] = Parked(worker=call.worker, job=job)
                case Resize(devices=devices, strategy=strategy):
                    self._made += 1
                    self.floorplan.pass_on(devices, call.number, self._made)
                    self._continue(self._made, call.worker, devices, strategy, job, now, 0.0)
        self.floorplan.free(call.number, now, keep=call.devices if staying else ())
        if staying:
            job = replace(call.job, members=staying, done=step)
            rest = replace(
                call, job=job, effort=self._effort(call.worker, call.strategy, job), work_s=now
            )
            rest.pending, rest.claims = {}, {}
            self._enter(rest, now)

    def _continue(
        self,
        number: int,
        worker: Worker,
        devices: tuple[DeviceId, ...],
        strategy: Strategy,
        job: Job,
        now: float,
        more_s: float,
    ) -> None:
        """Go on with a job in another arrangement, which takes a moment."""
        pause_s = more_s + self._settings.resize_s
        pause_s += self._preparing.regroup_s(worker, devices, strategy, job)
        call = Call(
            number=number,
            worker=worker,
            devices=devices,
            strategy=strategy,
            job=job,
            effort=self._effort(worker, strategy, job),
            work_s=now + pause_s,
        )
        self._enter(call, now)

    def refuse_resume(self, segment: Segment, worker: Worker | None) -> str | None:
        """Why a parked segment cannot go on; None where it can."""
        if segment.id not in self._parked:
            return f"segment {segment.id} did not yield"
        problem = problem_of_segment(segment, worker)
        return problem or self.floorplan.problem(segment.devices)

    def resume(self, segment: Segment, worker: Worker, now: float, ready_s: float) -> Job:
        """Go on with a parked segment, on another worker where the decision says so."""
        parked = self._parked.pop(segment.id)
        number = self.reserve(segment.devices, now)
        more_s = ready_s - now + self._preparing.move_s(parked.worker, worker, parked.job)
        self._continue(number, worker, segment.devices, segment.strategy, parked.job, now, more_s)
        return parked.job

    # --- end --------------------------------------------------------------------------------------

    def finish(self, call: Call, now: float, *, lost: bool = False) -> None:
        """A call is over."""
        self._ledger.worked(call, now, lost=lost)
        self.floorplan.free(call.number, now)
        del self._calls[call.number]
        for segment in call.job.segments:
            del self._call_of[segment]

    def abandon(self, worker: WorkerId, now: float) -> tuple[Job, ...]:
        """A worker is lost with all that ran or was parked on it."""
        lost = [call for call in self._calls.values() if call.worker.id == worker]
        for call in lost:
            self.finish(call, now, lost=True)
        parked = [one for one, job in self._parked.items() if job.worker.id == worker]
        return (*(call.job for call in lost), *(self._parked.pop(one).job for one in parked))
