"""One look: when the planner is asked, what is remembered, and what a restart reads back."""

from dataclasses import replace
from typing import Any

import pytest

from tridentserve.domain.cluster import Cluster
from tridentserve.domain.ids import PipelineName, Revision
from tridentserve.domain.load import UNKNOWN, Load, StageTime
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.manifest.profile_files import builtin
from tridentserve.manifest.status import PlanReason, PlanStatus, PoolStatus, StageStatus, Status
from tridentserve.manifest.v1alpha1 import parse
from tridentserve.planner.cost import CostModel
from tridentserve.planner.pools import MarkDraining, Patience, PoolKey, PoolState, SetReplicas, Step
from tridentserve.planner.protocols import PlacementInputs
from tridentserve.planner.registry import PLACEMENT_NAMES, placement_planner
from tridentserve_operator.decide import Decision, Memory, decide, restored
from tridentserve_operator.testing import pipeline_body

REVISION, OTHER = Revision("aaaaaa"), Revision("bbbbbb")
FRACTIONS: dict[str, Any] = {
    stage: {"replicas": {"min": 1, "max": 8}, "gpu": {"fractionsPercent": [50, 100]}}
    for stage in ("encode", "diffuse", "decode")
}


def spec(**over: Any) -> PipelineSpec:
    body = pipeline_body(**{"stages": FRACTIONS, **over})
    return parse(body).spec.to_domain(PipelineName("default/flux"))


def pool(
    stage: Stage, replicas: int, fraction: int = 100, revision: Revision = REVISION
) -> PoolState:
    shape = PoolShape(stages=(stage,), devices=0, fraction_percent=fraction)
    key = PoolKey(shape=shape, revision=revision)
    return PoolState(key=key, desired=replicas, routable=replicas)


def pools(*sizes: int, fraction: int = 100, revision: Revision = REVISION) -> list[PoolState]:
    return [
        pool(stage, size, fraction, revision) for stage, size in zip(STAGES, sizes, strict=True)
    ]


def plan_of(*sizes: int, fraction: int = 100) -> PlacementPlan:
    return PlacementPlan(
        pools=tuple(
            PoolPlan(
                shape=PoolShape(stages=(stage,), devices=0, fraction_percent=fraction),
                workers=size,
            )
            for stage, size in zip(STAGES, sizes, strict=True)
        ),
        reasons=(),
    )


def status_of(plan: PlacementPlan, **over: Any) -> Status:
    return Status(
        stages=tuple(
            StageStatus(
                name=stage,
                desired=plan.workers(stage),
                ready=0,
                fraction_percent=plan.pools[number].shape.fraction_percent,
            )
            for number, stage in enumerate(STAGES)
        ),
        plan=PlanStatus(
            id=over.get("id", plan.id),
            reasons=(PlanReason(code="Proportional", message="4 requests/s", stage=Stage.DIFFUSE),),
        ),
    )


def look(
    wanted: PipelineSpec,
    there: list[PoolState],
    memory: Memory,
    *,
    load: Load = UNKNOWN,
    cost: CostModel | None = None,
    status: Status | None = None,
    now: float = 1000.0,
) -> Decision:
    return decide(
        wanted,
        REVISION,
        tuple(there),
        load,
        memory,
        cost=cost,
        status=status or Status(),
        patience=Patience(),
        now=now,
    )


def busy(per_s: float, seconds: float = 1.0) -> Load:
    times = tuple(StageTime(stage=stage, fraction_percent=100, seconds=seconds) for stage in STAGES)
    return Load(arrivals_per_s=per_s, seconds=times)


@pytest.mark.parametrize("name", PLACEMENT_NAMES)
def test_the_planner_that_the_resource_names_is_the_one_that_places(name: str) -> None:
    wanted, load = spec(planner={"placement": name}), busy(3.0)

    decision = look(wanted, [], Memory(), load=load)

    asked = PlacementInputs(
        spec=wanted,
        load=load,
        cluster=Cluster(),
        previous=None,
        profile=None,
        infeasible=(),
        now=1000.0,
    )
    assert decision.plan.pools == placement_planner(name).plan(asked).pools
    assert (decision.plan.workers(Stage.DIFFUSE) == 1) == (name == "Static")


