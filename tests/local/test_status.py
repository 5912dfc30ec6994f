"""Statuses and probes: what Kubernetes is told of a pod, from what its node knows."""

from dataclasses import replace
from typing import Any

import pytest

from tridentserve_local.parsing import parse_conditions, parse_container, parse_pod
from tridentserve_local.probes import Health, ProbeState, Verdict
from tridentserve_local.specs import ExecAction, Probe
from tridentserve_local.status import (
    ContainerState,
    ContainerView,
    PodView,
    Running,
    Terminated,
    Waiting,
    build_status,
    container_status,
    phase,
    terminated,
)

RUNNING = Running(since=0)
CREATING = Waiting(reason="ContainerCreating")
CRASHED = Waiting(reason="CrashLoopBackOff")


def ended(code: int) -> Terminated:
    return terminated(code, started_at=0, now=1, container_id="process://x")


def container(state: ContainerState, **fields: Any) -> ContainerView:
    always = {"restartPolicy": "Always"} if fields.pop("sidecar", False) else {}
    spec = parse_container({"name": fields.pop("name", "main"), "image": "i", **always})
    return ContainerView(spec=spec, state=state, **fields)


def view(
    *containers: ContainerView,
    init: tuple[ContainerView, ...] = (),
    policy: str = "Always",
    gates: tuple[str, ...] = (),
    **fields: Any,
) -> PodView:
    pod = parse_pod(
        {
            "metadata": {"uid": "u", "namespace": "n", "name": "p", "generation": 4},
            "spec": {
                "nodeName": "node-1",
                "restartPolicy": policy,
                "containers": [],
                "readinessGates": [{"conditionType": g} for g in gates],
            },
        }
    )
    return PodView(
        pod=pod,
        host_ip="127.1.0.1",
        pod_ip="127.1.1.1",
        start_time=0,
        init=init,
        containers=containers,
        **fields,
    )


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (view(container(CREATING)), "Pending"),
        (view(container(RUNNING)), "Running"),
        (view(container(RUNNING), container(CREATING)), "Pending"),
        (view(container(CRASHED, last=ended(1))), "Running"),
        (view(container(ended(1))), "Running"),
        (view(container(ended(0)), policy="OnFailure"), "Succeeded"),
        (view(container(ended(1)), policy="OnFailure"), "Running"),
        (view(container(ended(1)), policy="Never"), "Failed"),
        (view(container(ended(0)), container(ended(2)), policy="Never"), "Failed"),
        (view(container(ended(0)), container(RUNNING), policy="Never"), "Running"),
        (view(container(CREATING), init=(container(RUNNING),)), "Pending"),
        (view(container(CREATING), init=(container(ended(1)),), policy="Never"), "Failed"),
        (view(container(CREATING), init=(container(ended(1)),)), "Pending"),
        (view(container(RUNNING), init=(container(ended(0)),)), "Running"),
        (view(container(CREATING), failure=("Refused", "why")), "Failed"),
        (view(container(ended(0)), terminating=True), "Succeeded"),
        (view(container(ended(-9)), terminating=True), "Failed"),
        (view(container(RUNNING), terminating=True), "Running"),
        (view(container(CREATING), terminating=True), "Failed"),
        (
            view(
                container(ended(0)),
                init=(container(ended(143), sidecar=True, last=ended(143)),),
                policy="Never",
            ),
            "Succeeded",
        ),
        (view(container(CREATING), init=(container(RUNNING, sidecar=True),)), "Pending"),
    ],
)
def test_the_phase_follows_the_containers(made: PodView, expected: str) -> None:
    assert phase(made) == expected


@pytest.mark.parametrize(("code", "exit_code"), [(0, 0), (3, 3), (-9, 137), (-15, 143)])
def test_a_signal_is_told_as_128_and_its_number(code: int, exit_code: int) -> None:
    end = ended(code)

    assert end.exit_code == exit_code
    assert end.reason == ("Completed" if exit_code == 0 else "Error")


def conditions(made: PodView, previous: Any = None, now: float = 100) -> dict[str, Any]:
    known = parse_conditions({"conditions": previous or []})
    return {c["type"]: c for c in build_status(made, known, now)["conditions"]}


def test_a_pod_is_ready_when_all_its_containers_are() -> None:
    good, bad = container(RUNNING, ready=True), container(RUNNING, name="slow")

    assert conditions(view(good))["Ready"]["status"] == "True"
    unready = conditions(view(good, bad))["Ready"]
    assert unready["status"] == "False"
    assert unready["message"] == "containers with unready status: [slow]"


