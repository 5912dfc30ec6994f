"""Models that are not there: the pipeline says what to do, and goes on once it is done."""

import shutil
from pathlib import Path

import pytest
from tests.e2e.asking import drawn
from tests.e2e.pipelines import Pipeline

from tridentserve.client import Request
from tridentserve_local.testing import apply, eventually

pytestmark = pytest.mark.load
FOX = Request(prompt="a fox", seed=7)
STATIC = {"placement": "Static"}


def degraded(pipeline: Pipeline) -> tuple[str, str]:
    """Reason and sentence of the condition, once it is there."""
    eventually(lambda: pipeline.condition("Degraded").get("status") == "True", what="Degraded")
    condition = pipeline.condition("Degraded")
    return condition["reason"], condition["message"]


def test_a_model_that_is_not_there_is_named_and_another_uri_mends_it(
    pipeline: Pipeline, models: Path
) -> None:
    pipeline.apply(models / "no-such-model", planner=STATIC)

    reason, message = degraded(pipeline)
    assert reason == "CannotStart"
    assert str(models / "no-such-model") in message
    assert pipeline.condition("Ready")["status"] == "False"

    pipeline.apply(models / "synthetic", planner=STATIC)
    pipeline.wait("Ready")
    # The pods that cannot start go as soon as the others serve.
    pipeline.wait("Degraded=False")
    assert pipeline.generate(FOX).media == drawn(models / "synthetic", FOX)


def test_a_folder_that_is_no_model_says_what_a_model_has(pipeline: Pipeline, models: Path) -> None:
    (models / "empty").mkdir()
    pipeline.apply(models / "empty", planner=STATIC)

    reason, message = degraded(pipeline)
    assert reason == "CannotStart"
    assert "model_index.json" in message


def test_a_folder_that_the_operator_does_not_allow_makes_no_pod(pipeline: Pipeline) -> None:
    pipeline.apply("file:///srv/elsewhere", planner=STATIC)

    reason, message = degraded(pipeline)
    assert reason == "ModelNotAllowed"
    assert "TRIDENTSERVE_FILE_ROOTS" in message
    assert pipeline.pods("diffuse") == []


def test_a_claim_is_missed_by_name_and_serves_once_it_is_there(
    pipeline: Pipeline, models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "synthetic", tmp_path / "volume" / "flux" / "dev")
    pipeline.apply("pvc://models/flux/dev", planner=STATIC)

    reason, message = degraded(pipeline)
    assert reason == "Unschedulable"
    assert "models" in message

    volume = f"{pipeline.namespace}-models"
    apply(pipeline.cluster, local_volume(volume, pipeline.namespace, tmp_path / "volume"))
    apply(pipeline.cluster, claim(volume), namespace=pipeline.namespace)
    try:
        pipeline.wait("Ready")
        pipeline.wait("Degraded=False")
        assert pipeline.generate(FOX).media == drawn(models / "synthetic", FOX)
    finally:
        pipeline.cluster.kubectl("delete", "pv", volume, "--wait=false")


def local_volume(name: str, namespace: str, folder: Path) -> dict[str, object]:
    """A volume that is a folder of this host, for the claim `models` of a namespace."""
    everywhere = {"key": "kubernetes.io/hostname", "operator": "Exists"}
    terms = [{"matchExpressions": [everywhere]}]
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadOnlyMany"],
        "storageClassName": "",
        "local": {"path": str(folder)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        "claimRef": {"namespace": namespace, "name": "models"},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": spec,
    }


def claim(volume: str) -> dict[str, object]:
    """The claim `models` on it."""
    spec = {
        "accessModes": ["ReadOnlyMany"],
        "storageClassName": "",
        "volumeName": volume,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": spec,
    }
