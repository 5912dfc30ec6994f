"""What the charts make of values: valid, restricted, complete, nothing that is not asked for."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from helm_python import Chart, HelmRenderError

from tridentserve.domain import names
from tridentserve.manifest.crd import custom_resource_definition
from tridentserve_operator.settings import Settings, from_environment

ROOT = Path(__file__).resolve().parents[2]

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]

MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example/op", "tag": "1.2", "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "pull"}],
        "pipelines": {"image": "registry.example/pipelines:1.2"},
        "prometheus": {"url": "https://prometheus.example/prefix"},
        "redis": {"existingSecret": {"name": "redis", "key": "address"}},
        "sharedMemory": {
            "mode": "HostPath",
            "hostPath": "/dev/shm/tridentserve",
            "namespaces": ["demo", "prod"],
        },
        "model": {"fileRoots": ["/models", "/more"]},
        "cpu": {"unit": "500m"},
        "intervals": {"loadWindowSeconds": 120, "loadSeconds": 10},
        "log": {"format": "text"},
        "serviceAccount": {"name": "own", "annotations": {"a": "b"}},
        "resources": {"limits": {"memory": "1Gi"}},
        "podLabels": {"team": "x"},
        "podAnnotations": {"note": "y"},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "metrics": {
            "service": {"enabled": True},
            "podMonitor": {"enabled": True, "interval": "5s", "labels": {"release": "prometheus"}},
        },
        "networkPolicy": {"enabled": True},
    },
    "namespaced": {
        "watchNamespaces": ["demo", "prod"],
        "metrics": {"podMonitor": {"enabled": True}},
        "prometheus": {"url": "http://prometheus:9090"},
        "networkPolicy": {"enabled": True, "apiServerPorts": [16443]},
    },
    "bare": {"rbac": {"create": False}, "serviceAccount": {"create": False}},
    "long name": {"fullnameOverride": "x" * 52, "metrics": {"service": {"enabled": True}}},
}

SCALARS = ("2024", "1e3", "0x1f", "2024-01-02", "true", "on", "null")
"""Names that YAML takes for something else where they stand without quotes."""

RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def one(objects: Objects, kind: str) -> dict[str, Any]:
    (found,) = (body for body in objects if body["kind"] == kind)
    return found


def pod(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = one(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def environment(objects: Objects) -> dict[str, str]:
    """Variables of the operator as its process sees them, but for those of the pod."""
    (container,) = pod(objects)["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


@pytest.mark.parametrize("case", MATRIX)
def test_every_object_is_valid_for_the_api_server(case: str, render: Render) -> None:
    for body in render(MATRIX[case]):
        if body["kind"] != "PodMonitor":  # no part of Kubernetes, so no schema of it is there
            kubernetes_validate.validate(body, "1.37", strict=True)


@pytest.mark.parametrize("fullname", [True, False])
@pytest.mark.parametrize("word", SCALARS)
def test_a_name_that_looks_like_something_else_stays_a_name(
    word: str, fullname: bool, render: Render
) -> None:
    values = {
        "fullnameOverride": word if fullname else "",
        "nameOverride": word,
        "watchNamespaces": [word],
        "priorityClassName": word,
        "serviceAccount": {"name": word},
        "metrics": {"service": {"enabled": True}, "podMonitor": {"enabled": True}},
        "networkPolicy": {"enabled": True},
    }

    for body in render(values, name=word, namespace=word):
        meta = body["metadata"]
        if body["kind"] != "PodMonitor":
            kubernetes_validate.validate(body, "1.37", strict=True)
        assert isinstance(meta["name"], str)
        assert meta.get("namespace", word) == word
        assert meta["labels"][names.LABEL_NAME] == meta["labels"][names.LABEL_INSTANCE] == word


@pytest.mark.parametrize("case", MATRIX)
def test_every_object_is_labelled_named_and_placed(case: str, render: Render) -> None:
    seen = set()
    for body in render(MATRIX[case]):
        meta = body["metadata"]
        labels = meta["labels"]
        assert labels[names.LABEL_PART_OF] == names.PART_OF
        assert labels[names.LABEL_INSTANCE] == "ts"
        assert labels[names.LABEL_MANAGED_BY] == "Helm"
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", meta["name"])
        namespaced = not body["kind"].startswith("Cluster")
        assert ("namespace" in meta) == namespaced
        seen.add((body["kind"], meta.get("namespace"), meta["name"]))

    assert len(seen) == len(render(MATRIX[case]))


@pytest.mark.parametrize("case", MATRIX)
def test_the_operators_pod_is_restricted(case: str, render: Render) -> None:
    spec = pod(render(MATRIX[case]))
    (container,) = spec["containers"]

    assert spec["securityContext"] == RESTRICTED_POD
    assert spec["enableServiceLinks"] is False  # they would set variables that the operator reads
    assert container["securityContext"] == RESTRICTED_CONTAINER
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}


def test_there_is_never_a_second_operator(render: Render) -> None:
    spec = one(render(), "Deployment")["spec"]

    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_only_what_is_asked_for_is_there(render: Render) -> None:
    kinds = sorted(body["kind"] for body in render())
    bare = sorted(body["kind"] for body in render(MATRIX["bare"]))

    assert kinds == [
        "ClusterRole",
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
        "ServiceAccount",
    ]
    assert bare == ["Deployment"]


def test_the_operator_reads_the_values_as_they_are_meant(render: Render) -> None:
    settings = from_environment(environment(render(MATRIX["everything"])))

    assert settings == Settings(
        prometheus_url="https://prometheus.example/prefix",
        redis_secret_name="redis",
        redis_secret_key="address",
        image="registry.example/pipelines:1.2",
        shm_host_path="/dev/shm/tridentserve",
        shm_namespaces=frozenset({"demo", "prod"}),
        file_roots=("/models", "/more"),
        cpu_unit_millicores=500,
        load_window_s=120,
        load_interval_s=10,
        router_cluster_role="ts-tridentserve-router",
        log_format="text",
    )


def test_the_values_defaults_are_the_operators_own(render: Render) -> None:
    settings = from_environment(environment(render()))

    own = Settings(image="tridentserve:0.1.0", router_cluster_role="ts-tridentserve-router")
    assert settings == own


def test_every_variable_of_the_operator_is_one_that_it_reads(render: Render) -> None:
    source = (ROOT / "operator/tridentserve_operator/settings.py").read_text("utf-8")
    read = set(re.findall(r'(?:text|words|seconds|_variable)\("([A-Z_]+)"', source))
    read = {f"TRIDENTSERVE_{name}" for name in read}
    read |= {names.ENV_CPU_UNIT, names.ENV_REDIS_URL, names.ENV_LOG_FORMAT}
    (container,) = pod(render(MATRIX["everything"]))["containers"]

    given = {entry["name"] for entry in container["env"]}

    assert {name for name in given if name.startswith("TRIDENTSERVE_")} <= read


def test_the_operator_is_told_the_secret_with_the_redis_address_and_not_the_address(
    render: Render,
) -> None:
    settings = from_environment(environment(render(MATRIX["everything"])))

    assert (settings.redis_secret_name, settings.redis_secret_key) == ("redis", "address")
    assert settings.redis_url == ""


def test_two_redis_addresses_are_refused(render: Render) -> None:
    both = {"url": "redis://redis:6379/0", "existingSecret": {"name": "redis"}}

    with pytest.raises(HelmRenderError, match=r"redis\.url and redis\.existingSecret\.name"):
        render({"redis": both})


def test_the_port_is_the_one_that_every_part_agrees_on(render: Render) -> None:
    objects = render(MATRIX["everything"])
    (container,) = pod(objects)["containers"]
    (port,) = one(objects, "Service")["spec"]["ports"]

    assert container["ports"] == [
        {"name": names.PORT_METRICS_NAME, "containerPort": names.PORT_METRICS, "protocol": "TCP"}
    ]
    assert port["port"] == names.PORT_METRICS
    assert container["livenessProbe"]["httpGet"]["port"] == names.PORT_METRICS_NAME


@pytest.mark.parametrize("kind", ["Service", "NetworkPolicy"])
def test_selectors_find_the_operators_pod(kind: str, render: Render) -> None:
    objects = render(MATRIX["everything"])
    spec = one(objects, kind)["spec"]
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]

    selector = spec.get("selector") or spec["podSelector"]["matchLabels"]

    assert selector.items() <= labels.items()
    assert selector[names.LABEL_COMPONENT] == "operator"


@pytest.mark.parametrize(
    ("url", "ports", "expected"),
    [
        ("http://prometheus.monitoring:9090", [9090], [9090]),
        ("http://prometheus.monitoring/path", [9090], [80, 9090]),
        ("https://prometheus.monitoring", [9090, 8443], [443, 9090, 8443]),
        ("http://[fd00::1]:9091/", [], [9091]),
    ],
)
def test_the_network_policy_lets_the_operator_reach_prometheus(
    url: str, ports: list[int], expected: list[int], render: Render
) -> None:
    policy = {"enabled": True, "prometheusPorts": ports}
    objects = render({"prometheus": {"url": url}, "networkPolicy": policy})

    (rule,) = one(objects, "NetworkPolicy")["spec"]["egress"]

    assert [entry["port"] for entry in rule["ports"]] == [53, 53, 443, 6443, *expected]


def test_the_notes_warn_of_what_does_not_work_yet(chart: Chart) -> None:
    def notes(values: dict[str, Any]) -> str:
        return str(chart.render(values, name="ts")["tridentserve/templates/NOTES.txt"])

    assert "No prometheus.url" in notes({})
    assert "No redis.url" in notes({})
    everything = notes(MATRIX["everything"])
    assert "No " not in everything
    assert "demo, prod" in everything
    assert "a Secret redis whose key address" in everything


@pytest.mark.parametrize("keep", [True, False])
def test_the_definition_is_the_generated_one_and_is_kept_if_asked(
    keep: bool, render_crds: Render
) -> None:
    (definition,) = render_crds({"keep": keep})

    annotations = definition["metadata"].pop("annotations", {})
    definition["metadata"].pop("labels")
    assert definition == custom_resource_definition()
    assert annotations == ({"helm.sh/resource-policy": "keep"} if keep else {})


def test_the_definition_is_valid_for_the_api_server(render_crds: Render) -> None:
    (definition,) = render_crds()

    kubernetes_validate.validate(definition, "1.37", strict=True)
