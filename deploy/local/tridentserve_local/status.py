"""From what the node knows of a pod to the status that Kubernetes reads. Pure.

Phases and reasons are the kubelet's (pkg/kubelet/kubelet_pods.go, getPhase), because controllers,
`kubectl` and people decide by them:

| containers                                        | phase     |
| ------------------------------------------------- | --------- |
| init containers unfinished, or one never started  | Pending   |
| at least one running or about to be restarted     | Running   |
| all ended for good, every exit code 0             | Succeeded |
| all ended for good, some exit code not 0          | Failed    |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .backoff import should_restart
from .specs import Condition, Container, Pod
from .wire import Json, timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not running yet, or not again yet."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process is there."""

    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminated:
    """The process ended; `exit_code` is 128 + signal for one that was killed."""

    exit_code: int
    reason: str
    started_at: float
    finished_at: float
    container_id: str = ""
    message: str = ""


ContainerState = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """One container as it stands."""

    spec: Container
    state: ContainerState = field(default_factory=lambda: Waiting(reason="ContainerCreating"))
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    container_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One pod as it stands on its node."""

    pod: Pod
    host_ip: str
    pod_ip: str
    start_time: float
    init: tuple[ContainerView, ...]
    containers: tuple[ContainerView, ...]
    terminating: bool = False
    volumes_ready: bool = True
    failure: tuple[str, str] | None = None
    """Reason and message of a pod that the node refuses to run."""


def terminated(code: int, *, started_at: float, now: float, container_id: str) -> Terminated:
    """The state of a process that ended with what `Popen.returncode` says: -9 for SIGKILL."""
    exit_code = 128 - code if code < 0 else code
    reason = "Completed" if exit_code == 0 else "Error"
    return Terminated(
        exit_code=exit_code,
        reason=reason,
        started_at=started_at,
        finished_at=now,
        container_id=container_id,
    )


def initialized(view: PodView) -> bool:
    """Whether every init container has done its part, or once had: then the others started."""
    began = any(not _never_started(c) for c in view.containers)
    return began or all(_init_done(c) for c in view.init)


def phase(view: PodView) -> str:
    """The pod's phase, by the table above."""
    if view.failure is not None:
        return "Failed"
    policy = view.pod.restart_policy
    if not initialized(view):
        lost = any(_ended_badly(c, policy) for c in view.init if not c.spec.restart_always)
        return "Failed" if lost else "Pending"
    if any(_never_started(c) for c in view.containers) and not view.terminating:
        return "Pending"
    ends = [_final_exit_code(c, policy, view.terminating) for c in view.containers]
    if any(code is None for code in ends):
        return "Running"
    return "Succeeded" if all(code == 0 for code in ends) else "Failed"


def build_status(view: PodView, previous: Mapping[str, Condition], now: float) -> Json:
    """The `status` to write; `previous` are the conditions that the API server has."""
    current = phase(view)
    status: Json = {
        "phase": current,
        "observedGeneration": view.pod.generation,
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "startTime": timestamp(view.start_time),
        "conditions": conditions(view, current, previous, now),
        "initContainerStatuses": [container_status(c, view.terminating) for c in view.init],
        "containerStatuses": [container_status(c, view.terminating) for c in view.containers],
    }
    if view.pod_ip:
        status |= {"podIP": view.pod_ip, "podIPs": [{"ip": view.pod_ip}]}
    if view.failure is not None:
        status |= {"reason": view.failure[0], "message": view.failure[1]}
    return status


