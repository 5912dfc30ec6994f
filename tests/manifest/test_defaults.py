"""Good resources: what is left out is filled in, by the models just as by a real API server."""

import copy
from typing import Any

import pytest

from tridentserve.domain.cluster import Sharing
from tridentserve.domain.ids import PipelineName
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.manifest.model import ClaimPath, FilePath
from tridentserve.manifest.v1alpha1 import parse, parse_served

MODEL = {"uri": "pvc://models/flux"}

FULL_TEMPLATE: dict[str, Any] = {
    "image": "registry.example/tridentserve:1",
    "resources": {
        "limits": {"memory": "8Gi", "cpu": 2},
        "requests": {"memory": 1073741824, "cpu": "0.5", "ephemeral-storage": "1e9"},
    },
    "nodeSelector": {"gpu.example/model": "h100", "empty": ""},
    "tolerations": [
        {"operator": "Exists"},
        {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"},
        {"key": "gone", "effect": "NoExecute", "tolerationSeconds": 30},
    ],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "zone", "operator": "In", "values": ["a", "b"]},
                            {"key": "memory", "operator": "Gt", "values": ["79"]},
                            {"key": "spot", "operator": "DoesNotExist"},
                        ],
                        "matchFields": [
                            {"key": "metadata.name", "operator": "NotIn", "values": ["n1"]}
                        ],
                    }
                ]
            },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchExpressions": []}}
            ],
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {
                            "matchLabels": {"app": "x"},
                            "matchExpressions": [{"key": "tier", "operator": "Exists"}],
                        },
                        "namespaces": ["default"],
                        "namespaceSelector": {},
                    },
                }
            ]
        },
    },
    "env": [
        {"name": "PLAIN", "value": "x"},
        {"name": "EMPTY"},
        {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {
            "name": "FROM_SECRET",
            "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}},
        },
    ],
    "volumes": [
        {"name": "map", "configMap": {"name": "c", "items": [{"key": "k", "path": "a/.b"}]}},
        {"name": "secret", "secret": {"secretName": "s", "defaultMode": 0o400}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "disk", "emptyDir": {}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        {
            "name": "both",
            "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]},
        },
    ],
    "volumeMounts": [
        {"name": "map", "mountPath": "/etc/map", "readOnly": True},
        {"name": "claim", "mountPath": "/more/models", "subPath": "flux/dev"},
    ],
}

GOOD_SPECS: dict[str, dict[str, Any]] = {
    "least": {"model": MODEL},
    "file": {"model": {"uri": "file:///root/.cache/models--x/v1.0+a", "dtype": "float32"}},
    "whole_claim": {"model": {"uri": "pvc://models"}},
    "nulls": {"model": {**MODEL, "dtype": None}, "stages": None, "drainSeconds": None},
    "built_in_profile": {"model": MODEL, "profile": {"name": "flux"}},
    "own_profile": {"model": MODEL, "profile": {"configMapRef": {"name": "measured"}}},
    "no_profile": {"model": MODEL, "profile": {}},
    "suspended": {"model": MODEL, "suspend": True, "planner": {"placement": "Static"}},
    "fractions": {
        "model": MODEL,
        "stages": {"encode": {"gpu": {"fractionsPercent": [1, 25, 50, 100]}}},
    },
    "devices": {
        "model": MODEL,
        "stages": {
            "diffuse": {
                "replicas": {"min": 2, "max": 16},
                "gpu": {"sharing": "Exclusive", "count": 8},
                "batching": {"maxSize": 4},
            }
        },
        "autoscaling": {"gpuLimitPercent": 1600},
    },
    "behavior": {
        "model": MODEL,
        "autoscaling": {
            "behavior": {
                "scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]},
                "scaleDown": {"stabilizationWindowSeconds": 0},
            }
        },
    },
    "template": {
        "model": MODEL,
        "stages": {
            "diffuse": {"gpu": {"sharing": "Exclusive", "count": 1}, "template": FULL_TEMPLATE}
        },
    },
}


def resource(spec: dict[str, Any], name: str = "flux") -> dict[str, Any]:
    return {
        "apiVersion": "tridentserve.io/v1alpha1",
        "kind": "DiffusionPipeline",
        "metadata": {"name": name, "namespace": "demo"},
        "spec": copy.deepcopy(spec),
    }


@pytest.mark.parametrize("case", GOOD_SPECS)
def test_what_is_written_is_read_back_equal(case: str) -> None:
    first = parse(resource(GOOD_SPECS[case]))

    again = parse(first.to_manifest())

    assert again == first
    assert again.to_manifest() == first.to_manifest()


def test_everything_that_was_given_is_kept_as_it_was_written() -> None:
    served = parse(resource(GOOD_SPECS["template"])).to_manifest()

    expected = copy.deepcopy(FULL_TEMPLATE)
    # An empty list says nothing, so it is left out.
    node = expected["affinity"]["nodeAffinity"]
    node["preferredDuringSchedulingIgnoredDuringExecution"][0]["preference"] = {}
    assert served["spec"]["stages"]["diffuse"]["template"] == expected


def test_every_default_is_filled_in() -> None:
    spec = parse(resource({"model": MODEL})).to_manifest()["spec"]

    stage = {
        "replicas": {"min": 1, "max": 4},
        "gpu": {"sharing": "None", "count": 0, "fractionsPercent": [100]},
        "batching": {"maxSize": 1, "maxWaitMilliseconds": 5},
        "template": {},
    }
    assert spec == {
        "model": {"uri": "pvc://models/flux", "dtype": "bfloat16"},
        "stages": {"encode": stage, "diffuse": stage, "decode": stage},
        "colocation": "Never",
        "limits": {
            "maxPixels": 1048576,
            "maxFrames": 1,
            "maxSteps": 100,
            "maxImages": 4,
            "maxPromptCharacters": 4000,
        },
        "slo": {"scalePercent": 250},
        "autoscaling": {
            "intervalSeconds": 5,
            "targetUtilizationPercent": 70,
            "gpuLimitPercent": 12800,
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "tolerancePercent": 10,
                    "selectPolicy": "Max",
                    "policies": [
                        {"type": "Pods", "value": 4, "periodSeconds": 15},
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                    ],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "tolerancePercent": 10,
                    "selectPolicy": "Max",
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                },
            },
        },
        "planner": {"placement": "Proportional", "dispatch": "DeadlineAware"},
        "router": {"maxQueue": 1000},
        "drainSeconds": 120,
        "suspend": False,
    }


