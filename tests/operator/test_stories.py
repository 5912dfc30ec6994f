"""Stories of pipelines in virtual time: everything but the API server is the real thing."""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tridentserve.domain.names import ANNOTATION_DELETION_COST, LABEL_COMPONENT, LABEL_DRAINING
from tridentserve.errors import InvalidFieldError, UnavailableError
from tridentserve.manifest.status import ConditionStatus, ConditionType
from tridentserve_operator.settings import Settings
from tridentserve_operator.testing import pipeline_body, pool_of

if TYPE_CHECKING:
    from tests.operator.conftest import Story

READY, AVAILABLE = ConditionType.READY, ConditionType.AVAILABLE
DEGRADED, PROGRESSING = ConditionType.DEGRADED, ConditionType.PROGRESSING
METRICS, LIMITED = ConditionType.METRICS_AVAILABLE, ConditionType.SCALING_LIMITED
STAGES: dict[str, Any] = {
    "diffuse": {"replicas": {"min": 1, "max": 8}, "gpu": {"fractionsPercent": [50, 100]}}
}
CRASHED: dict[str, Any] = {
    "restartCount": 3,
    "state": {"running": {}},
    "lastState": {"terminated": {"exitCode": 1, "message": "Segmentation fault"}},
}
QUICK: dict[str, Any] = {
    "behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {"stabilizationWindowSeconds": 20},
    }
}


async def test_a_new_pipeline_becomes_ready(story: "Story") -> None:
    story.apply()

    await story.run(5)

    assert story.pools() == {"encode-100": 1, "diffuse-100": 1, "decode-100": 1}
    assert story.condition(READY).status is ConditionStatus.TRUE
    assert story.condition(AVAILABLE).status is ConditionStatus.TRUE
    assert story.condition(PROGRESSING).status is ConditionStatus.FALSE
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE
    assert {kind for verb, kind in story.writes() if verb == "apply"} >= {
        "ServiceAccount", "RoleBinding", "Service", "Deployment", "DiffusionPipeline/status"
    }  # fmt: skip
    assert [stage.summary for stage in story.status.stages] == ["1/1", "1/1", "1/1"]
    assert story.status.url == "flux-router.default.svc:8500"
    assert story.status.plan is not None
    assert "NothingKnown" in {reason.code for reason in story.status.plan.reasons}


async def test_a_pipeline_at_rest_costs_no_call(story: "Story") -> None:
    story.apply()
    story.load(0.0)
    await story.run(10)
    story.cluster.calls.clear()

    for _ in range(30):
        story.load(0.0)
        await story.run(10)

    assert story.writes() == []


async def test_everything_is_written_again_after_ten_minutes(story: "Story") -> None:
    story.apply()
    await story.run(10)
    story.cluster.calls.clear()

    await story.run(580)
    assert story.writes() == []
    await story.run(20)

    assert {kind for _, kind in story.writes()} >= {"Service", "ServiceAccount", "RoleBinding"}


async def test_what_is_written_again_after_ten_minutes_says_the_same(story: "Story") -> None:
    story.apply()
    await story.run(60)
    story.cluster.failing["diffuse"] = CRASHED
    await story.run(5)
    story.cluster.failing.clear()
    await story.run(5)
    status, events = story.status, story.events()
    assert status.last_failure is not None
    story.cluster.calls.clear()

    for _ in range(2):
        story.cluster.now += 600
        await story.run(5)

    assert ("apply", "DiffusionPipeline/status") in story.writes()
    assert story.status == status
    assert story.events() == events


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount", "RoleBinding"])
async def test_what_the_router_needs_comes_back_when_somebody_deletes_or_edits_it(
    story: "Story", kind: str
) -> None:
    story.apply()
    await story.run(10)
    ((key, before),) = (
        (one, body) for one, body in story.cluster.objects.items() if one[0] == kind
    )

    del story.cluster.objects[key]
    await story.run(1)
    assert story.cluster.objects[key]["metadata"]["labels"] == before["metadata"]["labels"]

    await story.run(10)
    await story.cluster.merge(*key, {"metadata": {"labels": {LABEL_COMPONENT: "mine"}}})
    await story.run(1)
    assert story.cluster.objects[key]["metadata"]["labels"] == before["metadata"]["labels"]


