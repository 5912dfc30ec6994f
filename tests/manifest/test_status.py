"""The status that the operator writes is what it reads back."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tridentserve.domain.stages import Stage
from tridentserve.manifest.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    LastFailure,
    PlanReason,
    PlanStatus,
    PoolStatus,
    StageStatus,
    Status,
)
from tridentserve.manifest.v1alpha1 import parse_served

SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

READY = Condition(
    type=ConditionType.READY,
    status=ConditionStatus.TRUE,
    reason="AllReady",
    message="every worker is ready",
    observed_generation=3,
    last_transition_time=SINCE,
)

FULL = Status(
    observed_generation=3,
    url="grpc://flux-router.demo.svc:8500",
    revision="a1b2c3",
    conditions=(READY,),
    stages=(
        StageStatus(
            name=Stage.ENCODE,
            desired=2,
            ready=1,
            summary="1/2",
            fraction_percent=25,
            pools=(
                PoolStatus(
                    name="flux-encode-25-a1b2c3",
                    fraction_percent=25,
                    revision="a1b2c3",
                    desired=2,
                    ready=1,
                ),
            ),
        ),
    ),
    plan=PlanStatus(
        id="0123456789ab",
        reasons=(PlanReason(code="Load", stage=Stage.ENCODE, message="1.2 requests a second"),),
    ),
    last_failure=LastFailure(
        pod="flux-encode-25-a1b2c3-x", component="encode", exit_code=78, message="no such model"
    ),
)


def test_a_status_is_read_back_as_it_was_written() -> None:
    assert Status.model_validate(FULL.to_manifest()) == FULL


def test_times_are_written_as_kubernetes_writes_them() -> None:
    condition = FULL.to_manifest()["conditions"][0]

    assert condition["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert condition["type"] == "Ready"
    assert condition["status"] == "True"


def test_an_empty_status_says_nothing() -> None:
    assert Status().to_manifest() == {}


def test_a_condition_is_found_by_its_type() -> None:
    assert FULL.condition(ConditionType.READY) == READY
    assert FULL.condition(ConditionType.DEGRADED) is None


def test_a_condition_of_another_program_is_kept() -> None:
    theirs = {**FULL.to_manifest()["conditions"][0], "type": "Paused"}

    assert Status.model_validate({"conditions": [theirs]}).to_manifest() == {"conditions": [theirs]}


@pytest.mark.cluster
def test_the_api_server_keeps_the_status_and_lists_what_people_want_to_see(pipelines: Any) -> None:
    body = {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"name": "status"},
        "spec": {"model": {"uri": "pvc://models/flux"}},
    }

    seen = pipelines.with_status(body, FULL.to_manifest())

    assert parse_served(seen["object"]).status == FULL
    table = seen["table"]
    assert (table["Ready"], table["Reason"]) == ("True", "AllReady")
    assert (table["Model"], table["Enc"], table["Dec"]) == ("pvc://models/flux", "1/2", None)
