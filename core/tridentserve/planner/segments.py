"""The segments that run or were parked, what is decided about them, and the devices they lease.

A part of `State`, which alone changes it. It knows workers and devices, and of requests only that a
segment ends with the last of them.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from tridentserve.domain.dispatch import Resize, Segment, Yield
from tridentserve.domain.ids import RequestId, SegmentId, WorkerId
from tridentserve.planner.roster import Roster


class Segments:
    """Segments by worker; readable by all, changed by `State` alone."""

    def __init__(self, roster: Roster) -> None:
        """Nothing runs.

        Args:
            roster: whose devices segments lease.
        """
        self._roster = roster
        self._running: dict[SegmentId, Segment] = {}
        self._by_worker: dict[WorkerId, tuple[Segment, ...]] = {}
        self._parked: dict[SegmentId, Segment] = {}
        self._pending: dict[SegmentId, Resize | Yield] = {}

    def on(self, worker: WorkerId) -> tuple[Segment, ...]:
        """Segments that run on a worker; the same object until anything changes there."""
        return self._by_worker.get(worker, ())

    @property
    def parked(self) -> Mapping[SegmentId, Segment]:
        """Segments that yielded: they keep their state on their worker, and hold no device."""
        return MappingProxyType(self._parked)

    def pending(self, segment: SegmentId) -> Resize | Yield | None:
        """What is to happen to a running segment at its next boundary."""
        return self._pending.get(segment)

    def host(self, segment: SegmentId) -> WorkerId | None:
        """The worker of a segment that runs or is parked."""
        known = self._running.get(segment) or self._parked.get(segment)
        return None if known is None else known.worker

    def free_slots(self, worker: WorkerId) -> int:
        """How many more requests a worker takes; 0 for one that drains or is gone."""
        known = self._roster.workers.get(worker)
        if known is None or known.draining:
            return 0
        return max(0, known.seats - sum(len(segment.requests) for segment in self.on(worker)))

    # --- changes: each checks first, so that what raises has changed nothing ----------------------

    def check_room(self, segment: Segment) -> None:
        """Raise `ValueError` where a segment cannot run now on its worker and devices."""
        if self.free_slots(segment.worker) < len(segment.requests):
            raise ValueError(f"worker {segment.worker} has no free slot for {segment.id}")
        self._check_leases(segment)

    def hold(self, segment: Segment) -> None:
        """A segment runs."""
        self._running[segment.id] = segment
        self._by_worker[segment.worker] = (*self.on(segment.worker), segment)
        self._roster.lease(segment.devices, segment.worker)

    def resume(self, segment: Segment) -> None:
        """A parked segment goes on."""
        if segment.id not in self._parked:
            raise ValueError(f"segment {segment.id} did not yield")
        self.check_room(segment)
        del self._parked[segment.id]
        self.hold(segment)

    def resize(self, change: Resize) -> None:
        """Lease what it grows into at once; what it leaves is free from its next boundary on."""
        segment = self._known(change.segment)
        more = tuple(device for device in change.devices if device not in segment.devices)
        self._check_leases(replace(segment, devices=more))
        self._drop(segment)
        self.hold(replace(segment, devices=segment.devices + more))
        self._pending[change.segment] = change

    def ask_to_yield(self, change: Yield) -> None:
        """A segment gives its devices back at its next boundary."""
        self._known(change.segment)
        self._pending[change.segment] = change

    def step(self, name: SegmentId, step: int) -> None:
        """Move the cursors; a decision that waited for this boundary takes effect."""
        segment = self._running.get(name)
        if segment is None:
            return  # the last words of a segment that is gone say nothing about the state
        moved = replace(
            segment, requests=tuple(replace(cursor, step=step) for cursor in segment.requests)
        )
        match self._pending.pop(name, None):
            case None:
                self._running[name] = moved
                self._by_worker[segment.worker] = tuple(
                    moved if one is segment else one for one in self.on(segment.worker)
                )
            case Resize() as change:
                self._drop(segment)
                self.hold(
                    replace(
                        moved,
                        devices=change.devices,
                        strategy=change.strategy,
                        epoch=change.epoch,
                    )
                )
            case Yield() as change:
                self._drop(segment)
                self._parked[name] = replace(moved, devices=(), epoch=change.epoch)

    def leave(self, name: SegmentId, request: RequestId) -> None:
        """Take a request out of its segment; the segment ends with its last request."""
        parked = self._parked.pop(name, None)
        segment = parked or self._known(name)
        if parked is None:
            self._drop(segment)
        left = tuple(cursor for cursor in segment.requests if cursor.request != request)
        if not left:
            self._pending.pop(name, None)
        elif parked is None:
            self.hold(replace(segment, requests=left))
        else:
            self._parked[name] = replace(segment, requests=left)

    def _known(self, name: SegmentId) -> Segment:
        segment = self._running.get(name)
        if segment is None:
            raise ValueError(f"segment {name} does not run")
        return segment

    def _check_leases(self, segment: Segment) -> None:
        worker = self._roster.workers.get(segment.worker)
        if worker is None or worker.isolated:
            return
        for device in segment.devices:
            if self._roster.is_leased(device, besides=segment.worker):
                raise ValueError(f"device {device} is leased, {segment.id} cannot use it")

    def _drop(self, segment: Segment) -> None:
        """Take a running segment off its worker and its devices."""
        del self._running[segment.id]
        left = tuple(one for one in self._by_worker[segment.worker] if one is not segment)
        if left:
            self._by_worker[segment.worker] = left
        else:
            del self._by_worker[segment.worker]
        self._roster.release(segment.devices, segment.worker)