async def test_a_change_of_what_is_not_ours_costs_one_call(story: "Story") -> None:
    story.apply()
    await story.run(10)
    key = ("Service", "default", "flux-router")
    await story.cluster.merge(*key, {"metadata": {"labels": {"team": "a"}}})
    story.cluster.calls.clear()

    await story.run(10)

    assert story.writes() == [("apply", "Service")]
    assert story.cluster.objects[key]["metadata"]["labels"]["team"] == "a"


async def test_an_arrival_rate_that_jitters_does_not_rewrite_the_status(story: "Story") -> None:
    story.apply(autoscaling=QUICK)
    story.load(0.5)
    await story.run(10)
    story.cluster.calls.clear()

    for step in range(40):
        story.load(0.5 + step / 1000)
        await story.run(5)

    assert story.writes() == []


async def test_load_brings_workers_and_reasons_that_quote_it(story: "Story") -> None:
    story.apply(stages=STAGES, autoscaling=QUICK)
    await story.run(5)
    pool = next(name for name in story.replicas() if "diffuse" in name)

    story.load(4.0, {("diffuse", pool): 1.0})
    await story.run(40)

    assert story.pools()["diffuse-100"] == 6
    assert story.status.plan is not None
    assert any("4.00 requests/s" in reason.message for reason in story.status.plan.reasons)
    assert "PlanChanged" in story.events()
    changes = story.registry.get_sample_value(
        "tridentserve_plan_changes_total",
        {"pipeline": "default/flux", "reason": story.status.plan.reasons[0].code},
    )
    assert changes is not None
    assert changes >= 1


async def test_scaling_down_labels_victims_first_and_only_they_go(story: "Story") -> None:
    story.apply(stages=STAGES, autoscaling=QUICK)
    await story.run(5)
    pool = next(name for name in story.replicas() if "diffuse" in name)
    story.load(4.0, {("diffuse", pool): 1.0})
    await story.run(40)
    before = {pod["metadata"]["name"] for pod in story.cluster.pods("diffuse")}

    labelled: set[str] = set()
    for _ in range(60):
        story.load(2.0, {("diffuse", pool): 1.0})
        await story.look()
        labelled |= {
            pod["metadata"]["name"]
            for pod in story.cluster.pods("diffuse")
            if LABEL_DRAINING in pod["metadata"]["labels"]
        }
        story.cluster.settle()
        story.cluster.now += 1

    after = {pod["metadata"]["name"] for pod in story.cluster.pods("diffuse")}
    assert len(after) < len(before)
    assert before - after == labelled


async def test_a_worker_that_is_wanted_after_all_serves_again(story: "Story") -> None:
    story.apply()
    await story.run(5)
    (pod,) = story.cluster.pods("encode")
    pod["metadata"]["labels"][LABEL_DRAINING] = "true"
    pod["metadata"]["annotations"] = {ANNOTATION_DELETION_COST: "-1000"}

    await story.run(10)

    (kept,) = story.cluster.pods("encode")
    assert kept["metadata"]["name"] == pod["metadata"]["name"]
    assert LABEL_DRAINING not in kept["metadata"]["labels"]
    assert ANNOTATION_DELETION_COST not in kept["metadata"]["annotations"]


async def test_nothing_shrinks_while_the_load_is_unknown(story: "Story") -> None:
    story.apply(stages=STAGES, autoscaling=QUICK)
    await story.run(5)
    pool = next(name for name in story.replicas() if "diffuse" in name)
    story.load(4.0, {("diffuse", pool): 1.0})
    await story.run(40)
    high = story.pools()

    story.prometheus_stops()
    await story.run(300)

    assert story.pools() == high
    assert story.condition(METRICS).status is ConditionStatus.FALSE


async def test_an_operator_that_restarts_shrinks_nothing_before_it_knows_the_load(
    story: "Story",
) -> None:
    story.apply(stages=STAGES, autoscaling=QUICK)
    await story.run(5)
    pool = next(name for name in story.replicas() if "diffuse" in name)
    story.load(4.0, {("diffuse", pool): 1.0})
    await story.run(40)
    high, reasons = story.pools(), story.status.plan

    story.prometheus_forgets()
    story.restart()
    await story.run(100)

    assert story.pools() == high
    assert story.status.plan == reasons
    assert story.condition(METRICS).status is ConditionStatus.UNKNOWN