def test_a_profile_sizes_what_was_never_measured_and_nothing_else() -> None:
    wanted, profile = spec(), builtin("sd3")
    seconds = [
        one.fixed_s + one.step_s * profile.steps
        for one in profile.samples
        if one.stage is Stage.DIFFUSE and one.strategy.degree == one.batch == 1
    ]
    mean_s = sum(seconds) / len(seconds)
    encode = StageTime(stage=Stage.ENCODE, fraction_percent=100, seconds=3.0)
    load = Load(arrivals_per_s=0.5, seconds=(encode,))

    decision = look(wanted, [], Memory(), load=load, cost=CostModel(profile))

    reasons = {reason.stage: reason.message for reason in decision.plan.reasons}
    assert "0.50 requests/s x 3 s at 100 %" in reasons[Stage.ENCODE]
    assert f"0.50 requests/s x {mean_s:.3g} s at 100 %" in reasons[Stage.DIFFUSE]


def test_another_profile_is_looked_at_at_once() -> None:
    load, cost = Load(arrivals_per_s=0.5), CostModel(builtin("sd3"))
    first = look(spec(), pools(1, 1, 1), Memory(), load=load)
    assert first.plan.workers(Stage.DIFFUSE) == 1

    told = look(spec(), pools(1, 1, 1), first.memory, load=load, cost=cost, now=1001.0)

    assert told.plan.workers(Stage.DIFFUSE) > 1
    equal = CostModel(builtin("sd3"))
    again = look(spec(), pools(1, 1, 1), told.memory, load=load, cost=equal, now=1002.0)
    assert again.memory.planned_s == 1001.0


def test_a_profile_that_is_gone_lets_nothing_shrink() -> None:
    load, cost = Load(arrivals_per_s=0.5), CostModel(builtin("sd3"))
    told = look(spec(), pools(1, 1, 1), Memory(), load=load, cost=cost)
    sizes = [told.plan.workers(stage) for stage in STAGES]
    fractions = {pool.shape.fraction_percent for pool in told.plan.pools}
    assert max(sizes) > 1

    there = [
        pool(one.shape.stages[0], one.workers, one.shape.fraction_percent)
        for one in told.plan.pools
    ]
    for memory, status in ((told.memory, Status()), (Memory(), status_of(told.plan))):
        for now in (1001.0, 1100.0, 9000.0):
            bare = look(spec(), there, memory, load=load, status=status, now=now)
            assert [bare.plan.workers(stage) for stage in STAGES] == sizes
            assert {one.shape.fraction_percent for one in bare.plan.pools} == fractions


@pytest.mark.parametrize("gave_up", [False, True])
def test_a_restart_takes_no_last_worker_again_for_what_gave_up(gave_up: bool) -> None:
    new = [
        replace(one, routable=0, starting=1, unschedulable=1, insufficient=1)
        for one in pools(1, 1, 1)
    ]
    there = [*new, *pools(1, 1, 1, revision=OTHER)]
    written = Status(
        stages=tuple(
            StageStatus(
                name=stage,
                desired=1,
                ready=1,
                pools=(
                    PoolStatus(
                        name=f"new-{stage}",
                        fraction_percent=100,
                        revision=REVISION,
                        desired=1,
                        ready=0,
                        gave_up=gave_up,
                    ),
                ),
            )
            for stage in STAGES
        )
    )
    memory = Memory()
    steps: list[Step] = []
    for now in (1000.0, 1000.0 + Patience().unschedulable_s):
        decision = look(spec(), there, memory, status=written, now=now)
        memory = decision.memory
        steps += decision.steps

    drained = [step for step in steps if isinstance(step, MarkDraining)]
    assert any(step.pool.revision == OTHER for step in drained) != gave_up


def test_the_first_look_at_nothing_asks_for_the_least_of_everything() -> None:
    decision = look(spec(), [], Memory())

    assert [(one.shape.fraction_percent, one.workers) for one in decision.plan.pools] == [
        (100, 1)
    ] * 3
    assert [type(step) for step in decision.steps].count(SetReplicas) == 3
    assert not decision.changed


def test_the_planner_is_asked_once_an_interval_and_steps_go_on_in_between() -> None:
    first = look(spec(), pools(1, 1, 1), Memory(), load=busy(0.1))
    assert first.next_look_s <= 1005.0

    early = look(spec(), pools(1, 1, 1), first.memory, load=busy(9.0), now=1004.0)
    assert early.plan == first.plan
    late = look(spec(), pools(1, 1, 1), first.memory, load=busy(9.0), now=1005.0)

    assert late.plan.workers(Stage.DIFFUSE) > 1
    assert late.changed


def test_an_edit_is_looked_at_at_once() -> None:
    first = look(spec(), pools(1, 1, 1), Memory())
    more = {**FRACTIONS, "diffuse": {"replicas": {"min": 3, "max": 8}}}

    edited = look(spec(stages=more), pools(1, 1, 1), first.memory, now=1001.0)

    assert edited.plan.workers(Stage.DIFFUSE) == 3