def test_a_pod_that_is_being_deleted_is_not_ready_whatever_its_containers_say() -> None:
    made = view(container(RUNNING, ready=True), terminating=True)

    assert conditions(made)["Ready"]["status"] == "False"
    assert build_status(made, {}, 0)["containerStatuses"][0]["ready"] is False


def test_a_readiness_gate_holds_the_pod_but_not_its_containers() -> None:
    made = view(container(RUNNING, ready=True), gates=("example.com/x",))
    gate = {"type": "example.com/x", "status": "True", "lastTransitionTime": ""}

    assert conditions(made)["Ready"]["status"] == "False"
    assert conditions(made)["ContainersReady"]["status"] == "True"
    assert conditions(made, [gate])["Ready"]["status"] == "True"


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    ready, unready = view(container(RUNNING, ready=True)), view(container(RUNNING))
    first = list(conditions(ready, now=100).values())

    same = conditions(ready, first, now=200)["Ready"]
    other = conditions(unready, first, now=300)["Ready"]

    assert same["lastTransitionTime"] == "1970-01-01T00:01:40Z"
    assert other["lastTransitionTime"] == "1970-01-01T00:05:00Z"


def test_a_status_that_says_the_same_is_the_same() -> None:
    made = view(container(RUNNING, ready=True))
    first = build_status(made, {}, 100)

    assert build_status(made, parse_conditions(first), 900) == first


def test_a_refused_pod_says_why() -> None:
    status = build_status(view(container(CREATING), failure=("NoGpu", "why")), {}, 0)

    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "NoGpu", "why")
    assert status["observedGeneration"] == 4


def test_resources_are_reported_or_the_api_server_refuses_to_resize() -> None:
    raw = {
        "name": "main",
        "resources": {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": 2}},
    }
    status = container_status(ContainerView(spec=parse_container(raw)), False)

    assert status["resources"] == {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "2"}}
    assert status["allocatedResources"] == {"cpu": "1"}


def test_the_last_state_is_the_run_before_and_not_this_one() -> None:
    here = container(ended(1), last=ended(1))

    assert "lastState" not in container_status(here, False)
    waiting = container_status(replace(here, state=CRASHED), False)
    assert waiting["lastState"]["terminated"]["exitCode"] == 1
    assert waiting["state"]["waiting"] == {"reason": "CrashLoopBackOff"}


def probe(success: int = 1, failure: int = 3) -> Probe:
    return Probe(
        action=ExecAction(command=()),
        initial_delay_s=0,
        period_s=1,
        timeout_s=1,
        success_threshold=success,
        failure_threshold=failure,
    )


def verdicts(state: ProbeState, answers: str) -> list[str]:
    return [state.answer(answer == "+").value for answer in answers]


@pytest.mark.parametrize(
    ("passing", "answers", "expected"),
    [
        (False, "+", ["passed"]),
        (False, "---", ["same", "same", "failed"]),
        (False, "--+", ["same", "same", "passed"]),
        (True, "--+--", ["same"] * 5),
        (True, "---", ["same", "same", "failed"]),
        (True, "----", ["same", "same", "failed", "same"]),
        (True, "---+---", ["same", "same", "failed", "passed", "same", "same", "failed"]),
        (True, "+++", ["same"] * 3),
    ],
)
def test_a_verdict_turns_after_enough_answers_in_a_row(
    passing: bool, answers: str, expected: list[str]
) -> None:
    assert verdicts(ProbeState(probe(), passing=passing), answers) == expected


def test_several_successes_may_be_asked_for() -> None:
    state = ProbeState(probe(success=2, failure=1), passing=False)

    assert verdicts(state, "+-++-") == ["same", "failed", "same", "passed", "failed"]


@pytest.mark.parametrize(
    ("fields", "started", "ready"),
    [
        ({}, True, True),
        ({"readinessProbe": {"exec": {}}}, True, False),
        ({"startupProbe": {"exec": {}}}, False, False),
        ({"livenessProbe": {"exec": {}}}, True, True),
    ],
)
def test_without_a_probe_the_answer_is_yes(fields: Any, started: bool, ready: bool) -> None:
    health = Health.of(parse_container({"name": "main", **fields}))

    assert (health.started, health.ready) == (started, ready)


def test_readiness_waits_for_startup() -> None:
    health = Health.of(parse_container({"name": "main", "startupProbe": {"exec": {}}}))
    assert Verdict.PASSED.value == "passed"

    health.started = True

    assert health.ready
