"""Events for people who read `kubectl describe`: one for each thing that changed. Pure."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from tridentserve.domain.plans import PlacementPlan
from tridentserve.manifest.base import API_VERSION, KIND, Object
from tridentserve.manifest.status import Condition, ConditionStatus, ConditionType
from tridentserve.manifest.v1alpha1 import DiffusionPipeline

_NOTE_LIMIT = 1024
_TOLD = {
    ConditionType.READY: ConditionStatus.TRUE,
    ConditionType.DEGRADED: ConditionStatus.FALSE,
    ConditionType.METRICS_AVAILABLE: ConditionStatus.TRUE,
    ConditionType.SCALING_LIMITED: ConditionStatus.FALSE,
}
"""Conditions whose transitions are told, and the status that is good news."""


def transitions(
    pipeline: DiffusionPipeline,
    old: Iterable[Condition],
    new: Iterable[Condition],
    reporter: str,
    now: float,
) -> tuple[Object, ...]:
    """An event for every condition that changed its status, or its reason while it is bad news.

    The first look tells bad news of its own only: that a new pipeline is not ready, or that nobody
    has asked Prometheus yet, is none.
    """
    before = {one.type: one for one in old}
    events = []
    for condition in new:
        good = _TOLD.get(ConditionType(condition.type))
        if good is None or condition.status is ConditionStatus.UNKNOWN:
            continue
        past = before.get(condition.type)
        is_good = condition.status is good
        if past is None:
            told = condition.type == ConditionType.DEGRADED and not is_good
        else:
            told = past.status is not condition.status or (
                condition.type == ConditionType.DEGRADED and past.reason != condition.reason
            )
            told = told and not (past.status is ConditionStatus.UNKNOWN and is_good)
        if told:
            kind = "Normal" if is_good else "Warning"
            reason = _reason(condition)
            events.append(event(pipeline, kind, reason, condition.message, reporter, now))
    return tuple(events)


def plan_changed(
    pipeline: DiffusionPipeline, plan: PlacementPlan, reporter: str, now: float
) -> Object:
    """The event of another placement plan, with its reasons."""
    reasons = "; ".join(
        f"{reason.stage}: {reason.message}" if reason.stage else reason.message
        for reason in plan.reasons
    )
    sizes = ", ".join(f"{pool.workers} x {pool.shape.label}" for pool in plan.pools) or "no workers"
    return event(pipeline, "Normal", "PlanChanged", f"{sizes}. {reasons}", reporter, now)


def event(
    pipeline: DiffusionPipeline, kind: str, reason: str, note: str, reporter: str, now: float
) -> Object:
    """One event about a pipeline; `kind` is Normal or Warning."""
    about = pipeline.metadata
    unique = hashlib.sha256(f"{about.uid}{reason}{note}{now}".encode()).hexdigest()[:16]
    time = datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{about.name}.{unique}", "namespace": about.namespace},
        "eventTime": time.replace("+00:00", "Z"),
        "type": kind,
        "reason": reason,
        "action": "Reconcile",
        "note": note if len(note) <= _NOTE_LIMIT else note[: _NOTE_LIMIT - 3] + "...",
        "reportingController": "tridentserve.io/operator",
        "reportingInstance": reporter,
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": about.name,
            "namespace": about.namespace,
            "uid": about.uid,
        },
    }


def _reason(condition: Condition) -> str:
    words = {
        (ConditionType.READY, True): "Ready",
        (ConditionType.DEGRADED, False): "Recovered",
        (ConditionType.METRICS_AVAILABLE, True): "MetricsAvailable",
        (ConditionType.SCALING_LIMITED, False): "ScalingUnlimited",
    }
    key = (ConditionType(condition.type), condition.status is ConditionStatus.TRUE)
    return words.get(key, condition.reason)
