"""What is kept of pods and Deployments, counted and picked."""

from typing import Any

import pytest

from tridentserve.domain.names import LABEL_COMPONENT, LABEL_DRAINING
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.stages import Stage
from tridentserve.planner.pools import PoolKey
from tridentserve_operator.observe import observation, spared, victims
from tridentserve_operator.testing import rfc3339
from tridentserve_operator.views import Failure, PodView, deployment_view, pod_view

LABELS = {
    "tridentserve.io/pipeline": "flux",
    "tridentserve.io/pool": "flux-encode-50-abc123",
    "tridentserve.io/stages": "encode",
    "tridentserve.io/revision": "abc123",
    "tridentserve.io/fraction-percent": "50",
    LABEL_COMPONENT: "encode",
}
KEY = PoolKey(
    shape=PoolShape(stages=(Stage.ENCODE,), devices=2, fraction_percent=50),
    revision="abc123",  # type: ignore[arg-type]
)
SPEC = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}]}


def pod(name: str = "p", *, born_s: float = 1.0, **over: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "uid": name,
        "labels": {**LABELS, **over.pop("labels", {})},
        "creationTimestamp": rfc3339(born_s),
        **over.pop("metadata", {}),
    }
    return {"metadata": metadata, "spec": SPEC, "status": over.pop("status", {})}


def ready(status: str = "True") -> dict[str, Any]:
    return {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]}


def deployment(**over: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "flux-encode-50-abc123",
            "uid": "d",
            "generation": 3,
            "labels": LABELS,
            "ownerReferences": [{"uid": "uid-1", "controller": True}],
            **over.pop("metadata", {}),
        },
        "spec": {"replicas": 2, "template": {"spec": SPEC}},
        "status": over.pop("status", {}),
    }


def container(**fields: Any) -> Failure | None:
    return pod_view(pod(status={"containerStatuses": [fields]})).failure


def test_a_deployment_says_which_pool_it_is() -> None:
    view = deployment_view(deployment(status={"readyReplicas": 1, "observedGeneration": 2}))

    assert view.pool is not None
    assert (view.pool.shape, view.pool.revision) == (KEY.shape, KEY.revision)
    assert (view.replicas, view.generation, view.observed_generation) == (2, 3, 2)
    assert view.owner_uid == "uid-1"


@pytest.mark.parametrize(
    "labels",
    [
        {"tridentserve.io/fraction-percent": "half"},
        {"tridentserve.io/stages": "encode.paint"},
    ],
)
def test_labels_that_somebody_broke_make_it_no_pool(labels: dict[str, str]) -> None:
    body = deployment(metadata={"labels": {**LABELS, **labels}})

    assert deployment_view(body).pool is None


def test_a_deployment_whose_pods_are_refused_says_why() -> None:
    condition = {
        "type": "ReplicaFailure",
        "status": "True",
        "message": 'pods "x" is forbidden: violates PodSecurity "restricted"',
    }

    assert "PodSecurity" in deployment_view(deployment(status={"conditions": [condition]})).refused


def test_an_empty_body_of_a_new_object_is_read() -> None:
    view = pod_view(pod())

    assert (view.ready, view.failure, view.finished) == (False, None, False)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, None),
        ({"state": {"waiting": {"reason": "ImagePullBackOff"}}}, "ImagePull"),
        ({"state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}, "ImagePull"),
        ({"state": {"waiting": {"reason": "InvalidImageName"}}}, "ImagePull"),
        ({"state": {"waiting": {"reason": "CreateContainerConfigError"}}}, "ContainerConfig"),
        ({"state": {"running": {}}}, None),
        ({"state": {"terminated": {"exitCode": 0}}}, None),
        ({"state": {"terminated": {"exitCode": 78}}}, "CannotStart"),
        ({"state": {"terminated": {"exitCode": 1}}}, "Exited"),
        ({"restartCount": 2, "state": {"terminated": {"exitCode": 1}}}, "CrashLoop"),
    ],
)
def test_what_a_container_says_becomes_a_kind_of_failure(
    fields: dict[str, Any], kind: str | None
) -> None:
    failure = container(**fields)

    assert (failure.kind if failure else None) == kind


@pytest.mark.parametrize("state", [{"running": {}}, {"waiting": {"reason": "CrashLoopBackOff"}}])
@pytest.mark.parametrize(("code", "kind"), [(78, "CannotStart"), (1, "CrashLoop")])
def test_a_failure_does_not_flicker_while_its_container_is_tried_again(
    state: dict[str, Any], code: int, kind: str
) -> None:
    last = {"terminated": {"exitCode": code, "message": "said"}}

    failure = container(restartCount=4, state=state, lastState=last)

    assert failure is not None
    assert failure.kind == kind