async def test_a_restart_without_traffic_moves_nothing_though_no_seconds_are_known(
    story: "Story",
) -> None:
    story.apply(stages={"decode": {"gpu": {"fractionsPercent": [50, 100]}}})
    await story.run(5)
    name = next(name for name in story.replicas() if "decode" in name)
    story.load(0.1, {("decode", name): 0.1})
    await story.run(400)
    assert story.pools() == {"encode-100": 1, "diffuse-100": 1, "decode-50": 1}

    story.load(0.0)
    story.restart()
    await story.run(350)

    assert story.pools() == {"encode-100": 1, "diffuse-100": 1, "decode-50": 1}


async def test_a_lost_status_does_not_shrink_either(story: "Story") -> None:
    story.apply(stages=STAGES, autoscaling=QUICK)
    await story.run(5)
    pool = next(name for name in story.replicas() if "diffuse" in name)
    story.load(4.0, {("diffuse", pool): 1.0})
    await story.run(40)
    high = story.pools()

    story.prometheus_forgets()
    story.cluster.objects["DiffusionPipeline", "default", "flux"].pop("status")
    story.restart()
    await story.run(60)

    assert story.pools() == high


async def test_a_new_revision_is_complete_before_the_old_one_goes(story: "Story") -> None:
    story.apply()
    await story.run(5)
    old = story.status.revision

    story.apply(model={"uri": "pvc://models/flux2"})
    chains = []
    for _ in range(30):
        await story.look()
        chains.append(_ready_stages(story))
        story.cluster.settle()
        story.cluster.now += 1
    await story.look()

    assert all(any(len(stages) == 3 for stages in chain.values()) for chain in chains)
    assert story.status.revision != old
    assert {name.rsplit("-", 1)[1] for name in story.replicas() if "router" not in name} == {
        story.status.revision
    }
    assert story.condition(READY).status is ConditionStatus.TRUE


def _ready_stages(story: "Story") -> dict[str, set[str]]:
    """Stages with a ready worker that takes requests, by revision."""
    found: dict[str, set[str]] = {}
    for pod in story.cluster.pods():
        ready = any(one["type"] == "Ready" for one in pod["status"]["conditions"])
        if ready and pool_of(pod) != "router" and LABEL_DRAINING not in pod["metadata"]["labels"]:
            _, stage, _, revision = pool_of(pod).split("-")
            found.setdefault(revision, set()).add(stage)
    return found


@pytest.mark.parametrize("edit", ["limits", "slo", "planner", "router"])
async def test_editing_what_the_router_watches_itself_writes_no_object(
    story: "Story", edit: str
) -> None:
    changes = {
        "limits": {"maxPixels": 4096},
        "slo": {"scalePercent": 300},
        "planner": {"dispatch": "Fifo"},
        "router": {"maxQueue": 7},
    }
    story.apply()
    await story.run(5)
    story.cluster.calls.clear()

    story.apply(**{edit: changes[edit]})
    await story.run(5)

    assert set(story.writes()) == {("apply", "DiffusionPipeline/status")}
    assert story.status.observed_generation == 2


async def test_suspending_drains_everything_but_the_router_and_resuming_brings_it_back(
    story: "Story",
) -> None:
    story.apply()
    await story.run(5)

    story.apply(suspend=True)
    await story.run(20)
    assert list(story.replicas()) == ["flux-router"]
    assert story.condition(READY).reason == "Suspended"
    assert story.condition(PROGRESSING).status is ConditionStatus.FALSE

    story.apply(suspend=False)
    await story.run(10)
    assert story.condition(READY).status is ConditionStatus.TRUE


async def test_a_restart_while_suspended_keeps_it_suspended(story: "Story") -> None:
    story.apply(suspend=True)
    await story.run(10)

    story.restart()
    await story.run(10)

    assert list(story.replicas()) == ["flux-router"]


@pytest.mark.parametrize("kill_at", range(25))
async def test_an_operator_killed_at_any_call_of_a_rollout_finishes_it(
    make_story: Callable[[], "Story"], kill_at: int
) -> None:
    story = make_story()
    story.apply(stages={"diffuse": {"replicas": {"min": 2}}})
    await story.run(5)
    story.apply(stages={"diffuse": {"replicas": {"min": 2}}}, drainSeconds=60)
    left = kill_at

    def die(verb: str, kind: str, name: str) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise KilledError

    story.cluster.before_call = die
    for _ in range(60):
        try:
            await story.look()
        except KilledError:
            story.restart()
        assert any(len(stages) == 3 for stages in _ready_stages(story).values())
        story.cluster.settle()
        story.cluster.now += 1

    assert story.pools() == {"encode-100": 1, "diffuse-100": 2, "decode-100": 1}
    assert len(story.replicas()) == 4
    assert story.condition(READY).status is ConditionStatus.TRUE
    assert not any(LABEL_DRAINING in pod["metadata"]["labels"] for pod in story.cluster.pods())


