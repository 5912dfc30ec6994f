"""What is kept of the objects that are watched: small frozen values instead of whole bodies.

The indexes hold these for every pod and Deployment of every pipeline, so a body's managed fields
and templates stay out. Nothing here asks a server or a clock.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tridentserve.domain.ids import PoolName, Revision
from tridentserve.domain.names import (
    ANNOTATION_RENDERED_HASH,
    LABEL_COMPONENT,
    LABEL_DRAINING,
    LABEL_FRACTION,
    LABEL_POOL,
    LABEL_REVISION,
    LABEL_STAGES,
)
from tridentserve.domain.plans import PoolShape
from tridentserve.domain.stages import parse_stages_label

ROUTER = "router"
"""Value of the component label of a router; workers have their stages there."""
GPU = "nvidia.com/gpu"
_LOOP = 2
"""Restarts without ever becoming ready that are no accident any more."""

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolIdentity:
    """What a pool's Deployment and pods say about it in their labels."""

    name: PoolName
    shape: PoolShape
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView:
    """A Deployment of ours."""

    name: str
    uid: str
    owner_uid: str
    """The pipeline that it belongs to; a namesake that was deleted had another one."""
    generation: int
    observed_generation: int
    pool: PoolIdentity | None
    """None for a router."""
    replicas: int
    updated: int
    rendered_hash: str
    created_s: float
    """Unix time."""
    refused: str
    """Why its pods cannot even be created, as the API server put it; empty where they can."""
    deleting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a container ended or why it does not start."""

    kind: str
    """`CannotStart`, `CrashLoop`, `ImagePull`, `ContainerConfig`, or `Exited` for what may have
    been an accident."""
    message: str
    exit_code: int | None = None
    at: str = ""
    """When its container ended, as the API server writes it; empty for one that never ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod of ours."""

    name: str
    uid: str
    component: str
    pool: PoolIdentity | None
    ready: bool
    draining: bool
    deleting: bool
    leaves_s: float
    """Unix time at which its grace ends, once it is deleted; 0 otherwise."""
    finished: bool
    """Ended for good: evicted, failed or succeeded; its Deployment has replaced it."""
    created_s: float
    """Unix time."""
    unschedulable: str
    """What the scheduler says where it finds no node; empty otherwise."""
    unschedulable_since_s: float
    failure: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectView:
    """A Service, ServiceAccount or RoleBinding of ours: only whether it is as we left it."""

    kind: str
    name: str
    uid: str
    owner_uid: str
    version: str
    """Its resource version: these kinds have no generation."""


def object_view(body: Body) -> ObjectView:
    """Take what matters from an object that is neither Deployment nor pod."""
    metadata = body["metadata"]
    return ObjectView(
        kind=body["kind"],
        name=metadata["name"],
        uid=metadata["uid"],
        owner_uid=_owner_uid(metadata),
        version=metadata["resourceVersion"],
    )


def deployment_view(body: Body) -> DeploymentView:
    """Take what matters from a Deployment."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    return DeploymentView(
        name=metadata["name"],
        uid=metadata["uid"],
        owner_uid=_owner_uid(metadata),
        generation=int(metadata.get("generation") or 0),
        observed_generation=int(status.get("observedGeneration") or 0),
        pool=_identity(metadata, (spec.get("template") or {}).get("spec") or {}),
        replicas=int(spec.get("replicas", 1)),
        updated=int(status.get("updatedReplicas") or 0),
        rendered_hash=(metadata.get("annotations") or {}).get(ANNOTATION_RENDERED_HASH, ""),
        created_s=_unix(metadata.get("creationTimestamp")),
        refused=_refused(status),
        deleting="deletionTimestamp" in metadata,
    )


def pod_view(body: Body) -> PodView:
    """Take what matters from a pod."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {found["type"]: found for found in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    stuck = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return PodView(
        name=metadata["name"],
        uid=metadata["uid"],
        component=labels.get(LABEL_COMPONENT, ""),
        pool=_identity(metadata, body.get("spec") or {}),
        ready=conditions.get("Ready", {}).get("status") == "True",
        draining=LABEL_DRAINING in labels,
        deleting="deletionTimestamp" in metadata,
        leaves_s=_unix(metadata.get("deletionTimestamp")),
        finished=status.get("phase") in ("Failed", "Succeeded"),
        created_s=_unix(metadata.get("creationTimestamp")),
        unschedulable=str(scheduled.get("message", "")) if stuck else "",
        unschedulable_since_s=_unix(scheduled.get("lastTransitionTime")) if stuck else 0.0,
        failure=_failure(status),
    )


def _owner_uid(metadata: Body) -> str:
    owners = metadata.get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _identity(metadata: Body, pod_spec: Body) -> PoolIdentity | None:
    labels = metadata.get("labels") or {}
    if not {LABEL_POOL, LABEL_STAGES, LABEL_FRACTION, LABEL_REVISION} <= labels.keys():
        return None
    try:
        stages = tuple(sorted(parse_stages_label(labels[LABEL_STAGES])))
        fraction = int(labels[LABEL_FRACTION])
    except ValueError:
        return None  # somebody rewrote the labels; the next full apply sets them right
    devices = sum(
        int(((container.get("resources") or {}).get("limits") or {}).get(GPU, 0))
        for container in pod_spec.get("containers") or ()
    )
    return PoolIdentity(
        name=PoolName(labels[LABEL_POOL]),
        shape=PoolShape(stages=stages, devices=devices, fraction_percent=fraction),
        revision=Revision(labels[LABEL_REVISION]),
    )


def _refused(status: Body) -> str:
    return next(
        (
            str(found.get("message", ""))
            for found in status.get("conditions") or ()
            if found.get("type") == "ReplicaFailure" and found.get("status") == "True"
        ),
        "",
    )


_WAITING = {
    "ImagePullBackOff": "ImagePull",
    "ErrImagePull": "ImagePull",
    "ErrImageNeverPull": "ImagePull",
    "InvalidImageName": "ImagePull",
    "CreateContainerConfigError": "ContainerConfig",
    "CreateContainerError": "ContainerConfig",
    "RunContainerError": "ContainerConfig",
}


def _failure(status: Body) -> Failure | None:
    for container in status.get("containerStatuses") or ():
        state, last = container.get("state") or {}, container.get("lastState") or {}
        waiting = state.get("waiting") or {}
        if kind := _WAITING.get(waiting.get("reason", "")):
            return Failure(kind=kind, message=str(waiting.get("message") or waiting["reason"]))
        ended = state.get("terminated") or last.get("terminated") or {}
        if not ended or int(ended.get("exitCode", 0)) == 0:
            continue
        return Failure(
            kind=_kind(container, int(ended["exitCode"])),
            message=_last_line(str(ended.get("message") or ended.get("reason") or "")),
            exit_code=int(ended["exitCode"]),
            at=str(ended.get("finishedAt") or ""),
        )
    return None


def _kind(container: Body, code: int) -> str:
    # Judged by readiness and restarts, not by whether it runs right now: one that fails to start
    # runs for a second of every back-off, and must not seem to recover each time.
    if container.get("ready"):
        return "Exited"
    # With its last line it said why it can never start as it is set up.
    if code == os.EX_CONFIG:
        return "CannotStart"
    return "CrashLoop" if int(container.get("restartCount") or 0) >= _LOOP else "Exited"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _unix(timestamp: object) -> float:
    if not isinstance(timestamp, str):
        return 0.0
    return datetime.fromisoformat(timestamp).timestamp()
