"""The table of conditions, and the events of their transitions."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tridentserve.domain.ids import PipelineName, Revision
from tridentserve.domain.load import UNKNOWN, Load, StageTime
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape, Reason
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.manifest.profile_files import builtin
from tridentserve.manifest.status import Condition, ConditionStatus, ConditionType, Status
from tridentserve.manifest.v1alpha1 import DiffusionPipeline, parse
from tridentserve.planner.pools import Attempt, PoolKey, PoolState, TransitionMemory, Wait
from tridentserve.planner.protocols import Infeasible
from tridentserve_operator import events
from tridentserve_operator.conditions import Facts, blocked, chain, conditions
from tridentserve_operator.decide import Decision, Memory
from tridentserve_operator.observe import Observation
from tridentserve_operator.problems import Problem, given_up
from tridentserve_operator.status import blocked_status, new_status
from tridentserve_operator.testing import pipeline_body
from tridentserve_operator.views import ROUTER, pod_view

NEW, OLD = Revision("aaaaaa"), Revision("bbbbbb")
WAIT = Wait(reason="workers start", until_s=9.0)
KNOWN = Load(arrivals_per_s=0.0)
PLAN = PlacementPlan(
    pools=tuple(
        PoolPlan(shape=PoolShape(stages=(stage,), devices=0, fraction_percent=100), workers=1)
        for stage in STAGES
    ),
    reasons=(Reason(code="Proportional", message="1 request/s"),),
)
BROKEN = Problem(reason="CannotStart", message="diffuse cannot start: no model")


def pool(stage: Stage, ready: int, revision: Revision = NEW) -> PoolState:
    shape = PoolShape(stages=(stage,), devices=0, fraction_percent=100)
    return PoolState(key=PoolKey(shape=shape, revision=revision), desired=1, routable=ready)


def router(*, ready: bool) -> Any:
    labels = {"app.kubernetes.io/component": ROUTER}
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return pod_view({"metadata": {"name": "r", "uid": "r", "labels": labels}, "status": status})


def facts(
    *ready: int,
    revision: Revision = NEW,
    suspend: bool = False,
    with_router: bool = True,
    problems: tuple[Problem, ...] = (),
    steps: tuple[Any, ...] = (),
    load: Load = KNOWN,
    plan: PlacementPlan = PLAN,
    **over: Any,
) -> Facts:
    states = tuple(pool(stage, count, revision) for stage, count in zip(STAGES, ready, strict=True))
    spec = parse(pipeline_body(suspend=suspend)).spec.to_domain(PipelineName("default/flux"))
    memory = over.pop("memory", Memory())
    return Facts(
        spec=spec,
        revision=NEW,
        url="u",
        observed=Observation(pools=states, pods=(router(ready=with_router),)),
        decision=Decision(plan=plan, steps=steps, memory=memory, next_look_s=0.0, changed=False),
        load=load,
        asked=over.pop("asked", True),
        problems=problems,
        profile=over.pop("profile", None),
        profile_problem=over.pop("profile_problem", None),
        router_current=over.pop("router_current", True),
    )


def verdict(kind: ConditionType, about: Facts) -> tuple[str, str]:
    found = next(one for one in conditions((), about, 1, 0.0) if one.type == kind)
    return str(found.status), found.reason


@pytest.mark.parametrize(
    ("about", "available", "ready"),
    [
        (facts(1, 1, 1), ("True", "Serving"), ("True", "AllReady")),
        (facts(0, 0, 0), ("False", "WorkersStarting"), ("False", "WorkersStarting")),
        (facts(1, 0, 1), ("False", "WorkersStarting"), ("False", "WorkersStarting")),
        (
            facts(1, 1, 1, with_router=False),
            ("False", "RouterStarting"),
            ("False", "RouterStarting"),
        ),
        (facts(1, 1, 1, revision=OLD), ("True", "Serving"), ("False", "WorkersStarting")),
        (
            facts(1, 1, 1, router_current=False),
            ("True", "Serving"),
            ("False", "WorkersStarting"),
        ),
        (facts(1, 0, 1, problems=(BROKEN,)), ("False", "CannotStart"), ("False", "CannotStart")),
        (facts(1, 1, 1, problems=(BROKEN,)), ("True", "Serving"), ("True", "AllReady")),
        (
            facts(1, 1, 1, revision=OLD, problems=(BROKEN,)),
            ("True", "Serving"),
            ("False", "CannotStart"),
        ),
        (facts(0, 0, 0, suspend=True), ("False", "Suspended"), ("False", "Suspended")),
        (facts(1, 1, 1, suspend=True), ("True", "Serving"), ("False", "Suspended")),
    ],
)
def test_available_is_a_chain_and_ready_all_of_the_plan(
    about: Facts, available: tuple[str, str], ready: tuple[str, str]
) -> None:
    assert verdict(ConditionType.AVAILABLE, about) == available
    assert verdict(ConditionType.READY, about) == ready


def test_a_chain_is_of_one_revision() -> None:
    mixed = (pool(Stage.ENCODE, 1), pool(Stage.DIFFUSE, 1, OLD), pool(Stage.DECODE, 1))

    assert not chain(mixed)
    assert chain((*mixed, pool(Stage.DIFFUSE, 1)))


def test_progress_is_made_while_steps_are_left() -> None:
    kind = ConditionType.PROGRESSING

    assert verdict(kind, facts(1, 1, 1)) == ("False", "Settled")
    assert verdict(kind, facts(1, 1, 0, steps=(WAIT,))) == ("True", "Changing")
    assert verdict(kind, facts(1, 1, 1, router_current=False)) == ("True", "Changing")


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        (facts(1, 1, 1), ("True", "Fresh")),
        (facts(1, 1, 1, load=UNKNOWN), ("False", "LoadUnknown")),
        (facts(1, 1, 1, load=UNKNOWN, asked=False), ("Unknown", "NotAsked")),
    ],
)
def test_metrics_are_there_not_there_or_nobody_knows(
    about: Facts, expected: tuple[str, str]
) -> None:
    assert verdict(ConditionType.METRICS_AVAILABLE, about) == expected


def test_a_stage_that_is_held_for_want_of_its_seconds_is_named() -> None:
    times = {stage: StageTime(stage=stage, fraction_percent=50, seconds=1.0) for stage in STAGES}
    known = Load(arrivals_per_s=0.5, seconds=tuple(times.values()))
    unknown = Load(arrivals_per_s=0.5, seconds=(times[Stage.ENCODE], times[Stage.DECODE]))
    fixed = replace(PLAN, follows_load=False)
    kind = ConditionType.METRICS_AVAILABLE

    told = conditions((), facts(1, 1, 1, load=unknown), 1, 0.0)

    held = next(one for one in told if one.type == kind)
    assert (str(held.status), held.reason) == ("Unknown", "SecondsUnknown")
    assert "take in diffuse is not known" in held.message
    assert verdict(kind, facts(1, 1, 1, load=known)) == ("True", "Fresh")
    assert verdict(kind, facts(1, 1, 1, load=unknown, plan=fixed)) == ("True", "Fresh")
    assert verdict(kind, facts(1, 1, 1, load=replace(unknown, arrivals_per_s=0.0)))[0] == "True"


def test_a_stage_that_is_sized_by_the_profile_is_named_and_nothing_is_unknown() -> None:
    times = (StageTime(stage=Stage.ENCODE, fraction_percent=50, seconds=1.0),)
    unmeasured = Load(arrivals_per_s=0.5, seconds=times)
    whole = builtin("sd3")
    partial = replace(whole, samples=tuple(o for o in whole.samples if o.stage is Stage.DIFFUSE))
    kind = ConditionType.METRICS_AVAILABLE

    told = conditions((), facts(1, 1, 1, load=unmeasured, profile=whole), 1, 0.0)

    sized = next(one for one in told if one.type == kind)
    assert (str(sized.status), sized.reason) == ("True", "SecondsFromProfile")
    assert "take in diffuse, decode is what the profile says" in sized.message
    told = conditions((), facts(1, 1, 1, load=unmeasured, profile=partial), 1, 0.0)
    held = next(one for one in told if one.type == kind)
    assert (str(held.status), held.reason) == ("Unknown", "SecondsUnknown")
    assert "take in decode is not known" in held.message


@pytest.mark.parametrize("ready", [(1, 1, 1), (1, 0, 1), (0, 0, 0)])
def test_a_profile_that_cannot_be_read_degrades_and_explains_nothing_else(
    ready: tuple[int, ...],
) -> None:
    problem = Problem(reason="ProfileUnreadable", message="no")
    healthy, ailing = facts(*ready), facts(*ready, profile_problem=problem)

    assert verdict(ConditionType.DEGRADED, ailing) == ("True", "ProfileUnreadable")
    for kind in set(ConditionType) - {ConditionType.DEGRADED}:
        assert verdict(kind, ailing) == verdict(kind, healthy)
    both = facts(*ready, profile_problem=problem, problems=(BROKEN,))
    assert verdict(ConditionType.DEGRADED, both) == ("True", "CannotStart")


def test_scaling_is_limited_by_bounds_or_by_the_cluster() -> None:
    kind = ConditionType.SCALING_LIMITED
    limited = PlacementPlan(pools=PLAN.pools, reasons=PLAN.reasons, limited=True)
    refused = TransitionMemory(
        infeasible=(Infeasible(shape=PLAN.pools[1].shape, revision=NEW, workers=3, until_s=1.0),)
    )

    assert verdict(kind, facts(1, 1, 1)) == ("False", "WithinLimits")
    assert verdict(kind, facts(1, 1, 1, plan=limited)) == ("True", "LimitReached")
    no_room = facts(1, 1, 1, memory=Memory(transition=refused))
    assert verdict(kind, no_room) == ("True", "Unobtainable")


def test_a_pool_that_the_plan_does_without_is_no_problem() -> None:
    key = PoolKey(shape=PLAN.pools[0].shape, revision=NEW)
    never = Attempt(pool=key, routable=0, since_s=0.0, gave_up=True)
    growing = Attempt(pool=key, routable=1, since_s=0.0)

    found = given_up(TransitionMemory(attempts=(never,)), PLAN)

    assert [one.reason for one in found] == ["RolloutGivenUp"]
    assert given_up(TransitionMemory(attempts=(growing,)), PLAN) == ()
    without = PlacementPlan(pools=PLAN.pools[1:], reasons=())
    assert given_up(TransitionMemory(attempts=(never,)), without) == ()


def test_the_time_of_a_condition_moves_with_its_status_alone() -> None:
    first = conditions((), facts(0, 1, 1), 1, 100.0)
    other_reason = conditions(first, facts(0, 1, 1, problems=(BROKEN,)), 2, 200.0)
    true = conditions(other_reason, facts(1, 1, 1), 2, 300.0)

    def time(found: tuple[Condition, ...]) -> float:
        return next(
            one.last_transition_time.timestamp() for one in found if one.type == ConditionType.READY
        )

    assert (time(first), time(other_reason), time(true)) == (100.0, 100.0, 300.0)


def test_a_status_after_a_look_at_the_same_things_is_equal() -> None:
    about = facts(1, 1, 1)
    first = new_status(Status(), 3, about, 100.0)

    assert new_status(first, 3, about, 200.0) == first
    assert new_status(first, 4, about, 200.0) != first


def test_a_status_survives_the_way_through_the_api_server() -> None:
    about = facts(1, 1, 1, problems=(BROKEN,))
    first = new_status(Status(), 3, about, 100.7)

    assert Status.model_validate(first.to_manifest()) == first


def test_the_reasons_of_a_plan_are_written_once() -> None:
    first = new_status(Status(), 1, facts(1, 1, 1), 1.0)
    same = PlacementPlan(
        pools=PLAN.pools, reasons=(Reason(code="Proportional", message="1.1 requests/s"),)
    )

    second = new_status(first, 1, facts(1, 1, 1, plan=same), 2.0)

    assert second.plan == first.plan


def test_what_blocks_leaves_availability_to_who_is_there() -> None:
    seen = facts(1, 1, 1)
    serving = conditions((), seen, 1, 1.0)
    after = {one.type: one for one in blocked(serving, BROKEN, seen.observed, 2, 2.0)}

    assert after[ConditionType.AVAILABLE].status is ConditionStatus.TRUE
    assert after[ConditionType.READY].status is ConditionStatus.FALSE
    assert after[ConditionType.DEGRADED].status is ConditionStatus.TRUE
    assert len(after) == 6

    for old in ((), serving):
        nothing = {one.type: one for one in blocked(old, BROKEN, Observation(), 2, 2.0)}
        assert nothing[ConditionType.AVAILABLE].status is ConditionStatus.FALSE
    assert blocked_status(Status(), 2, BROKEN, Observation(), 2.0).observed_generation == 2


# --- events ---------------------------------------------------------------------------------------


def flux() -> DiffusionPipeline:
    return parse(pipeline_body())


def told(old: Facts | None, new: Facts) -> list[tuple[str, str]]:
    before = conditions((), old, 1, 1.0) if old is not None else ()
    after = conditions(before, new, 1, 2.0)
    found = events.transitions(flux(), before, after, "operator-0", 2.0)
    return [(event["type"], event["reason"]) for event in found]


def test_a_new_pipeline_tells_nothing_but_what_is_wrong() -> None:
    assert told(None, facts(0, 0, 0, load=UNKNOWN)) == []
    assert told(None, facts(0, 0, 0, problems=(BROKEN,))) == [("Warning", "CannotStart")]


def test_transitions_are_told_and_nothing_else_is() -> None:
    good = facts(1, 1, 1)

    assert told(facts(0, 0, 0), good) == [("Normal", "Ready")]
    assert told(good, good) == []
    assert told(good, facts(1, 1, 1, load=UNKNOWN)) == [("Warning", "LoadUnknown")]
    assert told(facts(1, 1, 1, load=UNKNOWN), good) == [("Normal", "MetricsAvailable")]
    assert told(facts(1, 1, 1, load=UNKNOWN, asked=False), good) == []
    assert told(facts(1, 1, 1, problems=(BROKEN,)), good) == [("Normal", "Recovered")]


def test_another_problem_is_told_though_the_condition_stays() -> None:
    other = Problem(reason="ImagePull", message="no such image")

    found = told(facts(1, 1, 1, problems=(BROKEN,)), facts(1, 1, 1, problems=(other,)))

    assert found == [("Warning", "ImagePull")]


def test_an_event_is_about_the_pipeline_and_fits() -> None:
    event = events.event(flux(), "Normal", "Ready", "x" * 5000, "operator-0", 1.25)

    assert len(event["note"]) == 1024
    assert event["eventTime"] == "1970-01-01T00:00:01.250000Z"
    assert event["regarding"]["uid"] == "uid-1"
    assert event["reportingInstance"] == "operator-0"
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is UTC


def test_a_plan_is_told_with_its_sizes_and_reasons() -> None:
    event = events.plan_changed(flux(), PLAN, "operator-0", 1.0)

    assert event["reason"] == "PlanChanged"
    assert "1 x encode@100" in event["note"]
    assert "1 request/s" in event["note"]
