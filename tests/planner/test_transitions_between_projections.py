"""Transitions between plans of co-located pools and of several pools of one stage."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.placements import PAPER, mix, nodes, question
from tests.planner.simulated_cluster import began, operator
from tests.planner.specs import codes, load, pipeline, stage_spec

from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape
from tridentserve.domain.stages import STAGES
from tridentserve.planner.placement.budget import cut_to_budget, gpu_percent
from tridentserve.planner.placement.colocated import Colocated
from tridentserve.planner.placement.orchestrator import Orchestrator
from tridentserve.planner.placement.static_split import StaticSplit, StaticSplitSettings
from tridentserve.planner.projection import VIRTUAL_REPLICAS, PlacementType, VirtualReplica
from tridentserve.planner.scaling import NO_MEMORY, bound

LOAD = load(1.0)
SPEC = pipeline(*(stage_spec(stage, devices=8) for stage in STAGES), gpu_limit=12_800)


def placed(*pools: tuple[PlacementType, int, int]) -> PlacementPlan:
    """(type, devices of a worker, workers) of each pool."""
    counts: dict[tuple[PlacementType, int], int] = {}
    for kind, devices, workers in pools:
        counts[kind, devices] = counts.get((kind, devices), 0) + workers
    return PlacementPlan(
        pools=tuple(
            PoolPlan(
                shape=PoolShape(stages=kind.stages, devices=devices, fraction_percent=100),
                workers=workers,
            )
            for (kind, devices), workers in counts.items()
        ),
        reasons=(),
    )


def of(replica: VirtualReplica, devices: int, workers: int) -> list[tuple[PlacementType, int, int]]:
    main = (replica.primary, devices, workers)
    return [main, *((kind, 1, 1) for kind in replica.auxiliary)]


MIXED = st.lists(
    st.builds(of, st.sampled_from(VIRTUAL_REPLICAS), st.sampled_from([1, 2, 4]), st.integers(1, 2)),
    min_size=1,
    max_size=2,
).map(lambda found: placed(*(pool for pools in found for pool in pools)))


@settings(max_examples=60, deadline=None)
@given(first=MIXED, second=MIXED, seed=st.integers(0, 99), same=st.booleans())
def test_with_room_a_chain_serves_all_the_way(
    first: PlacementPlan, second: PlacementPlan, seed: int, same: bool
) -> None:
    revision = "a" if same else "b"
    op = began(operator(gpu_percent(first) + gpu_percent(second), seed), first, "a")

    op.run(second, revision, 600)

    assert op.settled(second, revision)
    assert all(op.cluster.served)
    assert op.cluster.sins == []


@settings(max_examples=60, deadline=None)
@given(first=MIXED, second=MIXED, seed=st.integers(0, 99), same=st.booleans())
def test_without_room_it_ends_where_it_should(
    first: PlacementPlan, second: PlacementPlan, seed: int, same: bool
) -> None:
    revision = "a" if same else "b"
    limit = max(gpu_percent(first), gpu_percent(second))
    op = began(operator(limit, seed), first, "a")

    op.run(second, revision, 1500)

    assert op.settled(second, revision)
    assert op.cluster.sins == []
    assert op.cluster.peak <= limit


def test_stages_apart_become_co_located_without_a_gap_where_there_is_room() -> None:
    apart = placed((PlacementType.D, 8, 2), (PlacementType.E, 1, 2), (PlacementType.C, 2, 2))
    op = began(operator(4000), apart)

    op.run(placed((PlacementType.EDC, 8, 2)), "r1", 300)

    assert op.settled(placed((PlacementType.EDC, 8, 2)), "r1")
    assert all(op.cluster.served)


# --- the scaling discipline -----------------------------------------------------------------------


@pytest.mark.parametrize("planner", [Colocated(), StaticSplit(), Orchestrator()])
def test_plans_by_nodes_are_put_in_force_whole(planner: Colocated | StaticSplit) -> None:
    """Three pools of one stage each, too: their workers are as large as their nodes allow."""
    wanted = replace(planner.plan(question("flux", mix("flux", 3.0))), follows_load=True)

    plan, _ = bound(SPEC, wanted, None, NO_MEMORY, LOAD, 0.0)
    again, _ = bound(SPEC, wanted, Colocated().plan(question("sd3", LOAD)), NO_MEMORY, LOAD, 5.0)

    assert plan.pools == again.pools == wanted.pools
    assert plan.flows == wanted.flows


def test_an_unknown_load_holds_plans_by_nodes() -> None:
    before = Colocated().plan(question("flux", LOAD))
    wanted = replace(StaticSplit().plan(question("flux", LOAD)), follows_load=True)

    plan, _ = bound(SPEC, wanted, before, NO_MEMORY, load(None), 5.0)

    assert plan.pools == before.pools


def test_a_cut_takes_workers_from_the_last_nodes() -> None:
    plan = Colocated().plan(question("sd3", LOAD, nodes(8, 8, 8)))

    cut = cut_to_budget(plan, replace(SPEC, gpu_limit_percent=1700))

    (pool,) = cut.pools
    assert (pool.workers, pool.nodes) == (2, (("n00", 1), ("n01", 1)))
    assert "GpuLimit" in codes(cut)


def test_a_static_split_of_whole_nodes_is_three_pools_of_one_stage() -> None:
    shares = StaticSplitSettings(encode=1, diffuse=6, decode=1)

    plan = StaticSplit(shares).plan(question("flux", LOAD, PAPER))

    assert sorted(pool.shape.stages for pool in plan.pools) == sorted((s,) for s in STAGES)