def test_a_container_that_became_ready_again_only_had_an_accident() -> None:
    last = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}

    failure = container(ready=True, restartCount=9, state={"running": {}}, lastState=last)

    assert failure is not None
    assert (failure.kind, failure.exit_code, failure.message) == ("Exited", 137, "OOMKilled")


def test_of_many_last_words_the_last_line_is_quoted() -> None:
    ended = {"exitCode": 78, "message": "Traceback\n  ...\nthe folder /m is not there\n\n"}

    failure = container(state={"terminated": ended})

    assert failure is not None
    assert failure.message == "the folder /m is not there"


def test_pods_are_counted_once_each() -> None:
    stuck = {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
                "lastTransitionTime": rfc3339(50),
            }
        ]
    }
    gone = {"deletionTimestamp": rfc3339(9)}
    draining = {LABEL_DRAINING: "true"}
    seen = observation(
        "uid-1",
        [deployment_view(deployment())],
        [
            pod_view(pod("a", status=ready())),
            pod_view(pod("b", status=ready("False"))),
            pod_view(pod("c", status=ready(), labels=draining)),
            pod_view(pod("d", status=ready(), labels=draining, metadata=gone)),
            pod_view(pod("e", status=stuck)),
            pod_view(pod("f", status={"phase": "Failed"})),
        ],
        10.0,
    )

    (state,) = seen.pools
    assert state.key == KEY
    assert (state.desired, state.routable, state.starting) == (2, 1, 2)
    assert (state.draining, state.terminating) == (1, 1)
    assert (state.unschedulable, state.insufficient) == (1, 1)


@pytest.mark.parametrize(("now", "terminating"), [(1000.0, 1), (1119.0, 1), (1121.0, 0)])
def test_a_pod_that_outlives_its_grace_on_a_lost_node_is_not_waited_for(
    now: float, terminating: int
) -> None:
    leaving = pod("a", status=ready("False"), metadata={"deletionTimestamp": rfc3339(1000)})

    (state,) = observation("uid-1", [deployment_view(deployment())], [pod_view(leaving)], now).pools

    assert state.terminating == terminating


def test_a_deployment_of_a_deleted_namesake_is_not_ours_but_its_pods_still_count() -> None:
    seen = observation(
        "uid-2", [deployment_view(deployment())], [pod_view(pod(status=ready()))], 1.0
    )

    assert seen.deployments == ()
    (state,) = seen.pools
    assert (state.desired, state.routable) == (0, 1)


# --- victims --------------------------------------------------------------------------------------


def pods(*marks: tuple[str, bool, bool, float]) -> list[PodView]:
    """Pods of (name, draining, ready, born)."""
    return [
        pod_view(
            pod(
                name,
                born_s=born_s,
                status=ready("True" if is_ready else "False"),
                labels={LABEL_DRAINING: "true"} if draining else {},
            )
        )
        for name, draining, is_ready, born_s in marks
    ]


def names(found: tuple[PodView, ...]) -> list[str]:
    return [one.name for one in found]


def test_the_unready_go_first_and_then_the_youngest() -> None:
    there = pods(("old", False, True, 1), ("young", False, True, 9), ("sick", False, False, 1))

    assert names(victims(there, 1)) == ["sick"]
    assert names(victims(there, 2)) == ["sick", "young"]


def test_who_carries_the_label_counts() -> None:
    there = pods(("old", True, True, 1), ("young", False, True, 9), ("sick", False, False, 1))

    assert names(victims(there, 1)) == []
    assert names(victims(there, 2)) == ["sick"]


def test_labels_beyond_the_number_come_off_and_no_other() -> None:
    there = pods(("old", True, True, 1), ("young", True, True, 9), ("free", False, True, 5))

    assert names(spared(there, 1)) == ["old"]
    assert names(spared(there, 0)) == ["young", "old"]
    assert names(spared(there, 2)) == []


def test_asking_twice_names_the_same_victims() -> None:
    there = pods(*((f"p{n}", False, True, 5.0) for n in range(6)))

    assert victims(there, 3) == victims(list(reversed(there)), 3)


def test_terminating_pods_are_no_victims() -> None:
    gone = pod_view(pod("gone", status=ready(), metadata={"deletionTimestamp": rfc3339(1)}))

    assert names(victims([gone, *pods(("a", False, True, 1))], 2)) == ["a"]