def test_a_null_means_the_default() -> None:
    nulls = parse(resource(GOOD_SPECS["nulls"])).spec

    assert nulls == parse(resource(GOOD_SPECS["least"])).spec


def test_what_a_newer_crd_adds_does_not_stop_an_older_program() -> None:
    body = resource({"model": {**MODEL, "revision": "main"}, "tracing": {"endpoint": "x"}})
    body["status"] = {"mood": "good"}

    assert parse_served(body).spec == parse(resource({"model": MODEL})).spec


def test_the_domain_gets_every_stage_in_order() -> None:
    pipeline = parse(resource(GOOD_SPECS["devices"]))

    spec = pipeline.spec.to_domain(pipeline.name)

    assert spec.name == PipelineName("demo/flux")
    assert tuple(stage.stage for stage in spec.stages) == STAGES
    diffuse = spec.stage(Stage.DIFFUSE)
    assert (diffuse.min_replicas, diffuse.max_replicas) == (2, 16)
    assert (diffuse.sharing, diffuse.devices_per_worker) == (Sharing.EXCLUSIVE, 8)
    assert (diffuse.batch_max_size, diffuse.batch_max_wait_s) == (4, 0.005)
    assert spec.stage(Stage.ENCODE).devices_per_worker == 0
    assert spec.gpu_limit_percent == 1600


def test_the_domain_gets_the_behavior_with_zero_for_a_policy_that_is_not_there() -> None:
    spec = parse(resource(GOOD_SPECS["behavior"])).spec.to_domain(PipelineName("demo/flux"))

    up, down = spec.behavior.scale_up, spec.behavior.scale_down
    assert (up.max_workers, up.max_percent, up.period_s) == (1, 0, 60)
    assert (down.max_workers, down.max_percent, down.period_s) == (0, 100, 15)
    assert (up.stabilization_window_s, down.stabilization_window_s) == (0, 0)
    assert up.tolerance_percent == 10


def test_the_domain_gets_what_the_user_switches() -> None:
    spec = parse(resource(GOOD_SPECS["suspended"])).spec.to_domain(PipelineName("demo/flux"))

    assert spec.suspend
    assert (spec.placement, spec.dispatch) == ("Static", "DeadlineAware")
    assert spec.target_utilization_percent == 70


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("pvc://models/a/b", ClaimPath(claim="models", path="a/b")),
        ("pvc://models", ClaimPath(claim="models", path="")),
        ("file:///models/a", FilePath(path="/models/a")),
    ],
)
def test_a_model_is_found_by_its_uri(uri: str, location: ClaimPath | FilePath) -> None:
    assert parse(resource({"model": {"uri": uri}})).spec.model.location == location


@pytest.mark.cluster
@pytest.mark.parametrize("case", GOOD_SPECS)
def test_the_api_server_fills_in_what_the_models_do(case: str, pipelines: Any) -> None:
    body = resource(GOOD_SPECS[case])

    answer = pipelines.apply(body)

    assert answer.message == ""
    expected = parse(body)
    # Through the models, since the API server keeps an empty list that was given.
    assert parse_served(answer.served).spec == expected.spec
    if case != "template":
        assert answer.served["spec"] == expected.to_manifest()["spec"]