def conditions(
    view: PodView, current: str, previous: Mapping[str, Condition], now: float
) -> list[Json]:
    """All conditions that a node owns; one whose status is unchanged keeps its transition time."""
    unready = [c.spec.name for c in view.containers if not c.ready]
    done = current in ("Succeeded", "Failed")
    if done:
        ready = (False, "PodCompleted" if current == "Succeeded" else "PodFailed", "")
    elif unready or view.terminating:
        named = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
        ready = (False, "ContainersNotReady", named or "the pod is being deleted")
    else:
        ready = (True, "", "")
    waiting = [] if initialized(view) else [c.spec.name for c in view.init if not _init_done(c)]
    missing = f"containers with incomplete status: [{' '.join(waiting)}]"
    open_gates = {g for g in view.pod.readiness_gates if not _holds(previous.get(g))}
    pod_ready = ready
    if ready[0] and open_gates:
        pod_ready = (False, "ReadinessGatesNotReady", f"waiting for {sorted(open_gates)}")
    wanted = {
        "PodReadyToStartContainers": (view.volumes_ready and not done, "", ""),
        "Initialized": (not waiting, "ContainersNotInitialized", missing),
        "Ready": pod_ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    generation = view.pod.generation
    return [_condition(k, v, previous.get(k), generation, now) for k, v in wanted.items()]


def container_status(view: ContainerView, terminating: bool) -> Json:
    """One entry of `containerStatuses`.

    Resources are reported as given: the API server refuses to resize a pod whose node leaves them
    out.
    """
    resources: Json = {}
    if view.spec.requests:
        resources["requests"] = dict(view.spec.requests)
    if view.spec.limits:
        resources["limits"] = dict(view.spec.limits)
    status: Json = {
        "name": view.spec.name,
        "image": view.spec.image,
        "imageID": "",
        "restartCount": view.restarts,
        "ready": view.ready and not terminating,
        "started": view.started,
        "state": state_json(view.state),
        "resources": resources,
    }
    if view.container_id:
        status["containerID"] = view.container_id
    if view.last is not None and view.last != view.state:
        status["lastState"] = state_json(view.last)
    if view.spec.requests:
        status["allocatedResources"] = dict(view.spec.requests)
    return status


def state_json(state: ContainerState) -> Json:
    """The API's form of a container's state."""
    match state:
        case Waiting():
            waiting: Json = {"reason": state.reason}
            return {"waiting": waiting | ({"message": state.message} if state.message else {})}
        case Running():
            return {"running": {"startedAt": timestamp(state.since)}}
        case Terminated():
            ended: Json = {
                "exitCode": state.exit_code,
                "reason": state.reason,
                "startedAt": timestamp(state.started_at),
                "finishedAt": timestamp(state.finished_at),
            }
            if state.message:
                ended["message"] = state.message
            if state.container_id:
                ended["containerID"] = state.container_id
            return {"terminated": ended}


def _condition(
    kind: str, wanted: tuple[bool, str, str], before: Condition | None, gen: int, now: float
) -> Json:
    holds, reason, message = wanted
    status = "True" if holds else "False"
    since = timestamp(now)
    if before is not None and before.status == status:
        since = before.since or since
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        "lastProbeTime": None,
        "observedGeneration": gen,
        # Null removes what a strategic merge would otherwise keep from when the status differed.
        "reason": None if holds else reason,
        "message": None if holds else message or None,
    }


def _holds(condition: Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _init_done(view: ContainerView) -> bool:
    if view.spec.restart_always:
        return view.started
    return isinstance(view.state, Terminated) and view.state.exit_code == 0


def _never_started(view: ContainerView) -> bool:
    return isinstance(view.state, Waiting) and view.last is None


def _ended_badly(view: ContainerView, policy: str) -> bool:
    """Whether an init container failed and nobody will try again."""
    ended = isinstance(view.state, Terminated) and view.state.exit_code != 0
    return ended and policy == "Never"


def _final_exit_code(view: ContainerView, policy: str, terminating: bool) -> int | None:
    """The exit code of a container that will not run again; None while it runs or will."""
    if isinstance(view.state, Running):
        return None
    if isinstance(view.state, Terminated):
        again = not terminating and should_restart(policy, view.state.exit_code)
        return None if again else view.state.exit_code
    if terminating:  # it waited to be started (again) when the pod was deleted
        return view.last.exit_code if view.last is not None else 137
    return None
