"""Pipelines and loads for tests of placement and scaling."""

from tridentserve.domain.cluster import Cluster, Sharing
from tridentserve.domain.ids import PipelineName, Revision
from tridentserve.domain.load import Load, StageTime
from tridentserve.domain.pipeline import Behavior, Limits, PipelineSpec, ScalingRule, StageSpec
from tridentserve.domain.plans import PlacementPlan, PoolPlan
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.placement.budget import shape_of
from tridentserve.planner.protocols import Infeasible, PlacementInputs

LIMITS = Limits(max_pixels=1, max_frames=1, max_steps=1, max_images=1, max_prompt_characters=1)


def rule(
    window_s: int = 0,
    *,
    tolerance: int = 10,
    workers: int = 4,
    percent: int = 100,
    period_s: int = 15,
) -> ScalingRule:
    """One direction; the defaults are those of the HorizontalPodAutoscaler going up."""
    return ScalingRule(
        stabilization_window_s=window_s,
        tolerance_percent=tolerance,
        max_workers=workers,
        max_percent=percent,
        period_s=period_s,
    )


def stage_spec(
    stage: Stage,
    least: int = 1,
    most: int = 8,
    fractions: tuple[int, ...] = (100,),
    devices: int = 0,
    batch: int = 1,
) -> StageSpec:
    """What a user allows for a stage."""
    return StageSpec(
        stage=stage,
        min_replicas=least,
        max_replicas=most,
        sharing=Sharing.EXCLUSIVE if devices else Sharing.NONE,
        devices_per_worker=devices,
        fractions_percent=fractions,
        batch_max_size=batch,
        batch_max_wait_s=0.0,
    )


def pipeline(
    *stages: StageSpec,
    slo: int = 1000,
    target: int = 70,
    gpu_limit: int = 100_000,
    up: ScalingRule | None = None,
    down: ScalingRule | None = None,
    suspend: bool = False,
    placement: str = "Proportional",
) -> PipelineSpec:
    """A pipeline; stages that are left out are one worker of any size."""
    given = {spec.stage: spec for spec in stages}
    return PipelineSpec(
        name=PipelineName("default/flux"),
        stages=tuple(given.get(stage) or stage_spec(stage) for stage in STAGES),
        limits=LIMITS,
        slo_scale_percent=slo,
        placement=placement,
        dispatch="Fifo",
        max_queue=10,
        drain_s=10,
        suspend=suspend,
        interval_s=5,
        gpu_limit_percent=gpu_limit,
        target_utilization_percent=target,
        behavior=Behavior(scale_up=up or rule(), scale_down=down or rule(300, workers=0)),
    )


def load(arrivals: float | None, **seconds: dict[int, float]) -> Load:
    """Arrivals a second, and seconds by stage and fraction."""
    return Load(
        arrivals_per_s=arrivals,
        seconds=tuple(
            StageTime(stage=Stage(stage), fraction_percent=fraction, seconds=value)
            for stage, times in seconds.items()
            for fraction, value in times.items()
        ),
        problem="" if arrivals is not None else "Prometheus does not answer",
    )


def inputs(
    spec: PipelineSpec,
    measured: Load,
    previous: PlacementPlan | None = None,
    *,
    profile: Profile | None = None,
    infeasible: tuple[Infeasible, ...] = (),
    now: float = 0.0,
) -> PlacementInputs:
    """What a placement planner looks at."""
    return PlacementInputs(
        spec=spec,
        load=measured,
        cluster=Cluster(),
        previous=previous,
        profile=profile,
        infeasible=infeasible,
        now=now,
    )


def refused(stage: StageSpec, fraction: int, workers: int, until_s: float = 1.0) -> Infeasible:
    """So many workers of a stage could not be had at a fraction."""
    return Infeasible(
        shape=shape_of(stage, fraction),
        revision=Revision("r1"),
        workers=workers,
        until_s=until_s,
    )


def plan_of(spec: PipelineSpec, **sizes: tuple[int, int]) -> PlacementPlan:
    """A plan: (workers, fraction) by stage; the rest is one worker at the largest fraction."""
    return PlacementPlan(
        pools=tuple(
            PoolPlan(
                shape=shape_of(stage, sizes.get(stage.stage, (1, stage.fractions_percent[-1]))[1]),
                workers=sizes.get(stage.stage, (1, 100))[0],
            )
            for stage in spec.stages
        ),
        reasons=(),
    )


def size(plan: PlacementPlan, stage: Stage) -> tuple[int, int]:
    """(workers, fraction) of a stage in a plan."""
    (pool,) = [pool for pool in plan.pools if stage in pool.shape.stages]
    return pool.workers, pool.shape.fraction_percent


def codes(plan: PlacementPlan, stage: Stage | None = None) -> set[str]:
    """Codes of the reasons, of one stage or of all."""
    return {reason.code for reason in plan.reasons if stage is None or reason.stage is stage}
