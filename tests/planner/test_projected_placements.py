"""What every placement by nodes promises, and the figures of the static ones."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.placements import (
    GB,
    PAPER,
    TRACES,
    by_node,
    devices,
    mix,
    nodes,
    profile,
    question,
)
from tests.planner.specs import codes, size

from tridentserve.domain.cluster import Cluster, Sharing
from tridentserve.domain.ids import NodeId
from tridentserve.domain.load import ClassRate, Load
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.memory import peak_bytes
from tridentserve.planner.placement.bucketed import Bucketed, BucketedStages
from tridentserve.planner.placement.buckets import Bucket, share_out
from tridentserve.planner.placement.class_partition import ClassPartition
from tridentserve.planner.placement.colocated import Colocated, ColocatedSettings
from tridentserve.planner.placement.proportional import Proportional
from tridentserve.planner.placement.static_split import StaticSplit, StaticSplitSettings
from tridentserve.planner.placement.survey import Survey, survey
from tridentserve.planner.placement.ways import efficient
from tridentserve.planner.projection import PlacementType, layouts_of, project
from tridentserve.planner.protocols import PlacementInputs
from tridentserve.planner.registry import (
    PLACEMENT_NAMES,
    PLACEMENT_POLICIES,
    placement_planner,
)

PROJECTED = sorted(set(PLACEMENT_POLICIES) - set(PLACEMENT_NAMES))
FOLLOWING = sorted({*PROJECTED} - {"Colocated", "StaticSplit"})


def seen(asked: PlacementInputs) -> Survey:
    found = survey(asked)
    assert found is not None
    return found


def sizes(plan: PlacementPlan) -> dict[int, int]:
    """Workers by devices of each, of pools with diffuse."""
    found: dict[int, int] = {}
    for pool in plan.pools:
        if Stage.DIFFUSE in pool.shape.stages:
            found[pool.shape.devices] = found.get(pool.shape.devices, 0) + pool.workers
    return found


# --- static ones ----------------------------------------------------------------------------------


def test_co_located_is_one_worker_a_node_or_as_many_as_their_size_allows() -> None:
    asked = question("sd3", mix("sd3", 1.0), nodes(8, 8, 6))

    assert sizes(Colocated().plan(asked)) == {8: 2, 6: 1}
    assert sizes(Colocated(ColocatedSettings(devices=4)).plan(asked)) == {4: 5}


def test_a_split_has_its_shares_and_its_degree() -> None:
    asked = question("flux", mix("flux", 1.0))

    whole = StaticSplit(StaticSplitSettings(encode=2, diffuse=88, decode=10)).plan(asked)
    degree = StaticSplit(StaticSplitSettings(encode=2, diffuse=88, decode=10, group=4)).plan(asked)

    assert devices(whole) == {"E": 2, "D": 113, "C": 13}
    assert sizes(whole) == {8: 14, 1: 1}
    assert devices(degree) == devices(whole)
    assert sizes(degree) == {4: 28, 1: 1}


def test_a_budget_leaves_nodes_unused() -> None:
    asked = question("sd3", mix("sd3", 1.0), gpu_limit=1200)

    assert devices(Colocated().plan(asked)) == {"EDC": 12}


# --- buckets --------------------------------------------------------------------------------------


def test_buckets_are_sized_by_their_work_and_none_is_left_out() -> None:
    grounds = seen(question("sd3", mix("sd3", 1.0), nodes(8, 8))).grounds
    buckets = [
        Bucket(type=PlacementType.EDC, size=1, work=7.0),
        Bucket(type=PlacementType.EDC, size=8, work=0.01),
    ]

    layouts = share_out(buckets, grounds)

    parts = [(part.devices, part.workers) for layout in layouts for part in layout.parts]
    assert sorted(parts) == [(1, 8), (8, 1)]


def test_every_class_of_a_bucketed_pipeline_runs_whole_at_its_efficient_degree() -> None:
    asked = question("cogvideox", mix("cogvideox", 1.5))

    plan = Bucketed().plan(asked)

    assert devices(plan) == {"EDC": 128}
    assert set(sizes(plan)) == {1, 2, 4, 8}
    for traffic in seen(asked).traffic:
        best = efficient(traffic.of(Stage.DIFFUSE))
        flows = [flow for flow in plan.flows if flow.shape == traffic.rate.shape]
        assert best is not None
        assert {flow.pool.devices for flow in flows} == {best.degree}
        assert sorted(flow.stage for flow in flows) == sorted(STAGES)


def test_a_bucketed_pipeline_leaves_out_what_does_not_fit_whole() -> None:
    flux = Bucketed().plan(question("flux", mix("flux", 1.0)))
    hunyuan = Bucketed().plan(question("hunyuanvideo", mix("hunyuanvideo", 0.5)))

    assert "DoesNotFit" in codes(flux)
    assert Shape(height=2048, width=2048) not in {flow.shape for flow in flux.flows}
    assert Shape(height=720, width=1280, frames=129) not in {flow.shape for flow in hunyuan.flows}


def test_bucketed_stages_hold_what_pipelines_cannot() -> None:
    plan = BucketedStages().plan(question("flux", mix("flux", 1.0)))

    assert codes(plan) == {"Bucket"}
    assert {flow.shape for flow in plan.flows} == set(TRACES["flux"][1])
    assert sum(devices(plan).values()) == 128


# --- partition by class ---------------------------------------------------------------------------


def test_classes_of_a_partition_share_no_device() -> None:
    asked = question("cogvideox", mix("cogvideox", 1.5))

    plan = ClassPartition().plan(asked)

    diffuse = [flow for flow in plan.flows if flow.stage is Stage.DIFFUSE]
    bounds = [flow.devices for flow in diffuse]
    assert all(bound is not None for bound in bounds)
    assert sum(bound or 0 for bound in bounds) <= 128
    assert {flow.shape for flow in diffuse} == set(TRACES["cogvideox"][1])
    assert all((flow.devices or 0) % flow.strategy.degree == 0 for flow in diffuse)


def test_a_pool_too_small_to_be_divided_is_shared() -> None:
    plan = ClassPartition().plan(question("hunyuanvideo", mix("hunyuanvideo", 0.5)))

    encode = [flow for flow in plan.flows if flow.stage is Stage.ENCODE]
    assert len({flow.shape for flow in encode}) == 8
    assert {flow.devices for flow in encode if flow.pool.stages == (Stage.ENCODE,)} == {None}


@pytest.mark.parametrize("planner", [Bucketed(), BucketedStages(), ClassPartition()])
def test_partitions_are_made_once_and_again_when_a_node_is_lost(
    planner: Bucketed | BucketedStages | ClassPartition,
) -> None:
    first = planner.plan(question("cogvideox", mix("cogvideox", 1.5)))
    heavy = mix("cogvideox", 1.5, (0, 0, 0, 0, 0, 0, 1, 9))

    later = planner.plan(question("cogvideox", heavy, PAPER, first, now=600.0))
    smaller = planner.plan(question("cogvideox", heavy, nodes(*[8] * 15), first, now=600.0))

    assert (later.pools, later.flows) == (first.pools, first.flows)
    assert sum(devices(smaller).values()) <= 120


# --- one-stage pools with workers of several devices ----------------------------------------------


def test_workers_of_several_devices_are_counted_by_what_a_request_takes_of_them() -> None:
    asked = question("cogvideox", mix("cogvideox", 1.0))
    wide = tuple(
        replace(stage, devices_per_worker=8, max_replicas=100) for stage in asked.spec.stages
    )

    plan = Proportional().plan(replace(asked, spec=replace(asked.spec, stages=wide)))

    # 1 request/s x 73.1 device-seconds at k* / 8 devices / 70 %
    assert size(plan, Stage.DIFFUSE) == (14, 100)
    assert {pool.shape.devices for pool in plan.pools} == {8}


# --- what all of them promise ---------------------------------------------------------------------


@pytest.mark.parametrize("name", PROJECTED)
def test_without_devices_there_is_nothing_to_place(name: str) -> None:
    plan = placement_planner(name).plan(question("sd3", mix("sd3", 1.0), Cluster()))

    assert plan.pools == ()
    assert plan.limited


@pytest.mark.parametrize("name", FOLLOWING)
def test_without_costs_the_placement_is_held(name: str) -> None:
    asked = question("sd3", mix("sd3", 1.0))
    there = Colocated().plan(asked)
    blind = replace(question("sd3", mix("sd3", 1.0), PAPER, there), cost=None)

    plan = placement_planner(name).plan(blind)

    assert plan.pools == there.pools
    assert codes(plan) == {"SecondsUnknown"}


ODD_RATES = st.one_of(
    st.floats(0.0, 50.0), st.sampled_from([0.0, -1.0, float("nan"), float("inf"), 1e-12, 1e6])
)
ODD_SHAPES = st.builds(
    Shape,
    height=st.integers(16, 5000),
    width=st.integers(16, 5000),
    frames=st.integers(1, 200),
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[str, PlacementInputs]:
    name = draw(st.sampled_from(sorted(TRACES)))
    steps, usual = TRACES[name]
    shapes = draw(st.lists(st.one_of(st.sampled_from(usual), ODD_SHAPES), max_size=5, unique=True))
    rates = tuple(
        ClassRate(
            shape=shape,
            steps=draw(st.sampled_from([1, steps, 0])),
            guidance=draw(st.sampled_from([0.0, 7.5])),
            arrivals_per_s=draw(ODD_RATES),
        )
        for shape in shapes
    )
    total = draw(st.one_of(st.none(), ODD_RATES))
    asked = question(
        name,
        Load(arrivals_per_s=total, mix=rates),
        nodes(
            *draw(st.lists(st.integers(1, 12), max_size=5)),
            memory_bytes=draw(st.sampled_from([0, 1, 12, 24, 48, 80])) * GB,
        ),
        gpu_limit=draw(st.sampled_from([0, 100, 700, 100_000])),
        batch=draw(st.sampled_from([1, 4])),
    )
    return name, asked


@settings(max_examples=60, deadline=None)
@given(planner=st.sampled_from(PROJECTED), asked=questions())
def test_no_plan_is_beyond_the_devices_or_raises_and_each_is_the_same_again(
    planner: str, asked: tuple[str, PlacementInputs]
) -> None:
    _, inputs = asked

    plan = placement_planner(planner).plan(inputs)

    there: dict[NodeId, int] = {}
    for device in inputs.cluster.devices:
        there[device.node] = there.get(device.node, 0) + 1
    assert placement_planner(planner).plan(inputs) == plan
    assert all(count <= there[node] for node, count in by_node(plan).items())
    assert sum(by_node(plan).values()) == sum(devices(plan).values())
    assert sum(devices(plan).values()) <= inputs.spec.gpu_limit_percent // 100
    assert all(pool.workers > 0 and pool.shape.devices > 0 for pool in plan.pools)
    if plan.pools:
        assert plan.mode is Sharing.EXCLUSIVE
        layouts = layouts_of(plan.pools, Sharing.EXCLUSIVE)
        assert project(layouts, dict.fromkeys(there, 99)).pools == plan.pools
    assert plan.reasons


@settings(max_examples=60, deadline=None)
@given(planner=st.sampled_from(FOLLOWING), asked=questions())
def test_flows_name_pools_that_are_there_and_ways_that_fit_them(
    planner: str, asked: tuple[str, PlacementInputs]
) -> None:
    name, inputs = asked

    plan = placement_planner(planner).plan(inputs)

    shapes = {pool.shape for pool in plan.pools}
    memory = max((device.memory_bytes for device in inputs.cluster.devices), default=0)
    usable = memory * 45 // 48 or profile(name).usable_bytes
    for flow in plan.flows:
        assert flow.pool in shapes
        assert flow.stage in flow.pool.stages
        assert flow.strategy.degree <= flow.pool.devices
        assert 0 < flow.share <= 1
        if usable:
            stages = frozenset(flow.pool.stages)
            weights = sum(profile(name).weights(stage) for stage in stages)
            peak = peak_bytes(profile(name), flow.stage, flow.shape, flow.strategy)
            assert weights + peak <= usable * 1.001


@settings(max_examples=60, deadline=None)
@given(
    planner=st.sampled_from(FOLLOWING),
    name=st.sampled_from(["cogvideox", "sd3", "flux"]),
    sizes_=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    number=st.integers(0, 4),
)
def test_where_a_class_fits_one_device_whole_some_chain_serves_it(
    planner: str, name: str, sizes_: list[int], number: int
) -> None:
    if planner == "BucketedStages" and sum(sizes_) < 3:
        return
    weights = [0.0] * len(TRACES[name][1])
    weights[min(number, 3)] = 1.0
    asked = question(name, mix(name, 0.1, weights), nodes(*sizes_))

    plan = placement_planner(planner).plan(asked)

    assert all(plan.workers(stage) > 0 for stage in STAGES)
    found = seen(asked)
    (traffic,) = found.traffic
    for stage in STAGES:
        assert any(
            found.fits(PlacementType(pool.shape.stages), way) and way.degree <= pool.shape.devices
            for pool in plan.pools
            for way in traffic.of(stage)
        )
