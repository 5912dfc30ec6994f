"""How fast a plan may follow the load: the discipline between what is wanted and what is done.

The words and the meaning are those of the HorizontalPodAutoscaler's `behavior`; what is compared
is *capacity*, workers x fraction x devices, since a stage changes by both.

| rule | |
| --- | --- |
| suspended | no workers, at once |
| unknown load | hold: nothing grows, nothing shrinks |
| specification | `replicas.min`, `.max` and the list of fractions hold at once, whatever the load |
| tolerance | a change that is no larger than this share of what there is, is left alone |
| stabilisation | up: the least that was wanted within the window; down: the most |
| policies | within a period so many workers or percent at most, whichever is more |
| fraction | changes once the whole window wanted it, and once a window and period (dwell) |
| exchange | what one stage gains in devices, others that want fewer give up at once, whatever |
| | their windows say: moving a device is no shrinkage; each gives once a period at most |
| budget | growth beyond `gpuLimitPercent` is cut |

A plan that does not follow the load (`PlacementPlan.follows_load`) is only held to the
specification. What is remembered is small, frozen and bounded by the longest window; where it was
lost, the plan in force counts as wanted just now, so nothing shrinks before a window has passed.
Pools that host several stages, several pools of one stage, and workers that are placed on nodes
are taken as they are wanted while the load is known, and held while it is not: planners that make
such plans smooth, dwell and weigh a change themselves, since half a change of theirs is no plan.
"""

from dataclasses import dataclass, replace

