"""Requests that nobody could ever take: one of their stages needs more memory than any pool has.

Dispatch gives no stage to workers whose memory is too small for it, and so such a request would
wait without a word until its deadline, or for ever. Drivers ask here when a request arrives, and
about those that wait whenever plan or workers have changed, and refuse it in words.

A pool of the plan that is not up yet counts by its shape, as though its workers could do whatever
the costs know of; one that is up counts as what its workers are. So a request that only waits for
workers to come waits on, and so does one for which no pool is planned at all: the plan may not be
complete. Where the profile states no memory, or no peak of the stage, everything fits.

It could surprise that a later plan might have held what was refused under this one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tridentserve.domain.ids import RequestId
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage, stages_label
from tridentserve.domain.strategy import Strategy
from tridentserve.domain.work import pictures
from tridentserve.planner.cost import CostModel
from tridentserve.planner.memory import held
from tridentserve.planner.placement.budget import shape_of
from tridentserve.planner.roster import Roster
from tridentserve.planner.state import State

_GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """A stage of a shape that no pool has the memory for."""

    stage: Stage
    shape: Shape
    pictures: int
    """Of the request that a call of the stage makes."""
    pool: str
    """The pool that lacks the least, as `decode@100`."""
    needed_bytes: int
    """Of each of its devices, weights included, by the strategy that needs the least."""
    usable_bytes: int
    """What each of its devices has for weights and peaks."""

    def __str__(self) -> str:
        """For people, without a full stop."""
        size = f"{self.shape.height} x {self.shape.width}"
        if self.shape.frames > 1:
            size += f" x {self.shape.frames} frames"
        if self.pictures > 1:
            size = f"{self.pictures} times {size}"
        return (
            f"{self.stage} of {size} needs {self.needed_bytes / _GB:.2f} GB of every device,"
            f" weights included; the largest pool that hosts it, {self.pool}, has"
            f" {self.usable_bytes / _GB:.2f} GB"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """Workers that are alike, there or planned."""

    stages: frozenset[Stage]
    devices: int
    fraction_percent: int
    strategies: tuple[Strategy, ...]

    @property
    def label(self) -> str:
        return f"{stages_label(self.stages)}@{self.fraction_percent}"


def pools_of(spec: PipelineSpec) -> tuple[PoolShape, ...]:
    """Every pool that plans of a pipeline may have, whose stages all have workers of their own."""
    return tuple(
        shape_of(stage, fraction_percent)
        for stage in spec.stages
        for fraction_percent in stage.fractions_percent
    )


def misfit(
    cost: CostModel,
    roster: Roster,
    pools: Iterable[PoolShape],
    shape: Shape,
    first: Stage = Stage.ENCODE,
    *,
    count: int = 1,
) -> Misfit | None:
    """The first stage of a request that nobody could ever run; None where all can be.

    Args:
        cost: knows weights, peaks and the memory of a device.
        roster: workers that are up.
        pools: of the plan.
        shape: of the request.
        first: the stage that it waits for; those before it are done.
        count: pictures that it asks for.
    """
    usable, pools = cost.profile.usable_bytes, tuple(pools)
    if not usable:
        return None
    for stage in STAGES[STAGES.index(first) :]:
        batch = pictures(stage, count)
        needs = [
            (_needed_bytes(cost, host, stage, shape, batch), host.label)
            for host in _hosts(cost, roster, pools, stage, shape)
        ]
        if needs and min(needs)[0] > usable:
            needed, label = min(needs)
            return Misfit(
                stage=stage,
                shape=shape,
                pictures=batch,
                pool=label,
                needed_bytes=needed,
                usable_bytes=usable,
            )
    return None


def misfits(
    cost: CostModel, state: State, pools: Iterable[PoolShape]
) -> list[tuple[RequestId, Misfit]]:
    """Requests that wait in vain, each with the stage that is in its way."""
    if not cost.profile.usable_bytes:
        return []
    pools = tuple(pools)
    answers: dict[tuple[Stage, Shape, int], Misfit | None] = {}
    found = []
    for stage in STAGES:
        for journey in state.waiting(stage):
            demand = journey.demand
            key = (stage, demand.shape, demand.count)
            if key not in answers:
                answers[key] = misfit(
                    cost, state.roster, pools, demand.shape, stage, count=demand.count
                )
            answer = answers[key]
            if answer is not None:
                found.append((journey.demand.id, answer))
    return found


def _hosts(
    cost: CostModel, roster: Roster, pools: Iterable[PoolShape], stage: Stage, shape: Shape
) -> Iterator[_Host]:
    known, there = cost.strategies(stage, shape), set()
    for kind in roster.kinds(stage):
        there.add((kind.capable, kind.devices, kind.fraction_percent))
        yield _Host(
            stages=kind.capable,
            devices=kind.devices,
            fraction_percent=kind.fraction_percent,
            strategies=tuple(one for one in kind.strategies if one in known),
        )
    for pool in pools:
        stages, devices = frozenset(pool.stages), max(1, pool.devices)
        if stage in stages and (stages, devices, pool.fraction_percent) not in there:
            yield _Host(
                stages=stages,
                devices=devices,
                fraction_percent=pool.fraction_percent,
                strategies=known,
            )


def _needed_bytes(cost: CostModel, host: _Host, stage: Stage, shape: Shape, batch: int) -> int:
    """Bytes of each device for a call of one request; 0 where its peak is not known."""
    estimates = (
        cost.estimate(stage, shape, 1, host.fraction_percent, batch, strategy=strategy)
        for strategy in host.strategies
        if strategy.degree <= host.devices
    )
    peaks = [one.peak_bytes for one in estimates if one is not None]
    if not peaks:
        return 0
    weights = (cost.profile.weights(one) for one in held(cost.profile, host.stages, stage))
    return sum(weights) + min(peaks)
