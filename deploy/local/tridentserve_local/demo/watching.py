"""Applies a pipeline and follows its status, as somebody with `kubectl get dp --watch` would."""

from __future__ import annotations

import json
import time

from tridentserve.manifest import v1alpha1
from tridentserve.manifest.status import ConditionStatus, ConditionType
from tridentserve_local.cluster import LocalCluster

from .errors import DemoError
from .narrator import Narrator
from .resources import NAMESPACE

_LOOK_S = 0.5
_HEARTBEAT_S = 5.0
_READY_WITHIN_S = 180.0


def apply(cluster: LocalCluster, yaml: str, narrator: Narrator) -> None:
    """`kubectl apply -f -`, with what is applied shown.

    Raises:
        ClusterError: the API server refuses it.
    """
    narrator.say("kubectl apply -f - <<END")
    narrator.say("\n".join(f"  {line}" for line in yaml.splitlines()) + "\nEND")
    narrator.say(cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=yaml).strip())


def look(cluster: LocalCluster, name: str) -> v1alpha1.DiffusionPipeline:
    """The pipeline as it is now."""
    text = cluster.kubectl("-n", NAMESPACE, "get", "dp", name, "-ojson")
    return v1alpha1.parse_served(json.loads(text))


def wait_until_ready(cluster: LocalCluster, name: str, narrator: Narrator) -> None:
    """Show each change until the pipeline is Ready.

    Raises:
        DemoError: it says that something is wrong with it, or it takes too long.
    """
    deadline = time.monotonic() + _READY_WITHIN_S
    shown, shown_s = "", 0.0
    while True:
        pipeline = look(cluster, name)
        row = status_row(pipeline)
        if row != shown or time.monotonic() - shown_s > _HEARTBEAT_S:
            narrator.say(row)
            shown, shown_s = row, time.monotonic()
        if _holds(pipeline, ConditionType.READY):
            return
        if _holds(pipeline, ConditionType.DEGRADED):
            raise DemoError(f"{name} is Degraded: {_message(pipeline, ConditionType.DEGRADED)}")
        if time.monotonic() > deadline:
            raise DemoError(f"{name} is not Ready: {_message(pipeline, ConditionType.READY)}")
        time.sleep(_LOOK_S)


def status_row(pipeline: v1alpha1.DiffusionPipeline) -> str:
    """What `kubectl get dp` prints of it, in one line."""
    ready = pipeline.status.condition(ConditionType.READY)
    stages = "  ".join(f"{one.name} {one.summary}" for one in pipeline.status.stages)
    state = f"Ready={ready.status} {ready.reason}" if ready else "not seen by the operator yet"
    return f"dp/{pipeline.metadata.name}  {state}  {stages}".rstrip()


def _holds(pipeline: v1alpha1.DiffusionPipeline, kind: ConditionType) -> bool:
    condition = pipeline.status.condition(kind)
    return condition is not None and condition.status is ConditionStatus.TRUE


def _message(pipeline: v1alpha1.DiffusionPipeline, kind: ConditionType) -> str:
    condition = pipeline.status.condition(kind)
    return condition.message if condition else "the operator has not looked at it"
