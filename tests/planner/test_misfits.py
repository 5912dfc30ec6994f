"""What no pool has the memory for is told apart from what only waits for workers to come."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.planner.floor import demand, state_of, worker
from tests.planner.pricing import LARGE, SMALL, UP_TO_8
from tests.planner.specs import pipeline, stage_spec

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Arrived, StageFailed
from tridentserve.domain.ids import RequestId
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.misfits import Misfit, misfit, misfits, pools_of
from tridentserve.planner.roster import Roster
from tridentserve.planner.state import State

E, D, C = STAGES
GB = 10**9
WEIGHTS_GB = {E: 4, D: 20, C: 1}
PEAK_GB = {E: 1, D: 8, C: 24}


def costs(usable_gb: int, peaks_gb: dict[Stage, int] | None = None) -> CostModel:
    """Of one shape; diffuse on two devices has half of the peak."""
    peaks = peaks_gb or PEAK_GB
    samples = [
        Sample(stage=stage, shape=LARGE, fixed_s=1.0, step_s=float(stage is D), peak_bytes=gb * GB)
        for stage, gb in peaks.items()
    ]
    half = replace(samples[1], strategy=UP_TO_8[1], peak_bytes=peaks[D] * GB // 2)
    return CostModel(
        Profile(
            name="made up",
            source="test",
            samples=(*samples, half),
            weights_bytes=tuple((stage, gb * GB) for stage, gb in WEIGHTS_GB.items()),
            usable_bytes=usable_gb * GB,
        )
    )


def pool(*stages: Stage, devices: int = 1) -> PoolShape:
    return PoolShape(stages=tuple(sorted(stages)), devices=devices, fraction_percent=100)


APART = tuple(pool(stage) for stage in STAGES)
NOBODY = state_of().roster


def strong(name: str, *stages: Stage, devices: int = 1, degrees: int = 1) -> Worker:
    """A worker with so many devices and the first so many strategies."""
    held = tuple(f"{name}/gpu{index}" for index in range(devices))
    return replace(worker(name, *stages, devices=held), strategies=UP_TO_8[:degrees])


def test_a_pool_that_is_merely_not_up_is_waited_for() -> None:
    assert misfit(costs(28), NOBODY, APART, LARGE) is None


def test_what_no_pool_of_the_plan_could_hold_is_named_with_its_figures() -> None:
    found = misfit(costs(24), NOBODY, APART, LARGE)

    assert found == Misfit(
        stage=D,
        shape=LARGE,
        pictures=1,
        pool="diffuse@100",
        needed_bytes=28 * GB,
        usable_bytes=24 * GB,
    )
    assert str(found) == (
        "diffuse of 128 x 128 needs 28.00 GB of every device, weights included; the largest pool"
        " that hosts it, diffuse@100, has 24.00 GB"
    )


def test_one_picture_may_fit_where_several_at_once_do_not() -> None:
    two = misfit(costs(40), NOBODY, APART, LARGE, count=2)

    assert misfit(costs(40), NOBODY, APART, LARGE) is None
    assert two is not None
    assert (two.stage, two.pictures, two.needed_bytes) == (C, 2, 49 * GB)
    assert str(two).startswith("decode of 2 times 128 x 128 needs 49.00 GB")


def test_sharing_devices_may_be_what_it_does_not_fit_for() -> None:
    together = misfit(costs(45), NOBODY, [pool(*STAGES)], LARGE)

    assert together is not None
    assert (together.stage, together.needed_bytes) == (C, 49 * GB)
    assert misfit(costs(45), NOBODY, [pool(*STAGES), pool(C)], LARGE) is None


def test_several_devices_may_be_what_makes_it_fit() -> None:
    pair = pool(D, devices=2)

    assert misfit(costs(25), NOBODY, [pool(E), pair, pool(C)], LARGE) is None
    assert misfit(costs(25), NOBODY, APART, LARGE) is not None


def test_a_pool_that_is_up_counts_as_what_its_workers_can_do() -> None:
    pools = [pool(E), pool(D, devices=2), pool(C)]
    single = state_of(strong("d", D, devices=2)).roster
    double = state_of(strong("d", D, devices=2, degrees=2)).roster

    assert misfit(costs(25), single, pools, LARGE) is not None
    assert misfit(costs(25), double, pools, LARGE) is None


def test_a_worker_of_no_pool_of_the_plan_holds_what_it_holds_while_it_is_there() -> None:
    old = strong("d", D, devices=2, degrees=2)

    assert misfit(costs(25), state_of(old).roster, APART, LARGE) is None
    assert misfit(costs(25), state_of(replace(old, draining=True)).roster, APART, LARGE) is not None


def test_a_stage_without_any_pool_is_waited_for() -> None:
    assert misfit(costs(30), NOBODY, [pool(E), pool(D)], LARGE) is None
    assert misfit(costs(30), NOBODY, [], LARGE) is None


@pytest.mark.parametrize("cost", [CostModel(), costs(0)])
def test_where_nothing_is_known_of_memory_everything_fits(cost: CostModel) -> None:
    assert misfit(cost, NOBODY, APART, LARGE) is None


def test_only_stages_to_come_are_in_the_way() -> None:
    cost, state = costs(24, {E: 1, D: 8, C: 1}), State()
    for name in ("new", "done"):
        state.apply(Arrived(demand=demand(name, shape=LARGE)))
    state.apply(StageFailed(request=RequestId("done"), stage=C, again=C, excluded=frozenset()))

    assert [request for request, _ in misfits(cost, state, APART)] == ["new"]


def test_a_pipeline_may_have_a_pool_of_each_stage_and_fraction() -> None:
    found = pools_of(pipeline(*(stage_spec(one, fractions=(50, 100)) for one in STAGES)))

    assert {(one.stages, one.fraction_percent) for one in found} == {
        ((stage,), percent) for stage in STAGES for percent in (50, 100)
    }


@given(
    usable_gb=st.integers(1, 60),
    hosts=st.lists(
        st.tuples(
            st.sets(st.sampled_from(STAGES), min_size=1),
            st.sampled_from([1, 2, 4]),
            st.integers(1, 2),
        ),
        max_size=3,
    ),
    shape=st.sampled_from([SMALL, LARGE]),
)
def test_nobody_is_refused_whom_dispatch_would_run_and_nobody_waits_whom_it_never_would(
    usable_gb: int, hosts: list[tuple[set[Stage], int, int]], shape: Shape
) -> None:
    cost = costs(usable_gb)
    workers = [
        strong(f"w{index}", *stages, devices=devices, degrees=degrees)
        for index, (stages, devices, degrees) in enumerate(hosts)
    ]
    roster: Roster = state_of(*workers).roster
    options = Options(cost)
    served = all(
        any(options.fits(kind, stage, shape) for kind in roster.kinds(stage))
        for stage in STAGES
        if roster.kinds(stage)
    )

    assert (misfit(cost, roster, (), shape) is None) is served
