"""What a scenario's placement means to planners: a pipeline, a fixed plan, a load."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import PipelineName
from tridentserve.domain.load import ClassRate, Load, StageTime
from tridentserve.domain.pipeline import Behavior, Limits, PipelineSpec, ScalingRule, StageSpec
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape, Reason
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.placement.joint import Joint
from tridentserve.planner.placement.moves import MoveCosts
from tridentserve.planner.placement.orchestrator import Orchestrator
from tridentserve.planner.protocols import PlacementPlanner
from tridentserve.planner.registry import placement_planner
from tridentserve.sim.pods import PIPELINE, node_id
from tridentserve.sim.scenario import PlacementPart, Scenario
from tridentserve.sim.workload import Ask

_MANY = 10**6


def load_of(
    asks: Sequence[Ask], window_s: float, seconds: Mapping[tuple[Stage, int], float]
) -> Load:
    """Arrivals of a window by class; `seconds` are the last measured ones by stage and fraction."""
    counts: dict[tuple[object, ...], tuple[Ask, int]] = {}
    for ask in asks:
        key = (ask.shape, ask.steps, ask.guidance)
        counts[key] = (ask, counts.get(key, (ask, 0))[1] + 1)
    return Load(
        arrivals_per_s=len(asks) / window_s,
        seconds=tuple(
            StageTime(stage=stage, fraction_percent=percent, seconds=value)
            for (stage, percent), value in seconds.items()
        ),
        mix=tuple(
            ClassRate(
                shape=ask.shape,
                steps=ask.steps,
                guidance=ask.guidance,
                arrivals_per_s=count / window_s,
            )
            for ask, count in counts.values()
        ),
    )


def fixed_plan(scenario: Scenario) -> PlacementPlan:
    """The placement that a scenario writes down."""
    cluster, part = scenario.cluster, scenario.placement
    if part.plan == "Colocated":
        shape = PoolShape(
            stages=tuple(sorted(STAGES)), devices=cluster.devices_per_node, fraction_percent=100
        )
        nodes = tuple((node_id(index), 1) for index in range(cluster.nodes))
        reason = Reason(code="Colocated", message="one worker a node, with all stages")
        return PlacementPlan(
            pools=(PoolPlan(shape=shape, workers=cluster.nodes, nodes=nodes),),
            reasons=(reason,),
            follows_load=False,
        )
    pools = []
    for pool in part.pools:
        shape = PoolShape(
            stages=tuple(sorted(set(pool.stages))), devices=pool.devices, fraction_percent=100
        )
        nodes = () if pool.node is None else ((node_id(pool.node), pool.workers),)
        pools.append(PoolPlan(shape=shape, workers=pool.workers, nodes=nodes))
    reason = Reason(code="Fixed", message="as the scenario says")
    return PlacementPlan(pools=tuple(pools), reasons=(reason,), follows_load=False)


def spec_of(scenario: Scenario) -> PipelineSpec:
    """The pipeline that a scenario simulates, as planners see it."""
    part = scenario.placement
    grow = ScalingRule(
        stabilization_window_s=0,
        tolerance_percent=10,
        max_workers=_MANY,
        max_percent=_MANY,
        period_s=int(part.interval_s) or 1,
    )
    shrink = ScalingRule(
        stabilization_window_s=part.stabilization_s,
        tolerance_percent=10,
        max_workers=_MANY,
        max_percent=_MANY,
        period_s=int(part.interval_s) or 1,
    )
    return PipelineSpec(
        name=PipelineName(PIPELINE),
        stages=tuple(_stage_spec(stage, part, scenario) for stage in STAGES),
        limits=Limits(
            max_pixels=_MANY**2,
            max_frames=_MANY,
            max_steps=_MANY,
            max_images=1,
            max_prompt_characters=1,
        ),
        slo_scale_percent=250,
        placement=part.planner or "Static",
        dispatch=scenario.dispatch,
        max_queue=_MANY,
        drain_s=int(part.drain_s),
        suspend=False,
        interval_s=int(part.interval_s) or 1,
        gpu_limit_percent=100 * scenario.cluster.devices,
        target_utilization_percent=part.target_percent,
        behavior=Behavior(scale_up=grow, scale_down=shrink),
    )


def placement_of(scenario: Scenario, name: str) -> PlacementPlanner:
    """The placement planner of a name; it reckons with what a change costs in the scenario.

    Raises:
        ValueError: there is none, or what it needs is not installed.
    """
    world = scenario.world
    costs = MoveCosts(
        pod_start_s=world.pod_start_s,
        load_bytes_per_s=world.load_bytes_per_s,
        load_launch_s=world.load_launch_s,
        residency=scenario.placement.start == "Residency",
    )
    planner = placement_planner(name)
    match planner:
        case Joint(settings=settings):
            return Joint(replace(settings, costs=costs))
        case Orchestrator(settings=settings):
            return Orchestrator(replace(settings, costs=costs))
        case _:
            return planner


def _stage_spec(stage: Stage, part: PlacementPart, scenario: Scenario) -> StageSpec:
    given = part.stage(stage)
    return StageSpec(
        stage=stage,
        min_replicas=given.min,
        max_replicas=given.max,
        sharing=Sharing.EXCLUSIVE,
        devices_per_worker=given.devices,
        fractions_percent=(100,),
        batch_max_size=scenario.slots([stage]),
        batch_max_wait_s=scenario.wait_s(stage),
    )