class KilledError(Exception):
    """The operator's process ends here."""


async def test_a_model_outside_the_roots_is_refused_before_anything_is_made(
    story: "Story",
) -> None:
    story.apply(model={"uri": "file:///etc/models"})

    await story.run(3)

    assert story.replicas() == {}
    degraded = story.condition(DEGRADED)
    assert (degraded.status, degraded.reason) == (ConditionStatus.TRUE, "ModelNotAllowed")
    assert "TRIDENTSERVE_FILE_ROOTS" in degraded.message
    assert "it allows: /models" in degraded.message
    assert story.condition(READY).reason == "ModelNotAllowed"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("file:///modelsandmore/x", "ModelNotAllowed"),
        ("file:///models/../etc", "InvalidSpec"),
        ("file:///models/./../etc", "InvalidSpec"),
    ],
)
async def test_a_root_cannot_be_left_by_a_longer_name_or_by_dots(
    story: "Story", uri: str, reason: str
) -> None:
    story.apply(model={"uri": uri})

    await story.run(3)

    assert story.condition(DEGRADED).reason == reason
    assert story.replicas() == {}


async def test_a_forbidden_model_leaves_what_serves_alone(story: "Story") -> None:
    story.apply()
    await story.run(5)
    before = story.replicas()

    story.apply(model={"uri": "file:///etc/models"})
    await story.run(10)

    assert story.replicas() == before
    assert story.condition(AVAILABLE).status is ConditionStatus.TRUE
    assert story.condition(READY).status is ConditionStatus.FALSE


async def test_suspending_takes_the_workers_of_a_forbidden_model_too(story: "Story") -> None:
    story.apply()
    await story.run(5)

    story.apply(model={"uri": "file:///etc/models"}, suspend=True)
    await story.run(60)

    assert story.pools() == {}
    assert story.condition(READY).reason == "Suspended"
    assert story.condition(DEGRADED).reason == "ModelNotAllowed"

    story.apply(model={"uri": "file:///etc/models"})
    await story.run(10)
    assert story.pools() == {}


async def test_a_spec_that_slipped_through_is_named_and_mended_by_an_edit(story: "Story") -> None:
    story.apply(stages={"encode": {"replicas": {"min": 9, "max": 2}}})
    await story.run(3)
    degraded = story.condition(DEGRADED)
    assert (degraded.status, degraded.reason) == (ConditionStatus.TRUE, "InvalidSpec")
    assert "spec.stages.encode.replicas.min" in degraded.message
    assert story.replicas() == {}

    story.apply()
    await story.run(5)

    assert story.condition(READY).status is ConditionStatus.TRUE
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE


async def test_a_blocked_pipeline_that_loses_its_workers_is_not_available(story: "Story") -> None:
    story.apply(model={"uri": "file:///models/flux"})
    await story.run(30)
    story.settings = Settings(image="img", file_roots=(), redis_url="redis://r")
    story.restart()
    await story.run(10)
    assert story.condition(DEGRADED).reason == "ModelNotAllowed"
    assert story.condition(AVAILABLE).status is ConditionStatus.TRUE

    for key in [key for key in story.cluster.objects if key[0] == "Deployment"]:
        del story.cluster.objects[key]
    await story.run(70)

    assert story.condition(AVAILABLE).status is ConditionStatus.FALSE
    assert story.shown(AVAILABLE) == "False"
    assert [stage.summary for stage in story.status.stages] == ["0/1", "0/1", "0/1"]


async def test_a_worker_that_cannot_start_says_why(story: "Story") -> None:
    story.cluster.failing["diffuse"] = {
        "ready": False,
        "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {
            "terminated": {
                "exitCode": 78,
                "message": "INFO loading\ncannot start: the folder /models/flux is not there\n",
                "finishedAt": "2026-01-01T00:00:00Z",
            }
        },
    }
    story.apply()

    await story.run(10)

    degraded = story.condition(DEGRADED)
    assert degraded.reason == "CannotStart"
    assert degraded.message == "diffuse cannot start: the folder /models/flux is not there"
    assert story.condition(READY).reason == "CannotStart"
    failure = story.status.last_failure
    assert failure is not None
    assert (failure.component, failure.exit_code) == ("diffuse", 78)
    assert story.events().count("CannotStart") == 1


