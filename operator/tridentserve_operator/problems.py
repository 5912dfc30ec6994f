"""What is wrong with a pipeline that does not go away by itself, and what to do about it. Pure.

The first of these that applies becomes the condition `Degraded`:

| reason | seen as | what the message says to do |
| --- | --- | --- |
| ModelNotAllowed | `file://` outside of the roots | use pvc://, or have the root allowed |
| ApplyRefused | the API server refuses an object | what it said about which field |
| PodsRefused | Deployment condition ReplicaFailure | quota, Pod Security: what it said |
| CannotStart | exit code 78 | the worker's own sentence |
| ImagePull | the image cannot be had | name, credentials, registry |
| ContainerConfig | a ConfigMap, Secret or command is missing | what the node said |
| CrashLoop | ended with another code, and again | its last line; where its log is |
| Unschedulable | no node takes the pod for 10 s | what the scheduler said |
| ProfileUnreadable | what `spec.profile` names is missing or wrong | field, ConfigMap, key, line |
| StartOverdue | on a node, and not ready in time; nothing else serves | where to read why |
| RolloutGivenUp | workers were undone, since none of them came up | where to read why |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from tridentserve.domain.plans import PlacementPlan
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.model import FilePath
from tridentserve.manifest.v1alpha1 import DiffusionPipeline
from tridentserve.planner.pools import TransitionMemory
from tridentserve_operator.observe import Observation
from tridentserve_operator.settings import Settings
from tridentserve_operator.views import PodView

UNSCHEDULABLE_S = 10.0
"""A surge is often unschedulable for a moment, until the pod that it replaces is gone."""

_POD_KINDS = ("CannotStart", "ImagePull", "ContainerConfig", "CrashLoop")
_MESSAGE_LIMIT = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong."""

    reason: str
    """One word, CamelCase."""
    message: str
    """A sentence that says what to do."""


def model_problem(pipeline: DiffusionPipeline, settings: Settings) -> Problem | None:
    """Why the model may not be read at all; then no pod is made or changed, only suspended."""
    location = pipeline.spec.model.location
    if not isinstance(location, FilePath):
        return None
    # No path has dots in it: the resource refuses `..` (tests/operator/test_stories.py).
    path = PurePosixPath(location.path)
    if any(path.is_relative_to(root) for root in settings.file_roots):
        return None
    roots = ", ".join(settings.file_roots) or "none"
    return Problem(
        reason="ModelNotAllowed",
        message=f"spec.model.uri: {pipeline.spec.model.uri} is not below a folder that this"
        f" operator allows (it allows: {roots}); move the model there, use pvc://CLAIM/PATH, or"
        " ask whoever runs the operator to add the folder to TRIDENTSERVE_FILE_ROOTS",
    )


def refusal(error: InvalidFieldError) -> Problem:
    """The API server does not take an object as it would be written."""
    return Problem(
        reason="ApplyRefused",
        message=f"the API server refused {error.field}: {error.problem}"[:_MESSAGE_LIMIT],
    )


def profile_problem(error: InvalidFieldError) -> Problem:
    """The profile that the pipeline names cannot be read; it serves all the same."""
    return Problem(
        reason="ProfileUnreadable",
        message=f"{str(error)[:_MESSAGE_LIMIT]}; until it can be read, the one that was read last"
        " stays in force; where there was none, stages that were never measured keep their size",
    )


def given_up(transition: TransitionMemory, plan: PlacementPlan) -> tuple[Problem, ...]:
    """Pools of the plan that never came up and were undone: their pods are gone, the problem not.

    Others that the planner has found a way around are remembered too, and are no problem.
    """
    wanted = {pool.shape for pool in plan.pools}
    return tuple(
        Problem(
            reason="RolloutGivenUp",
            message=f"no worker of {attempt.pool.label} became ready in time, so they were taken"
            " back; what served before serves on, and they are tried again later:"
            " see status.lastFailure and the events, then edit the spec",
        )
        for attempt in transition.attempts
        if attempt.gave_up and attempt.pool.shape in wanted
    )


def overdue(transition: TransitionMemory) -> tuple[Problem, ...]:
    """Pools whose pods had their time to become ready: left alone, since nothing else serves."""
    return tuple(
        Problem(
            reason="StartOverdue",
            message=f"no further worker of {attempt.pool.label} became ready in time; they are left"
            " to go on, since nothing else serves: see kubectl describe pod and kubectl logs",
        )
        for attempt in transition.attempts
        if attempt.overdue
    )


def problems(observed: Observation, now: float) -> tuple[Problem, ...]:
    """Everything that is wrong with what was observed, the worst first."""
    pods = tuple(pod for pod in observed.pods if not pod.deleting)
    return (
        *_refused(observed),
        *(problem for kind in _POD_KINDS for problem in _failing(pods, kind)),
        *_unschedulable(pods, now),
    )


def next_problem_s(observed: Observation, now: float) -> float | None:
    """When a pod that cannot be placed becomes a problem, None where none will."""
    times = [
        pod.unschedulable_since_s + UNSCHEDULABLE_S
        for pod in observed.pods
        if pod.unschedulable and not pod.deleting
    ]
    return min((at for at in times if at > now), default=None)


def _refused(observed: Observation) -> Iterable[Problem]:
    deployments = (*observed.deployments, *((observed.router,) if observed.router else ()))
    for one in deployments:
        if one.refused:
            message = f"pods of {one.name} cannot be created: {one.refused}"
            yield Problem(reason="PodsRefused", message=message[:_MESSAGE_LIMIT])


def _failing(pods: Iterable[PodView], kind: str) -> Iterable[Problem]:
    for pod in pods:
        if pod.failure is not None and pod.failure.kind == kind:
            yield Problem(reason=kind, message=_sentence(pod, kind)[:_MESSAGE_LIMIT])


def _sentence(pod: PodView, kind: str) -> str:
    failure = pod.failure
    assert failure is not None
    said = failure.message or "it said nothing"
    match kind:
        case "CannotStart":
            return f"{pod.component} cannot start: {said.removeprefix('cannot start: ')}"
        case "ImagePull":
            return f"the image of {pod.component} cannot be pulled: {said}; check its name"
        case "ContainerConfig":
            return f"the container of {pod.component} cannot be created: {said}"
        case _:
            return (
                f"{pod.component} ended with code {failure.exit_code}: {said};"
                f" see kubectl logs --previous {pod.name}"
            )


def _unschedulable(pods: Iterable[PodView], now: float) -> Iterable[Problem]:
    for pod in pods:
        if pod.unschedulable and now >= pod.unschedulable_since_s + UNSCHEDULABLE_S:
            yield Problem(
                reason="Unschedulable",
                message=f"no node takes {pod.component}: {pod.unschedulable}"[:_MESSAGE_LIMIT],
            )
