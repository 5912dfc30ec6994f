"""No plan rests on a single encoder or decoder, or on one that diffuse crowds out."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.placements import TRACES, devices, mix, nodes, profile, question
from tests.planner.specs import codes
from tests.sim.worlds import scenario

from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import Stage
from tridentserve.planner.placement.flows import Aims, Place
from tridentserve.planner.placement.joint import Joint, JointSettings
from tridentserve.planner.placement.prediction import predict
from tridentserve.planner.placement.standby import lacking
from tridentserve.planner.projection import PlacementType
from tridentserve.sim.experiment import experiment_of
from tridentserve.sim.results import Outcome, Result
from tridentserve.sim.run import simulate

EDC, DC, ED, D, E, C = PlacementType


def supply(**workers: dict[int, int]) -> dict[Place, dict[int, int]]:
    """Workers by devices of each, by placement type."""
    return {Place(PlacementType[name], 1): by_size for name, by_size in workers.items()}


def apart(plan: PlacementPlan, stage: Stage) -> int:
    """Workers that host one stage and nothing else."""
    return sum(pool.workers for pool in plan.pools if pool.shape.stages == (stage,))


# --- what is lacking ------------------------------------------------------------------------------


def test_one_encoder_is_one_too_few_where_diffuse_has_several_workers() -> None:
    assert lacking(supply(DC={8: 3, 7: 1}, E={1: 1}), 2) == {Stage.ENCODE: 1}
    assert lacking(supply(DC={8: 3, 6: 1}, E={1: 2}), 2) == {}


def test_one_encoder_is_enough_where_diffuse_has_one_worker() -> None:
    assert lacking(supply(DC={7: 1}, E={1: 1}), 2) == {}


def test_a_worker_of_two_devices_is_one_worker() -> None:
    assert lacking(supply(DC={8: 3, 6: 1}, E={2: 1}), 2) == {Stage.ENCODE: 1}


def test_hosts_count_that_are_half_of_the_devices_of_diffuse_and_fewer_are_crowded_out() -> None:
    assert lacking(supply(DC={8: 3, 7: 1}, ED={1: 2}), 2) == {Stage.ENCODE: 2}
    assert lacking(supply(DC={4: 2}, ED={4: 2}), 2) == {}
    assert lacking(supply(DC={4: 2, 1: 1}, ED={4: 2}), 2) == {Stage.ENCODE: 2}


def test_a_stage_that_nobody_hosts_lacks_all_of_its_workers() -> None:
    assert lacking(supply(D={8: 2}, E={1: 2}), 2) == {Stage.DECODE: 2}


@settings(deadline=None)
@given(
    workers=st.dictionaries(
        st.sampled_from([kind.name for kind in PlacementType]),
        st.dictionaries(st.integers(1, 8), st.integers(1, 4), min_size=1),
    ),
    replicas=st.integers(1, 4),
)
def test_one_encoder_more_is_one_less_lacking(
    workers: dict[str, dict[int, int]], replicas: int
) -> None:
    before = lacking(supply(**workers), replicas)
    more = {**workers, "E": dict(Counter(workers.get("E", {})) + Counter({1: 1}))}
    after = lacking(supply(**more), replicas)

    assert after.get(Stage.ENCODE, 0) == max(0, before.get(Stage.ENCODE, 0) - 1)
    assert after.get(Stage.DECODE, 0) == before.get(Stage.DECODE, 0)
    assert Stage.DIFFUSE not in after


# --- what is planned ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.25, 1.0, 4.0], ids=["calm", "full", "overloaded"])
def test_flux_on_32_devices_has_two_encoders_that_do_not_diffuse(rate: float) -> None:
    plan = Joint().plan(question("flux", mix("flux", rate), nodes(8, 8, 8, 8)))

    assert apart(plan, Stage.ENCODE) == 2
    assert sum(devices(plan).values()) == 32


def test_a_crowded_cluster_does_not_encode_on_a_device_that_diffuses() -> None:
    """What the demand alone would ask for: ED on one device, DC on the other 31."""
    heavy = mix("hunyuanvideo", 0.19, (1, 1, 3, 0, 0, 3, 3, 3))
    asked = question("hunyuanvideo", heavy, nodes(8, 8, 8, 8))

    careless = Joint(JointSettings(aims=Aims(replicas=0))).plan(asked)
    plan = Joint().plan(asked)

    assert devices(careless) == {"DC": 31, "ED": 1}
    assert apart(plan, Stage.ENCODE) == 2


def test_no_device_goes_to_a_second_encoder_where_it_is_too_large_a_part_of_the_cluster() -> None:
    """Two nodes of two: another encoder would take a third of what diffuses."""
    overloaded = mix("hunyuanvideo", 1.0)

    plan = Joint().plan(question("hunyuanvideo", overloaded, nodes(2, 2)))

    assert devices(plan) == {"DC": 3, "E": 1}


def test_a_lone_encoder_is_exposed_by_a_share_of_all_devices() -> None:
    asked = question("flux", mix("flux", 1.0), nodes(8, 8, 8, 8))
    aims = Aims(replicas=3, replica_share=0.25)

    prediction = predict(Joint().plan(asked), asked, aims)

    assert prediction is not None
    assert prediction.exposed == 8.0
    assert prediction.score[0] >= prediction.unserved + 8.0 - 1e-6


def test_a_second_encoder_is_worth_the_restart_of_what_it_takes_a_device_from() -> None:
    asked = question("flux", mix("flux", 0.25), nodes(8, 8, 8, 8))
    alone = Joint(JointSettings(aims=Aims(replicas=0))).plan(asked)

    after = Joint(JointSettings(dwell_s=0.0)).plan(replace(asked, previous=alone, now=600.0))

    assert apart(alone, Stage.ENCODE) == 1
    assert apart(after, Stage.ENCODE) == 2
    assert "Transition" in codes(after)


# --- what becomes of it ---------------------------------------------------------------------------


def followed(planner: str, load: float) -> Result:
    """FLUX on 32 devices, its placement looked at every half minute."""
    _, shapes = TRACES["flux"]
    workload = {
        "shapes": [f"{one.height}x{one.width}" for one in shapes],
        "steps": 28,
        "process": "Poisson",
        "load": load,
    }
    given = scenario(
        cluster={"nodes": 4, "devices_per_node": 8},
        duration_s=120.0,
        profile={"name": "flux"},
        workload=workload,
        dispatch="DeadlineAware",
        placement={"planner": planner, "interval_s": 30.0},
    )
    return simulate(experiment_of(given, profile("flux")))


@pytest.mark.parametrize("load", [0.7, 1.5])
def test_every_request_for_flux_on_32_devices_is_finished(load: float) -> None:
    result = followed("Joint", load)

    assert len(result.records) > 20
    assert {one.outcome for one in result.records} == {Outcome.FINISHED}
    assert all(dict(counts).get("encode", 0) >= 1 for _, counts in result.timeline.resident)
