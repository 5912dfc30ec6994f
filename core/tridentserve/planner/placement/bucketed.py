"""Devices partitioned into buckets by degree: the paper's baselines B2 and B5 (section 2.5).

| | pools | a class runs |
| --- | --- | --- |
| `Bucketed` (B2) | workers of all stages, with 1, 2, 4, 8 devices | whole, in the bucket of its k* |
| `BucketedStages` (B5) | diffuse workers by degree; encode and decode on single devices | diffuse in the bucket of its k* |

Buckets are sized by the device-seconds of their classes. A pipeline-level bucket holds all devices
of a worker while any stage runs, so there encode and decode cost as many devices as diffuse. Flows
say which class belongs where; a class that fits no bucket by memory is named and has none.

They are sized once, by the load of the first look: a partition that followed every tremble of the
load would be no baseline for one that decides when to change.
"""  # noqa: E501 - a table

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.plans import Flow, PlacementPlan, PoolShape, Reason
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.placement.buckets import Bucket, share_out
from tridentserve.planner.placement.survey import Survey, Traffic, held, standing, survey
from tridentserve.planner.placement.ways import Way, efficient
from tridentserve.planner.projection import PlacementType, project
from tridentserve.planner.protocols import PlacementInputs


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """One stage of one class in its bucket."""

    traffic: Traffic
    way: Way
    type: PlacementType
    size: int
    work: float


Seats = Callable[[Survey, Traffic, int], tuple[_Seat, ...]]
"""Where the stages of a class run, on workers of so many devices at most."""


class Bucketed:
    """Whole pipelines on workers of 1, 2, 4 and 8 devices, by class (B2)."""

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """Buckets for the load of the first look, whatever it is later."""
        seen = survey(inputs)
        if seen is None:
            return held(inputs)
        return standing(inputs, seen) or _first(seen, _whole)


class BucketedStages:
    """Diffuse on workers by degree, encode and decode on devices of their own (B5)."""

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """Buckets for the load of the first look, whatever it is later."""
        seen = survey(inputs)
        if seen is None:
            return held(inputs)
        return standing(inputs, seen) or _first(seen, _apart)


def _first(seen: Survey, seats: Seats) -> PlacementPlan:
    """Buckets of all degrees; of smaller ones only where a stage gets no worker otherwise."""
    most = seen.largest
    while True:
        plan = _planned(seen, [seats(seen, one, most) for one in seen.traffic])
        if most == 1 or all(plan.workers(stage) for stage in STAGES):
            return plan
        most //= 2


def _whole(seen: Survey, traffic: Traffic, most: int) -> tuple[_Seat, ...]:
    """All stages on the devices that diffuse has; nothing where one does not fit."""
    kind = PlacementType.EDC
    chosen = {stage: _chosen(seen, traffic, stage, kind, most) for stage in STAGES}
    ways = [way for way in chosen.values() if way is not None]
    main = chosen[Stage.DIFFUSE]
    if main is None or len(ways) < len(STAGES):
        return ()
    size = main.degree
    rate = traffic.rate.arrivals_per_s
    return tuple(
        _Seat(traffic=traffic, way=way, type=kind, size=size, work=rate * way.seconds * size)
        for way in ways
        if way.degree <= size
    )


def _apart(seen: Survey, traffic: Traffic, most: int) -> tuple[_Seat, ...]:
    """Every stage on a worker of its own; nothing where one does not fit."""
    seats = []
    for stage in STAGES:
        kind = PlacementType((stage,))
        way = _chosen(seen, traffic, stage, kind, most)
        if way is None:
            return ()
        work = traffic.rate.arrivals_per_s * way.work_s
        seats.append(_Seat(traffic=traffic, way=way, type=kind, size=way.degree, work=work))
    return tuple(seats)


def _chosen(
    seen: Survey, traffic: Traffic, stage: Stage, kind: PlacementType, most: int
) -> Way | None:
    """Diffuse at k*, the others on the fewest devices, of what fits."""
    fitting = [
        way
        for way in traffic.of(stage)
        if way.batch == 1 and way.degree <= most and seen.fits(kind, way)
    ]
    if stage is Stage.DIFFUSE:
        return efficient(fitting)
    return min(fitting, key=lambda way: way.degree, default=None)


def _planned(seen: Survey, found: Sequence[tuple[_Seat, ...]]) -> PlacementPlan:
    seats = [seat for one in found for seat in one]
    works: dict[tuple[PlacementType, int], float] = {}
    for seat in seats:
        key = (seat.type, seat.size)
        works[key] = works.get(key, 0.0) + seat.work
    buckets = [Bucket(type=kind, size=size, work=works[kind, size]) for kind, size in sorted(works)]
    projection = project(share_out(buckets, seen.grounds), seen.capacity, (Sharing.EXCLUSIVE,))
    there = {pool.shape for pool in projection.pools}
    flows = [flow for flow in map(_flow, seats) if flow.pool in there]
    reasons = [
        Reason(
            code="Bucket",
            message=f"{bucket.type.name} of {bucket.size}: {bucket.work:.3g} devices of work",
        )
        for bucket in buckets
    ]
    homeless = [traffic.label for traffic, one in zip(seen.traffic, found, strict=True) if not one]
    if homeless:
        message = f"no bucket holds {', '.join(homeless)}"
        reasons.append(Reason(code="DoesNotFit", message=message))
    return PlacementPlan(
        pools=projection.pools,
        reasons=tuple(reasons),
        limited=bool(homeless) or len(flows) < len(seats),
        flows=tuple(dict.fromkeys(flows)),
        mode=projection.mode,
    )


def _flow(seat: _Seat) -> Flow:
    shape = PoolShape(stages=seat.type.stages, devices=seat.size, fraction_percent=100)
    return Flow(
        shape=seat.traffic.rate.shape,
        steps=seat.traffic.rate.steps,
        stage=seat.way.stage,
        pool=shape,
        strategy=seat.way.strategy,
    )