from tridentserve.domain.load import Load
from tridentserve.domain.pipeline import PipelineSpec, StageSpec
from tridentserve.domain.plans import PlacementPlan, PoolPlan, Reason
from tridentserve.domain.stages import Stage
from tridentserve.planner.placement.budget import cut_to_budget, gpu_percent, shape_of
from tridentserve.planner.stabilization import (
    Change,
    Size,
    StageMemory,
    next_size,
    remember,
    within,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingMemory:
    """What the discipline remembers between two looks; losing it shrinks nothing early."""

    stages: tuple[StageMemory, ...] = ()

    def of(self, stage: Stage) -> StageMemory:
        """What one stage remembers."""
        return next(
            (memory for memory in self.stages if memory.stage is stage), StageMemory(stage=stage)
        )


NO_MEMORY = ScalingMemory()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """One stage on its way from what is to what will be."""

    spec: StageSpec
    was_percent: int | None
    """Fraction before; None where there was no worker."""
    current: Size
    """What there is, as far as the specification allows it."""
    wanted: Size
    size: Size
    memory: StageMemory
    reasons: tuple[Reason, ...] = ()

    @property
    def gain_percent(self) -> int:
        """Devices that it gains, in percent of one; negative where it gives some up."""
        if not self.spec.devices_per_worker:
            return 0
        return self.size.capacity_percent - self.current.capacity_percent


def bound(
    spec: PipelineSpec,
    wanted: PlacementPlan,
    previous: PlacementPlan | None,
    memory: ScalingMemory,
    load: Load,
    now: float,
) -> tuple[PlacementPlan, ScalingMemory]:
    """The plan to put in force now, and the memory for the next look.

    Args:
        spec: the pipeline as its user wants it by now.
        wanted: what the placement planner answers.
        previous: the plan in force; None where there is none.
        memory: of the last look; `NO_MEMORY` at first.
        load: what `wanted` was made from.
        now: in Unix time.
    """
    if spec.suspend:
        reason = Reason(code="Suspended", message="spec.suspend is true: no workers")
        return PlacementPlan(pools=(), reasons=(reason,), follows_load=False), NO_MEMORY
    known = load.arrivals_per_s is not None
    if not wanted.follows_load:
        return cut_to_budget(wanted, spec), NO_MEMORY
    if not _one_pool_a_stage(wanted):
        if not known and previous is not None and previous.pools:
            wanted = replace(previous, reasons=wanted.reasons)
        return cut_to_budget(wanted, spec), NO_MEMORY
    decisions = [
        _decide(spec, stage, wanted, previous, memory.of(stage.stage), known, now)
        for stage in spec.stages
    ]
    decisions, cut = _cut_growth(spec, _exchange(spec, decisions, now))
    plan = PlacementPlan(
        pools=tuple(_pool(decision) for decision in decisions),
        reasons=(
            *wanted.reasons,
            *(reason for decision in decisions for reason in decision.reasons),
            *cut,
        ),
        limited=wanted.limited or bool(cut) or any(_is_limited(decision) for decision in decisions),
        prices=wanted.prices,
    )
    after = tuple(_recorded(decision, now) for decision in decisions)
    return cut_to_budget(plan, spec), ScalingMemory(stages=after)


def _one_pool_a_stage(plan: PlacementPlan) -> bool:
    hosted = [stage for pool in plan.pools for stage in pool.shape.stages]
    placed = any(pool.nodes for pool in plan.pools)
    return not placed and len(hosted) == len(set(hosted)) == len(plan.pools)


def _decide(
    spec: PipelineSpec,
    stage: StageSpec,
    wanted: PlacementPlan,
    previous: PlacementPlan | None,
    memory: StageMemory,
    known: bool,
    now: float,
) -> _Decision:
    """What becomes of one stage, looked at alone."""
    found = _size(wanted, stage) or Size(
        workers=stage.min_replicas,
        fraction_percent=stage.fractions_percent[-1],
        devices=stage.devices_per_worker,
    )
    wish = within(stage, found)
    before = None if previous is None else _size(previous, stage)
    if before is None:
        started = StageMemory(stage=stage.stage)
        started = remember(started, spec.behavior, wish, wish, now)
        return _Decision(
            spec=stage, was_percent=None, current=wish, wanted=wish, size=wish, memory=started
        )
    current = within(stage, before)
    # Not to know counts as a wish for what there is: a window must pass again before it shrinks.
    wish = wish if known else current
    memory = remember(memory, spec.behavior, wish, current, now)
    size, reasons = next_size(stage, spec.behavior, current, memory, now)
    if not known:
        size, reasons = current, ()
    return _Decision(
        spec=stage,
        was_percent=before.fraction_percent,
        current=current,
        wanted=wish,
        size=size,
        memory=memory,
        reasons=reasons,
    )


def _size(plan: PlacementPlan, stage: StageSpec) -> Size | None:
    """A stage's size in a plan; of several pools, their capacity at the largest one's fraction."""
    pools = [pool for pool in plan.pools if stage.stage in pool.shape.stages and pool.workers]
    sizes = [
        Size(
            workers=pool.workers,
            fraction_percent=pool.shape.fraction_percent,
            devices=pool.shape.devices,
        )
        for pool in pools
    ]
    if not sizes:
        return None
    main = max(sizes, key=lambda size: (size.capacity_percent, size.fraction_percent))
    capacity = sum(size.capacity_percent for size in sizes)
    return replace(main, workers=-(-capacity // main.unit_percent))


def _exchange(spec: PipelineSpec, decisions: list[_Decision], now: float) -> list[_Decision]:
    """Let stages that want fewer devices give up at once as many as the others gain."""
    gained = sum(decision.gain_percent for decision in decisions)
    result = []
    for decision in decisions:
        given = _given(spec, decision, gained, now)
        if given:
            gained -= given * decision.size.unit_percent
            size = replace(decision.size, workers=decision.size.workers - given)
            message = f"{size.words}: {given} given up for stages that need devices"
            reason = Reason(code="DevicesExchanged", message=message, stage=decision.spec.stage)
            kept = tuple(one for one in decision.reasons if not one.code.startswith("ScaleDown"))
            decision = replace(
                decision,
                size=size,
                reasons=(*kept, reason),
                memory=replace(decision.memory, gave_s=now),
            )
        result.append(decision)
    return result


def _given(spec: PipelineSpec, decision: _Decision, gained: int, now: float) -> int:
    """Workers that a stage can give up: those it does not want, worth no more than is gained."""
    latest = decision.memory.recommendations[-1]
    surplus = decision.size.capacity_percent - latest.capacity_percent
    if not decision.spec.devices_per_worker or decision.gain_percent > 0 or surplus <= 0:
        return 0
    gave_s = decision.memory.gave_s
    if gave_s is not None and now - gave_s < spec.behavior.scale_down.period_s:
        return 0
    unit = decision.size.unit_percent
    spare = decision.size.workers - decision.spec.min_replicas
    return max(0, min(gained // unit, surplus // unit, spare))


def _cut_growth(
    spec: PipelineSpec, decisions: list[_Decision]
) -> tuple[list[_Decision], tuple[Reason, ...]]:
    """Take growth back, fairly, until the budget holds, and say so."""
    limit = spec.gpu_limit_percent
    message = f"growth cut: gpuLimitPercent is {limit}"
    result = list(decisions)
    cut: tuple[Reason, ...] = ()
    while True:
        excess = gpu_percent(_plan_of(result)) - limit
        growing = [
            index
            for index, decision in enumerate(result)
            if decision.gain_percent >= decision.size.unit_percent
            and decision.size.workers > decision.spec.min_replicas
        ]
        if excess <= 0 or not growing:
            return result, cut
        index = max(growing, key=lambda one: (result[one].gain_percent, -one))
        size = result[index].size
        result[index] = replace(result[index], size=replace(size, workers=size.workers - 1))
        cut = (Reason(code="GpuLimit", message=message),)


def _plan_of(decisions: list[_Decision]) -> PlacementPlan:
    return PlacementPlan(pools=tuple(_pool(decision) for decision in decisions), reasons=())


def _pool(decision: _Decision) -> PoolPlan:
    return PoolPlan(
        shape=shape_of(decision.spec, decision.size.fraction_percent),
        workers=decision.size.workers,
    )


def _is_limited(decision: _Decision) -> bool:
    return any(reason.code == "ScaleUpLimit" for reason in decision.reasons)


def _recorded(decision: _Decision, now: float) -> StageMemory:
    """The memory with what was done."""
    memory = decision.memory
    if decision.was_percent not in (None, decision.size.fraction_percent):
        memory = replace(memory, fraction_changed_s=now)
    added = decision.size.capacity_percent - decision.current.capacity_percent
    if not added:
        return memory
    change = Change(at_s=now, capacity_percent=added)
    return replace(memory, changes=(*memory.changes, change))
