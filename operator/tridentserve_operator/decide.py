"""One look at one pipeline: which plan is in force, what to do next, when to look again. Pure.

Memory is a value that goes in and comes out. Losing it (a restart) loses no plan: that is read
back from what was written to the status, or else from the Deployments, and nothing shrinks before
the load is known and a stabilisation window has passed.
"""

from dataclasses import dataclass, replace

from tridentserve.domain.cluster import Cluster
from tridentserve.domain.ids import Revision
from tridentserve.domain.load import Load
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape, Reason
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import Stage
from tridentserve.manifest.status import Status
from tridentserve.planner import scaling, transitions
from tridentserve.planner.cost import CostModel
from tridentserve.planner.placement.budget import shape_of
from tridentserve.planner.pools import (
    NO_MEMORY,
    Attempt,
    Patience,
    PoolState,
    Room,
    Step,
    TransitionMemory,
    Wait,
)
from tridentserve.planner.protocols import PlacementInputs
from tridentserve.planner.registry import placement_planner
from tridentserve.planner.scaling import ScalingMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one look leaves for the next."""

    plan: PlacementPlan | None = None
    """In force; None before the first look, and while suspended."""
    spec: PipelineSpec | None = None
    """That the plan was made for: another one is looked at, at once."""
    profile: Profile | None = None
    """Likewise."""
    planned_s: float = 0.0
    """When the planner was asked last."""
    scaling: ScalingMemory = scaling.NO_MEMORY
    transition: TransitionMemory = NO_MEMORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from a look."""

    plan: PlacementPlan
    steps: tuple[Step, ...]
    memory: Memory
    next_look_s: float
    """Unix time at which to look again, if nothing happens before."""
    changed: bool
    """Whether the plan differs from the one before, the first one of all left out."""

    @property
    def settled(self) -> bool:
        """Whether observed and planned agree, so that nothing is to be done."""
        return not self.steps


def decide(
    spec: PipelineSpec,
    revision: Revision,
    pools: tuple[PoolState, ...],
    load: Load,
    memory: Memory,
    *,
    cost: CostModel | None,
    status: Status,
    patience: Patience,
    now: float,
) -> Decision:
    """Ask the planner where its interval has passed, bound its answer, and derive the next steps.

    Args:
        spec: what the user wants.
        revision: of the pods that it wants.
        pools: every pool that is there, whatever its revision.
        load: as Prometheus has it.
        memory: of the last look.
        cost: of the profile that the pipeline names; None where nothing is known of it.
        status: as the resource carries it: after a restart it holds the plan in force.
        patience: deadlines of steps.
        now: Unix time.
    """
    known = memory.plan is not None
    previous = memory.plan if memory.plan is not None else restored(spec, status, pools)
    due = (
        memory.plan is None
        or memory.spec != spec
        or memory.profile != _profile(cost)
        or now >= memory.planned_s + spec.interval_s
        or now < memory.planned_s
    )
    if due:
        memory = _planned(spec, revision, previous, load, memory, cost, now)
    plan = memory.plan or previous
    assert plan is not None
    room = Room(gpu_percent=spec.gpu_limit_percent)
    remembered = memory.transition if known else _undone(status, pools, now, patience)
    steps, transition = transitions.next_steps(
        pools, plan, revision, room, remembered, now, patience
    )
    waits = [step.until_s for step in steps if isinstance(step, Wait)]
    return Decision(
        plan=plan,
        steps=steps,
        memory=replace(memory, transition=transition),
        next_look_s=min([memory.planned_s + spec.interval_s, *waits]),
        changed=previous is not None and previous.id != plan.id,
    )


def _profile(cost: CostModel | None) -> Profile | None:
    return None if cost is None else cost.profile


def _planned(
    spec: PipelineSpec,
    revision: Revision,
    previous: PlacementPlan | None,
    load: Load,
    memory: Memory,
    cost: CostModel | None,
    now: float,
) -> Memory:
    inputs = PlacementInputs(
        spec=spec,
        load=load,
        cluster=Cluster(),
        previous=previous if previous is not None and previous.pools else None,
        profile=_profile(cost),
        infeasible=tuple(one for one in memory.transition.infeasible if one.revision == revision),
        now=now,
        cost=cost,
    )
    wanted = placement_planner(spec.placement).plan(inputs)
    plan, after = scaling.bound(spec, wanted, inputs.previous, memory.scaling, load, now)
    if previous is not None and previous.id == plan.id and previous.reasons:
        # The reasons of a plan are those for which it was made. Those of today hold the figures of
        # today, and would rewrite the status of every pipeline every few seconds.
        plan = replace(plan, reasons=previous.reasons)
    return replace(
        memory, plan=plan, spec=spec, profile=inputs.profile, planned_s=now, scaling=after
    )


def restored(
    spec: PipelineSpec, status: Status, pools: tuple[PoolState, ...]
) -> PlacementPlan | None:
    """The plan in force before a restart; None where there never was one.

    The status says it exactly, the hash in it that it was not tampered with. Without one the
    Deployments tell: every revision of a stage counts, because a transition without room has
    workers of two revisions that only together are the plan's.
    """
    written = _written(spec, status)
    if written is not None:
        return written
    counted = tuple(
        plan for stage in spec.stages if (plan := _deployed(stage.stage, pools)) is not None
    )
    if len(counted) < len(spec.stages):
        return None
    limits = {stage.stage: stage.max_replicas for stage in spec.stages}
    return PlacementPlan(
        pools=tuple(
            replace(pool, workers=min(pool.workers, limits[pool.shape.stages[0]]))
            for pool in counted
        ),
        reasons=(Reason(code="Restored", message="read back from the Deployments that are there"),),
    )


def _undone(
    status: Status, pools: tuple[PoolState, ...], now: float, patience: Patience
) -> TransitionMemory:
    """What a restart must not forget: for which pools the last workers are not taken away again."""
    gave_up = {
        (stage.name, pool.revision, pool.fraction_percent)
        for stage in status.stages
        for pool in stage.pools
        if pool.gave_up
    }
    attempts = (
        Attempt(
            pool=pool.key,
            routable=pool.routable,
            since_s=now,
            failed_until_s=now + patience.retry_s,
            gave_up=True,
        )
        for pool in pools
        if any(
            (stage, pool.key.revision, pool.key.shape.fraction_percent) in gave_up
            for stage in pool.key.stages
        )
    )
    return TransitionMemory(attempts=tuple(attempts))


def _written(spec: PipelineSpec, status: Status) -> PlacementPlan | None:
    if status.plan is None:
        return None
    pools = tuple(
        PoolPlan(
            shape=shape_of(spec.stage(stage.name), stage.fraction_percent), workers=stage.desired
        )
        for stage in status.stages
        if stage.fraction_percent is not None and stage.desired
    )
    reasons = tuple(
        Reason(code=reason.code, message=reason.message, stage=reason.stage)
        for reason in status.plan.reasons
    )
    plan = PlacementPlan(pools=pools, reasons=reasons)
    if plan.id != status.plan.id or len(pools) < len(spec.stages):
        return None
    return plan


def _deployed(stage: Stage, pools: tuple[PoolState, ...]) -> PoolPlan | None:
    workers: dict[PoolShape, int] = {}
    for pool in pools:
        if stage in pool.key.shape.stages and pool.desired:
            shape = pool.key.shape
            workers[shape] = workers.get(shape, 0) + pool.desired
    if not workers:
        return None
    shape = max(workers, key=lambda one: (workers[one] * one.fraction_percent, one))
    return PoolPlan(shape=shape, workers=workers[shape])