def test_a_clock_that_is_set_back_does_not_stop_the_planner() -> None:
    first = look(spec(), pools(1, 1, 1), Memory(), load=busy(0.1))

    back = look(spec(), pools(1, 1, 1), first.memory, load=busy(9.0), now=10.0)

    assert back.memory.planned_s == 10.0


def test_an_equal_plan_keeps_the_reasons_for_which_it_was_made() -> None:
    first = look(spec(), pools(1, 1, 1), Memory(), load=busy(0.10))
    second = look(spec(), pools(1, 1, 1), first.memory, load=busy(0.11), now=1010.0)

    assert second.plan.reasons == first.plan.reasons
    assert not second.changed


@pytest.mark.parametrize("placement", ["Static", "Proportional"])
def test_suspending_needs_no_workers_and_resuming_starts_as_if_new(placement: str) -> None:
    planner = {"planner": {"placement": placement}}
    running = look(spec(**planner), pools(4, 4, 4), Memory(), status=status_of(plan_of(4, 4, 4)))

    off = look(spec(suspend=True, **planner), pools(4, 4, 4), running.memory, now=1001.0)
    assert off.plan.pools == ()
    on = look(spec(**planner), [], off.memory, now=1002.0)

    assert [one.workers for one in on.plan.pools] == [1, 1, 1]


# --- restarts -------------------------------------------------------------------------------------


def test_the_plan_in_force_is_read_back_from_the_status() -> None:
    plan = plan_of(2, 6, 3, fraction=50)

    found = restored(spec(), status_of(plan), tuple(pools(1, 1, 1)))

    assert found is not None
    assert found.id == plan.id
    assert [reason.message for reason in found.reasons] == ["4 requests/s"]


def test_a_status_that_was_tampered_with_is_not_believed() -> None:
    found = restored(spec(), status_of(plan_of(9, 9, 9), id="nonsense"), tuple(pools(2, 3, 1)))

    assert found is not None
    assert [one.workers for one in found.pools] == [2, 3, 1]


def test_without_a_status_the_deployments_tell_with_every_revision_counted() -> None:
    # A transition without room: one worker of three was drained, and one came in its place.
    there = [*pools(1, 2, 1), *pools(1, 1, 1, revision=OTHER)]

    found = restored(spec(), Status(), tuple(there))

    assert found is not None
    assert [one.workers for one in found.pools] == [2, 3, 2]


def test_a_surge_does_not_count_beyond_what_may_be() -> None:
    there = [*pools(8, 8, 8), *pools(8, 8, 8, revision=OTHER)]

    found = restored(spec(), Status(), tuple(there))

    assert found is not None
    assert [one.workers for one in found.pools] == [8, 8, 8]


def test_of_two_fractions_the_one_that_carries_more_is_the_plan() -> None:
    there = [*pools(2, 2, 2), *pools(1, 1, 1, fraction=50)]

    found = restored(spec(), Status(), tuple(there))

    assert found is not None
    assert {one.shape.fraction_percent for one in found.pools} == {100}


def test_nothing_there_is_no_plan() -> None:
    assert restored(spec(), Status(), ()) is None
    assert restored(spec(), Status(), tuple(pools(1, 0, 1))) is None


@pytest.mark.parametrize("status", [Status(), status_of(plan_of(5, 7, 5))])
def test_a_restart_with_an_unknown_load_asks_for_not_one_worker_fewer(status: Status) -> None:
    memory = Memory()
    for second in range(0, 2000, 5):
        decision = look(spec(), pools(5, 7, 5), memory, status=status, now=1000.0 + second)
        memory = decision.memory
        assert decision.steps == ()
        assert [one.workers for one in decision.plan.pools] == [5, 7, 5]


def test_a_restart_waits_for_a_whole_window_even_when_the_load_is_known_to_be_low() -> None:
    plan, memory = plan_of(5, 7, 5), Memory()
    window_s = spec().behavior.scale_down.stabilization_window_s
    for second in range(0, window_s - 5, 5):
        decision = look(
            spec(),
            pools(5, 7, 5),
            memory,
            load=busy(0.01),
            status=status_of(plan),
            now=1000.0 + second,
        )
        memory = decision.memory
        assert decision.plan.workers(Stage.DIFFUSE) == 7

    later = look(spec(), pools(5, 7, 5), memory, load=busy(0.01), now=1000.0 + window_s + 30)
    assert later.plan.workers(Stage.DIFFUSE) < 7


def test_memory_is_a_value_and_the_same_look_gives_the_same_answer() -> None:
    first = look(spec(), pools(1, 1, 1), Memory(), load=busy(3.0))

    assert look(spec(), pools(1, 1, 1), Memory(), load=busy(3.0)) == first
    assert replace(first.memory) == first.memory