async def test_a_failure_that_is_mended_is_told_and_its_last_words_stay(story: "Story") -> None:
    story.cluster.failing["decode"] = CRASHED
    story.apply()
    await story.run(5)
    assert story.condition(DEGRADED).reason == "CrashLoop"
    assert story.shown(DEGRADED) == "True"

    story.cluster.failing.clear()
    await story.run(5)

    assert story.condition(DEGRADED).status is ConditionStatus.FALSE
    assert story.shown(DEGRADED) == "False"
    assert "Recovered" in story.events()
    assert story.status.last_failure is not None
    assert story.status.last_failure.message == "Segmentation fault"


async def test_a_revision_that_was_given_up_stays_told_until_it_is_mended(story: "Story") -> None:
    story.apply()
    await story.run(5)
    good = story.status.revision
    story.apply(model={"uri": "pvc://models/flux2"})
    await story.look()
    assert story.status.revision not in (None, good)
    story.cluster.failing[str(story.status.revision)] = {
        "restartCount": 3,
        "state": {"terminated": {"exitCode": 78, "message": "cannot start: no flux2"}},
    }
    await story.run(30)
    assert story.condition(DEGRADED).reason == "CannotStart"

    await story.run(620)

    bad = [
        pod for pod in story.cluster.pods() if pod["status"]["conditions"][0]["status"] != "True"
    ]
    assert bad == []  # all were taken back
    assert story.condition(DEGRADED).reason == "RolloutGivenUp"
    assert "Recovered" not in story.events()
    assert story.condition(AVAILABLE).status is ConditionStatus.TRUE

    story.apply()
    await story.run(30)

    assert story.condition(DEGRADED).status is ConditionStatus.FALSE
    assert story.condition(READY).status is ConditionStatus.TRUE


async def test_pods_without_a_node_degrade_after_ten_seconds_and_not_before(
    story: "Story",
) -> None:
    story.cluster.capacity = 1
    story.apply()

    await story.run(8)
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE
    await story.run(6)

    assert story.condition(DEGRADED).reason == "Unschedulable"
    assert "Insufficient cpu" in story.condition(DEGRADED).message


async def test_what_the_api_server_refuses_is_quoted_and_the_rest_goes_on(story: "Story") -> None:
    def refuse(verb: str, kind: str, name: str) -> None:
        if kind == "Deployment" and "diffuse" in name:
            raise InvalidFieldError("Deployment", "spec.template...hugepages-2Mi: must be whole")

    story.cluster.before_call = refuse
    story.apply()

    await story.run(5)

    assert story.condition(DEGRADED).reason == "ApplyRefused"
    assert "hugepages-2Mi" in story.condition(DEGRADED).message
    assert story.pools() == {"encode-100": 1, "decode-100": 1}


async def test_a_refusal_to_repair_is_quoted_and_the_rest_goes_on(story: "Story") -> None:
    def refuse(verb: str, kind: str, name: str) -> None:
        if kind == "Deployment" and "encode" in name:
            raise InvalidFieldError("Deployment", "a policy of later forbids it")

    story.apply()
    await story.run(5)
    story.cluster.before_call = refuse
    story.restart()

    await story.run(3)

    assert story.condition(DEGRADED).reason == "ApplyRefused"
    assert "a policy of later" in story.condition(DEGRADED).message
    assert story.condition(READY).status is ConditionStatus.TRUE


