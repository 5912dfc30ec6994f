"""What the resource says about itself: stages, plan, conditions, the last failure. Pure."""

from collections.abc import Collection

from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.manifest.base import Object
from tridentserve.manifest.status import (
    LastFailure,
    PlanReason,
    PlanStatus,
    PoolStatus,
    StageStatus,
    Status,
)
from tridentserve_operator.conditions import Facts, blocked, conditions
from tridentserve_operator.observe import Observation, pool_key
from tridentserve_operator.problems import Problem

_LIMIT = 4096
_LAST_FAILURE_LIMIT = 1000


def new_status(old: Status, generation: int | None, facts: Facts, now: float) -> Status:
    """The status after a look; equal to the old one where nothing happened."""
    return Status(
        observed_generation=generation,
        url=facts.url,
        revision=facts.revision,
        conditions=conditions(old.conditions, facts, generation, now),
        stages=tuple(_planned_stage(stage, facts) for stage in STAGES),
        plan=_plan(old.plan, facts.decision.plan),
        last_failure=_last_failure(facts.observed) or old.last_failure,
    )


def readable(body: Object) -> Status:
    """The status in an object as the API server has it; an empty one where it is nonsense."""
    try:
        return Status.model_validate(body.get("status") or {})
    except ValueError:
        return Status()


def blocked_status(
    old: Status, generation: int | None, problem: Problem, observed: Observation, now: float
) -> Status:
    """The status of a pipeline that cannot be worked on: the plan stays, whatever is left of it."""
    return old.model_copy(
        update={
            "observed_generation": generation,
            "conditions": blocked(old.conditions, problem, observed, generation, now),
            "stages": tuple(
                _stage(
                    one.name,
                    one.desired,
                    one.fraction_percent,
                    observed,
                    gave_up={pool.name for pool in one.pools if pool.gave_up},
                )
                for one in old.stages
            ),
        }
    )


def _planned_stage(stage: Stage, facts: Facts) -> StageStatus:
    plan = facts.decision.plan
    fractions = [pool.shape.fraction_percent for pool in plan.pools if stage in pool.shape.stages]
    undone = {one.pool for one in facts.decision.memory.transition.attempts if one.gave_up}
    return _stage(
        stage,
        plan.workers(stage),
        fractions[0] if fractions else None,
        facts.observed,
        gave_up={
            one.pool.name
            for one in facts.observed.deployments
            if one.pool is not None and pool_key(one.pool) in undone
        },
    )


def _stage(
    stage: Stage,
    desired: int,
    fraction_percent: int | None,
    observed: Observation,
    gave_up: Collection[str],
) -> StageStatus:
    ready = sum(pool.routable for pool in observed.pools if stage in pool.key.shape.stages)
    return StageStatus(
        name=stage,
        desired=desired,
        ready=ready,
        summary=f"{ready}/{desired}",
        fraction_percent=fraction_percent,
        pools=_pools(stage, observed, gave_up),
    )


def _pools(stage: Stage, observed: Observation, gave_up: Collection[str]) -> tuple[PoolStatus, ...]:
    states = {pool.key: pool for pool in observed.pools}
    return tuple(
        PoolStatus(
            name=one.pool.name,
            fraction_percent=one.pool.shape.fraction_percent,
            revision=one.pool.revision,
            desired=one.replicas,
            ready=states[pool_key(one.pool)].routable,
            gave_up=one.pool.name in gave_up,
        )
        for one in observed.deployments
        if one.pool is not None and stage in one.pool.shape.stages
    )


def _plan(old: PlanStatus | None, plan: PlacementPlan) -> PlanStatus:
    if old is not None and old.id == plan.id:
        return old  # its reasons are those for which it was made
    return PlanStatus(
        id=plan.id,
        reasons=tuple(
            PlanReason(code=one.code, stage=one.stage, message=one.message[:_LIMIT])
            for one in plan.reasons
        ),
    )


def _last_failure(observed: Observation) -> LastFailure | None:
    failed = [pod for pod in observed.pods if pod.failure is not None]
    if not failed:
        return None
    newest = max(failed, key=lambda pod: (pod.failure.at if pod.failure else "", pod.name))
    assert newest.failure is not None
    return LastFailure(
        pod=newest.name,
        component=newest.component,
        exit_code=newest.failure.exit_code,
        message=newest.failure.message[:_LAST_FAILURE_LIMIT],
    )
