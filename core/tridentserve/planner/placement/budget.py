"""What every placement must keep to: the GPU budget of the pipeline, and the fractions it lists."""

from dataclasses import replace

from tridentserve.domain.pipeline import PipelineSpec, StageSpec
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape, Reason


def shape_of(stage: StageSpec, fraction_percent: int) -> PoolShape:
    """The pool of one stage at a fraction."""
    return PoolShape(
        stages=(stage.stage,),
        devices=stage.devices_per_worker,
        fraction_percent=fraction_percent,
    )


def gpu_percent(plan: PlacementPlan) -> int:
    """GPU share that a plan holds: workers x devices x fraction; 100 is one GPU.

    Workers without a device hold none.
    """
    return sum(pool.workers * pool_percent(pool) for pool in plan.pools)


def cut_to_budget(plan: PlacementPlan, spec: PipelineSpec) -> PlacementPlan:
    """The plan with workers taken away until `gpuLimitPercent` holds.

    Fair: the next worker comes from the pool that keeps the largest share of what it wanted, so
    that all keep about the same share. What is beyond `replicas.min` goes first; then the budget
    comes before `replicas.min`, but every pool keeps one worker: with less, nothing would serve,
    so a budget below that is exceeded, and a reason says so.
    """
    excess = gpu_percent(plan) - spec.gpu_limit_percent
    if excess <= 0:
        return plan
    workers = [pool.workers for pool in plan.pools]
    least = [_least(pool, spec) for pool in plan.pools]
    while excess > 0:
        index = _next_to_give(plan.pools, workers, least)
        if index is None:
            break
        workers[index] -= 1
        excess -= pool_percent(plan.pools[index])
    kept = tuple(_fewer(pool, left) for pool, left in zip(plan.pools, workers, strict=True))
    cut = replace(plan, pools=kept, limited=True)
    return replace(cut, reasons=(*plan.reasons, _reason(plan, cut, spec)))


def pool_percent(pool: PoolPlan) -> int:
    """GPU share of one worker of a pool."""
    return pool.shape.devices * pool.shape.fraction_percent


def _fewer(pool: PoolPlan, workers: int) -> PoolPlan:
    """The pool with so many workers left, taken from its last nodes where it names them."""
    nodes = []
    left = workers
    for node, count in pool.nodes:
        nodes.append((node, min(count, left)))
        left -= nodes[-1][1]
    return replace(pool, workers=workers, nodes=tuple(one for one in nodes if one[1]))


def _least(pool: PoolPlan, spec: PipelineSpec) -> int:
    return min(spec.stage(stage).min_replicas for stage in pool.shape.stages)


def _next_to_give(pools: tuple[PoolPlan, ...], workers: list[int], least: list[int]) -> int | None:
    candidates = [
        index for index, pool in enumerate(pools) if pool_percent(pool) > 0 and workers[index] > 1
    ]
    return max(
        candidates,
        key=lambda index: (
            workers[index] > least[index],
            (workers[index] - 1) / pools[index].workers,
            -index,
        ),
        default=None,
    )


def _reason(plan: PlacementPlan, cut: PlacementPlan, spec: PipelineSpec) -> Reason:
    wanted, got, limit = gpu_percent(plan), gpu_percent(cut), spec.gpu_limit_percent
    if got > limit:
        message = (
            f"one worker of each stage takes {got} % of a GPU, more than gpuLimitPercent {limit}"
        )
        return Reason(code="BudgetTooSmall", message=message)
    message = f"{wanted} % of a GPU wanted, gpuLimitPercent {limit} leaves {got} %"
    return Reason(code="GpuLimit", message=message)