@pytest.mark.parametrize("stages", [("encode", "diffuse", "decode"), ("diffuse",)])
async def test_a_revision_that_is_refused_leaves_the_old_chain_even_where_there_is_no_room(
    story: "Story", stages: tuple[str, ...]
) -> None:
    gpu: dict[str, Any] = {"sharing": "Exclusive", "count": 1}
    spec: dict[str, Any] = {"autoscaling": {"gpuLimitPercent": 300}}
    story.apply(stages={name: {"gpu": gpu} for name in ("encode", "diffuse", "decode")}, **spec)
    await story.run(10)
    before = story.replicas()
    revision = story.status.revision

    def refuse(verb: str, kind: str, name: str) -> None:
        new = (verb, kind) == ("apply", "Deployment") and name not in before
        if new and any(stage in name for stage in stages):
            raise InvalidFieldError(name, "memory: must be less than or equal to limit")

    story.cluster.before_call = refuse
    changed = {"gpu": gpu, "template": {"image": "other:1"}}
    story.apply(stages=dict.fromkeys(("encode", "diffuse", "decode"), changed), **spec)
    await story.run(1500)

    assert {name: story.replicas()[name] for name in before} == before
    assert story.condition(AVAILABLE).status is ConditionStatus.TRUE
    assert story.condition(DEGRADED).reason == "ApplyRefused"
    assert "memory: must be less" in story.condition(DEGRADED).message
    tried = {name for name in story.replicas() if name not in before}
    assert len(tried) == 3 - len(stages), "the others are made all the same"

    story.cluster.before_call = lambda verb, kind, name: None
    await story.run(60)
    assert story.status.revision != revision
    assert story.condition(READY).status is ConditionStatus.TRUE


async def test_a_label_that_is_refused_keeps_no_other_worker(story: "Story") -> None:
    story.apply(stages=STAGES, autoscaling=QUICK)
    await story.run(5)
    pool = next(name for name in story.replicas() if "diffuse" in name)
    story.load(4.0, {("diffuse", pool): 1.0})
    await story.run(40)
    first = min(pod["metadata"]["name"] for pod in story.cluster.pods("decode"))

    def refuse(verb: str, kind: str, name: str) -> None:
        if (verb, name) == ("merge", first):
            raise InvalidFieldError(name, "a policy of later forbids it")

    story.cluster.before_call = refuse
    story.apply(stages=STAGES, autoscaling=QUICK, suspend=True)
    await story.run(60)

    assert story.pools() == {"decode-100": 1}


@pytest.mark.parametrize("kind", ["Service", "ServiceAccount", "RoleBinding"])
async def test_what_the_api_server_cannot_do_for_one_object_stops_no_other(
    story: "Story", kind: str
) -> None:
    def fail(verb: str, called: str, name: str) -> None:
        if (verb, called) == ("apply", kind):
            raise UnavailableError(f"PATCH {name}: failed calling webhook")

    story.cluster.before_call = fail
    story.apply()
    await _run_failing(story, 10)

    assert story.pools() == {"encode-100": 1, "diffuse-100": 1, "decode-100": 1}
    assert story.condition(AVAILABLE).status is ConditionStatus.TRUE
    assert story.condition(DEGRADED).reason == "ApplyRefused"
    assert "failed calling webhook" in story.condition(DEGRADED).message

    story.apply(suspend=True)
    await _run_failing(story, 60)
    assert list(story.replicas()) == ["flux-router"]

    story.cluster.before_call = lambda verb, kind, name: None
    await story.run(2)
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE


async def test_pools_that_the_api_server_cannot_write_are_told_and_tried_again(
    story: "Story",
) -> None:
    def fail(verb: str, kind: str, name: str) -> None:
        if kind == "Deployment":
            raise UnavailableError(f"PATCH {name}: HTTP 500")

    story.cluster.before_call = fail
    story.apply()
    await _run_failing(story, 3)

    assert story.condition(DEGRADED).reason == "ApplyRefused"
    assert "HTTP 500" in story.condition(DEGRADED).message


async def _run_failing(story: "Story", seconds: int) -> None:
    """A look every second, each of which ends in what the loop backs off from."""
    for _ in range(seconds):
        with pytest.raises(UnavailableError):
            await story.look()
        story.cluster.settle()
        story.cluster.now += 1


async def test_what_belongs_to_somebody_else_is_left_alone_and_told(story: "Story") -> None:
    foreign = {
        "kind": "Service",
        "metadata": {
            "name": "flux-router",
            "namespace": "default",
            "uid": "theirs",
            "resourceVersion": "1",
            "labels": {"app": "flux-router"},
        },
        "spec": {"selector": {"app": "flux-router"}, "ports": [{"port": 80}]},
    }
    before = copy.deepcopy(foreign)
    story.cluster.objects["Service", "default", "flux-router"] = foreign
    story.apply()

    await story.run(5)

    assert foreign == before
    assert story.condition(DEGRADED).reason == "ApplyRefused"
    assert "somebody else" in story.condition(DEGRADED).message
    assert story.pools() == {"encode-100": 1, "diffuse-100": 1, "decode-100": 1}

    del story.cluster.objects["Service", "default", "flux-router"]
    await story.run(2)
    assert story.condition(DEGRADED).status is ConditionStatus.FALSE
    assert story.cluster.objects["Service", "default", "flux-router"] != before


