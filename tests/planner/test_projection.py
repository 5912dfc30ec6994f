"""Placement types on nodes become pools and come back, or are refused with the reason."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import NodeId
from tridentserve.domain.plans import PoolPlan, PoolShape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import UndeployableError
from tridentserve.planner.projection import (
    VIRTUAL_REPLICAS,
    NodeLayout,
    Part,
    PlacementType,
    layouts_of,
    normal,
    project,
)

HALF = Part(type=PlacementType.D, devices=1, fraction_percent=50)
A, B = NodeId("a"), NodeId("b")
EIGHT = {A: 8, B: 8}


def layout(node: NodeId, *parts: tuple[PlacementType, int]) -> NodeLayout:
    return NodeLayout(
        node=node, parts=tuple(Part(type=kind, devices=devices) for kind, devices in parts)
    )


def parts(*given: Part) -> NodeLayout:
    return NodeLayout(node=A, parts=given)


def test_every_virtual_replica_hosts_all_stages_each_once() -> None:
    for replica in VIRTUAL_REPLICAS:
        hosted = [stage for kind in replica.types for stage in kind.stages]
        assert sorted(hosted) == sorted(STAGES)


def test_a_type_on_a_node_is_one_worker_with_all_its_devices() -> None:
    projection = project(
        [
            layout(A, (PlacementType.EDC, 8)),
            layout(B, (PlacementType.DC, 7), (PlacementType.E, 1)),
        ],
        EIGHT,
    )

    assert projection.mode is Sharing.EXCLUSIVE
    assert {(pool.shape.label, pool.shape.devices, pool.nodes) for pool in projection.pools} == {
        ("decode.diffuse.encode@100", 8, ((A, 1),)),
        ("decode.diffuse@100", 7, ((B, 1),)),
        ("encode@100", 1, ((B, 1),)),
    }


def test_workers_of_a_shape_on_two_nodes_are_one_pool() -> None:
    (pool,) = project(
        [layout(A, (PlacementType.D, 4)), layout(B, (PlacementType.D, 4))], EIGHT
    ).pools

    assert (pool.workers, pool.nodes) == (2, ((A, 1), (B, 1)))


def test_slices_are_deployed_where_there_is_no_device_to_be_whole() -> None:
    half = Part(type=PlacementType.C, devices=1, workers=3, fraction_percent=50)

    projection = project([NodeLayout(node=A, parts=(half,))], EIGHT)

    (pool,) = projection.pools
    assert projection.mode is Sharing.NONE
    assert (pool.shape.devices, pool.shape.fraction_percent, pool.workers) == (0, 50, 3)


def test_the_thinnest_slice_and_a_part_without_workers_are_no_problem() -> None:
    thin = replace(HALF, fraction_percent=1)

    projection = project([parts(thin, replace(HALF, workers=0))], EIGHT)

    (pool,) = projection.pools
    assert (pool.shape.fraction_percent, pool.workers) == (1, 1)


def test_devices_of_a_type_are_counted_over_all_of_its_workers_and_over_no_other() -> None:
    two = Part(type=PlacementType.D, devices=3, workers=2)
    carried = parts(
        two, Part(type=PlacementType.D, devices=1), Part(type=PlacementType.E, devices=1)
    )

    assert carried.devices(PlacementType.D) == 7
    assert carried.devices(PlacementType.C) == 0


@pytest.mark.parametrize(
    ("layouts", "why"),
    [
        ([layout(A, (PlacementType.D, 9))], "a has 8 devices, 9 are wanted"),
        ([layout(NodeId("z"), (PlacementType.D, 1))], "z has 0 devices, 1 are wanted"),
        ([layout(A, (PlacementType.D, 4)), layout(A, (PlacementType.E, 4))], "laid out twice"),
        ([layout(A, (PlacementType.D, 0))], "1 workers of 0 devices cannot be"),
        ([parts(replace(HALF, workers=-1))], "-1 workers of 1 devices cannot be"),
        ([parts(replace(HALF, fraction_percent=0))], "0 % of a device cannot be"),
        ([parts(replace(HALF, fraction_percent=101))], "101 % of a device cannot be"),
        ([NodeLayout(node=A, parts=(HALF,))], "there are whole ones only"),
    ],
)  # fmt: skip
def test_what_exclusive_devices_cannot_do_is_refused_with_the_reason(
    layouts: list[NodeLayout], why: str
) -> None:
    with pytest.raises(UndeployableError, match=f"Exclusive: .*{why}"):
        project(layouts, EIGHT, (Sharing.EXCLUSIVE,))


def test_what_no_mode_can_do_is_refused_with_the_reason_of_each() -> None:
    slices = Part(type=PlacementType.D, devices=4, fraction_percent=50)

    with pytest.raises(UndeployableError, match=r"Exclusive: .*; None: 4 devices"):
        project([NodeLayout(node=A, parts=(slices,))], EIGHT)


def test_a_pool_that_leaves_its_nodes_to_the_scheduler_is_no_layout() -> None:
    shape = PoolShape(stages=(Stage.DIFFUSE,), devices=1, fraction_percent=100)

    with pytest.raises(UndeployableError, match="does not say where"):
        layouts_of([PoolPlan(shape=shape, workers=1)], Sharing.EXCLUSIVE)


def test_a_pool_of_encode_and_decode_alone_is_no_placement_type() -> None:
    shape = PoolShape(stages=(Stage.DECODE, Stage.ENCODE), devices=1, fraction_percent=100)

    with pytest.raises(UndeployableError, match=r"decode\.encode"):
        layouts_of([PoolPlan(shape=shape, workers=1, nodes=((A, 1),))], Sharing.EXCLUSIVE)


NODES = st.sampled_from([A, B, NodeId("c")])


@settings(max_examples=200, deadline=None)
@given(
    mode=st.sampled_from([Sharing.EXCLUSIVE, Sharing.NONE]),
    wanted=st.dictionaries(
        NODES,
        st.lists(
            st.tuples(
                st.sampled_from(list(PlacementType)), st.integers(1, 3), st.integers(1, 2),
                st.sampled_from([25, 50, 100]),
            ),
            min_size=1, max_size=4,
        ),
    ),
)  # fmt: skip
def test_pools_lead_back_to_the_layouts_that_they_came_from(
    mode: Sharing, wanted: dict[NodeId, list[tuple[PlacementType, int, int, int]]]
) -> None:
    layouts = [
        NodeLayout(
            node=node,
            parts=tuple(
                Part(
                    type=kind,
                    devices=devices if mode is Sharing.EXCLUSIVE else 1,
                    workers=workers,
                    fraction_percent=100 if mode is Sharing.EXCLUSIVE else fraction,
                )
                for kind, devices, workers, fraction in parts
            ),
        )
        for node, parts in sorted(wanted.items())
    ]

    projection = project(layouts, dict.fromkeys(wanted, 100), (mode,))

    assert layouts_of(projection.pools, mode) == tuple(normal(one) for one in layouts)
    assert projection.mode is mode
