"""The workers, their device leases, and who has how many devices to spare: what dispatch looks up.

Every decision asks for "a worker of this kind with k devices that nobody runs on". Answered by
looking at all workers, that would cost more than the decision as soon as there are hundreds, so
the answer is kept up to date with every lease. It depends on what is, never on the order in which
it came to be: equal rosters give equal answers.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import (
    ContentDigest,
    DeviceId,
    MemoryDomain,
    PipelineName,
    WorkerId,
)
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.leases import Leases
from tridentserve.planner.scarcity import Scarcity


@dataclass(slots=True, kw_only=True, eq=False)
class Kind:
    """Workers that are alike for dispatch: they differ in name, memory domain and room only.

    One object a kind, compared by identity: it is looked up with every lease. Only `Roster` changes
    it, and of it only who there is and how much room they have.
    """

    pipeline: PipelineName
    digest: ContentDigest
    capable: frozenset[Stage]
    fraction_percent: int
    slots: int
    """Requests of one work key in one call; 0 takes none."""
    concurrent: bool
    strategies: tuple[Strategy, ...]
    widest: Strategy
    """The strategy of the most devices that its workers allow."""
    devices: int
    """Of one worker."""
    rooms: tuple[list[WorkerId], ...]
    """Workers by how many vacant devices they have, each list by name."""
    size: int = 0
    """How many workers there are."""


_Alike = tuple[object, ...]


def _alike(worker: Worker) -> _Alike:
    """What workers of one kind have in common."""
    return (
        worker.pipeline,
        worker.digest,
        worker.capable,
        worker.fraction_percent,
        worker.slots,
        worker.concurrent,
        len(worker.devices),
        worker.strategies,
    )


def _new_kind(worker: Worker) -> Kind:
    fitting = [one for one in worker.strategies if one.degree <= max(1, len(worker.devices))]
    return Kind(
        pipeline=worker.pipeline,
        digest=worker.digest,
        capable=worker.capable,
        fraction_percent=worker.fraction_percent,
        slots=worker.slots,
        concurrent=worker.concurrent,
        strategies=worker.strategies,
        widest=max(fitting, key=lambda one: one.degree, default=SINGLE),
        devices=len(worker.devices),
        rooms=tuple([] for _ in range(len(worker.devices) + 1)),
    )


class Roster:
    """Workers and leases; changed by `State` alone."""

    def __init__(self) -> None:
        """Nobody is there."""
        self._workers: dict[WorkerId, Worker] = {}
        self._view = MappingProxyType(self._workers)
        self._kinds: dict[WorkerId, Kind] = {}
        self._by_likeness: dict[_Alike, Kind] = {}
        self._vacant: dict[WorkerId, int] = {}
        self._leases = Leases()
        self._domains: dict[MemoryDomain, list[WorkerId]] = {}
        self._capable: dict[Stage, tuple[Worker, ...] | None] = dict.fromkeys(STAGES)
        self._by_stage: dict[Stage, tuple[Kind, ...]] = dict.fromkeys(STAGES, ())
        self._kinds_by_stage = tuple(self._by_stage.values())
        self._complete: frozenset[tuple[PipelineName, ContentDigest]] = frozenset()
        self._scarcity = Scarcity()
        self._scarcer: dict[tuple[Kind, Stage], tuple[Stage, ...]] = {}

    # --- workers ----------------------------------------------------------------------------------

    @property
    def workers(self) -> Mapping[WorkerId, Worker]:
        """Every worker that is up, draining ones included."""
        return self._view

    def capable(self, stage: Stage) -> tuple[Worker, ...]:
        """Workers that can be given a stage, in the order in which they came."""
        found = self._capable[stage]
        if found is None:
            found = tuple(
                worker
                for worker in self._workers.values()
                if stage in worker.capable and not worker.draining
            )
            self._capable[stage] = found
        return found

    @property
    def complete(self) -> frozenset[tuple[PipelineName, ContentDigest]]:
        """Contents that have a worker for every stage, draining ones left out."""
        return self._complete

    def put(self, worker: Worker) -> None:
        """A worker is there, or is another than it was."""
        if worker.id in self._workers:
            self._unlist(self._workers[worker.id])
        self._workers[worker.id] = worker
        self._list(worker)

    def remove(self, worker: WorkerId) -> None:
        """A worker is gone; what it leases, its segments give back one by one."""
        known = self._workers.pop(worker, None)
        if known is not None:
            self._unlist(known)

    def drain(self, worker: WorkerId) -> None:
        """A worker gets nothing new."""
        known = self._workers.get(worker)
        if known is not None:
            self.put(replace(known, draining=True))

    def _list(self, worker: Worker) -> None:
        self._leases.held(worker)
        if worker.domain is not None:
            insort(self._domains.setdefault(worker.domain, []), worker.id)
        new = False
        if not worker.draining:
            self._scarcity.add(worker)
            likeness = _alike(worker)
            new = likeness not in self._by_likeness
            kind = self._by_likeness.setdefault(likeness, _new_kind(worker))
            count = self._vacant[worker.id] = len(self._leases.vacant(worker))
            insort(kind.rooms[count], worker.id)
            kind.size += 1
            self._kinds[worker.id] = kind
        self._changed(worker, kinds=new)

    def _unlist(self, worker: Worker) -> None:
        self._leases.given_up(worker)
        if worker.domain is not None:
            _discard(self._domains[worker.domain], worker.id)
        kind = self._kinds.pop(worker.id, None)
        if kind is not None:
            self._scarcity.remove(worker)
            _discard(kind.rooms[self._vacant.pop(worker.id)], worker.id)
            kind.size -= 1
        last = kind is not None and not kind.size
        if last:
            del self._by_likeness[_alike(worker)]
        self._changed(worker, kinds=last)

    def _changed(self, worker: Worker, *, kinds: bool) -> None:
        """Forget what was sorted by stage, and sort the kinds anew where there are others."""
        for stage in worker.capable:
            self._capable[stage] = None
        self._scarcer.clear()
        if not kinds:
            return
        for stage in STAGES:
            self._by_stage[stage] = tuple(
                kind for kind in self._by_likeness.values() if stage in kind.capable
            )
        self._kinds_by_stage = tuple(self._by_stage.values())
        self._complete = frozenset.intersection(
            *(
                frozenset((kind.pipeline, kind.digest) for kind in self._by_stage[stage])
                for stage in STAGES
            )
        )

    # --- leases -----------------------------------------------------------------------------------

    def lessees(self, device: DeviceId) -> frozenset[WorkerId]:
        """Workers whose segments run on a device now."""
        return self._leases.lessees(device)

    def is_leased(self, device: DeviceId, *, besides: WorkerId) -> bool:
        """Whether the segments of another worker run on a device now."""
        return self._leases.is_leased(device, besides=besides)

    def holders(self, device: DeviceId) -> tuple[WorkerId, ...]:
        """Workers that hold a device, in the order in which they came."""
        return self._leases.holders(device)

    @property
    def is_shared(self) -> bool:
        """Whether any device is held by several workers."""
        return self._leases.shared > 0

    def lease(self, devices: Sequence[DeviceId], worker: WorkerId) -> None:
        """A segment of the worker begins to run on these devices."""
        self._recount([one for one in devices if self._leases.lease(one, worker)])

    def release(self, devices: Sequence[DeviceId], worker: WorkerId) -> None:
        """A segment of the worker leaves these devices."""
        self._recount([one for one in devices if self._leases.release(one, worker)])

    def _recount(self, devices: Sequence[DeviceId]) -> None:
        """Who holds any of these devices has another number of vacant ones, perhaps."""
        for holder in dict.fromkeys(one for device in devices for one in self.holders(device)):
            before = self._vacant.get(holder)
            if before is None:
                continue
            count = len(self._leases.vacant(self._workers[holder]))
            if count != before:
                rooms = self._kinds[holder].rooms
                _discard(rooms[before], holder)
                insort(rooms[count], holder)
                self._vacant[holder] = count

    # --- room -------------------------------------------------------------------------------------

    def kinds(self, stage: Stage) -> tuple[Kind, ...]:
        """Kinds of workers that can be given a stage."""
        return self._by_stage[stage]

    @property
    def kinds_by_stage(self) -> tuple[tuple[Kind, ...], ...]:
        """`kinds` of every stage; the same object as long as there are no other kinds."""
        return self._kinds_by_stage

    def kind(self, worker: WorkerId) -> Kind | None:
        """The kind of a worker; None for one that drains or is gone."""
        return self._kinds.get(worker)

    def scarcer(self, kind: Kind, stage: Stage) -> tuple[Stage, ...]:
        """Stages that a kind hosts beside this one and that fewer devices can run, scarcest first.

        Of the devices whose workers have the same content and do not drain.
        """
        known = self._scarcer.get((kind, stage))
        if known is None:
            known = self._scarcity.scarcer(kind.pipeline, kind.digest, kind.capable, stage)
            self._scarcer[kind, stage] = known
        return known

    def loss(self, kind: Kind, stage: Stage) -> float:
        """What a device of a kind is to its scarcest other stage: one of so many that can run it.

        0 where no other stage of the kind is scarcer than the one that would run there.
        """
        scarcer = self.scarcer(kind, stage)
        if not scarcer:
            return 0.0
        return 1.0 / self._scarcity.devices(kind.pipeline, kind.digest, scarcer[0])

    def in_domain(self, domain: MemoryDomain) -> Sequence[WorkerId]:
        """Workers that can share memory through a domain, by name."""
        return self._domains.get(domain, ())

    def vacant(self, worker: WorkerId) -> int:
        """Devices on which a worker could start a call now; 0 for one that drains or is gone."""
        return self._vacant.get(worker, 0)

    def vacant_devices(self, worker: Worker) -> tuple[DeviceId, ...]:
        """The devices that `vacant` counts, in the worker's order."""
        return tuple(self._leases.vacant(worker)) if self.vacant(worker.id) else ()


def _discard(names: list[WorkerId], name: WorkerId) -> None:
    del names[bisect_left(names, name)]