async def test_a_call_that_fails_once_is_made_again(story: "Story") -> None:
    failed: set[tuple[str, str, str]] = set()

    def fail_once(verb: str, kind: str, name: str) -> None:
        if (verb, kind, name) not in failed and kind != "Event":
            failed.add((verb, kind, name))
            raise UnavailableError("HTTP 500")

    story.cluster.before_call = fail_once
    story.apply()
    for _ in range(40):
        with suppress(UnavailableError):
            await story.look()
        story.cluster.settle()
        story.cluster.now += 1

    assert story.condition(READY).status is ConditionStatus.TRUE
    assert len(failed) >= 8


async def test_events_that_cannot_be_posted_stop_nothing(story: "Story") -> None:
    def refuse(verb: str, kind: str, name: str) -> None:
        if kind == "Event":
            raise UnavailableError("forbidden")

    story.cluster.before_call = refuse
    story.apply()

    await story.run(5)

    assert story.condition(READY).status is ConditionStatus.TRUE


async def test_a_pool_that_somebody_edits_is_set_right_with_its_size(story: "Story") -> None:
    story.apply(stages={"diffuse": {"replicas": {"min": 2}}})
    await story.run(5)
    name = next(name for name in story.replicas() if "diffuse" in name)
    deployment = story.cluster.objects["Deployment", "default", name]
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    deployment["metadata"]["generation"] += 1

    await story.run(3)

    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 135
    assert story.replicas()[name] == 2


async def test_a_pool_that_somebody_scales_is_scaled_back(story: "Story") -> None:
    story.apply()
    await story.run(5)
    name = next(name for name in story.replicas() if "encode" in name)
    deployment = story.cluster.objects["Deployment", "default", name]
    deployment["spec"]["replicas"] = 3
    deployment["metadata"]["generation"] += 1
    story.cluster.settle()

    await story.run(20)

    assert story.replicas()[name] == 1


async def test_a_deleted_deployment_comes_back(story: "Story") -> None:
    story.apply()
    await story.run(5)
    names = list(story.replicas())
    for name in names:
        del story.cluster.objects["Deployment", "default", name]
    story.cluster.settle()

    await story.run(10)

    assert sorted(story.replicas()) == sorted(names)
    assert story.condition(READY).status is ConditionStatus.TRUE


async def test_a_namesake_of_a_deleted_pipeline_starts_from_nothing(story: "Story") -> None:
    story.cluster.failing["decode"] = {"state": {"terminated": {"exitCode": 1}}}
    story.apply()
    await story.run(5)
    assert story.status.last_failure is not None
    story.cluster.failing.clear()
    story.cluster.objects.clear()

    story.cluster.put(pipeline_body(uid="uid-2"))
    await story.run(8)

    owners = {
        one["metadata"]["ownerReferences"][0]["uid"] for one in story.cluster.of("Deployment")
    }
    assert owners == {"uid-2"}
    assert story.status.last_failure is None
    assert story.condition(READY).status is ConditionStatus.TRUE


async def test_a_pipeline_that_is_deleted_during_a_look_is_no_error(story: "Story") -> None:
    story.apply()

    def vanish(verb: str, kind: str, name: str) -> None:
        if kind == "DiffusionPipeline/status":
            story.cluster.objects.pop(("DiffusionPipeline", "default", "flux"), None)

    story.cluster.before_call = vanish
    await story.look()


async def test_gpu_pools_ask_for_devices_and_the_limit_is_kept(story: "Story") -> None:
    gpu = {"gpu": {"sharing": "Exclusive", "count": 1}, "replicas": {"min": 1, "max": 8}}
    story.apply(stages={"diffuse": gpu}, autoscaling={**QUICK, "gpuLimitPercent": 200})
    await story.run(5)
    pool = next(name for name in story.replicas() if "diffuse" in name)

    story.load(10.0, {("diffuse", pool): 1.0})
    await story.run(60)

    assert story.pools()["diffuse-100"] == 2
    assert story.condition(LIMITED).status is ConditionStatus.TRUE
