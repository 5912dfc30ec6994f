"""Values: every one is documented, described and bounded; what is none is refused by name."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python import Chart, HelmValuesError

HELM = Path(__file__).resolve().parents[2] / "deploy/helm"
CHARTS = ("tridentserve", "tridentserve-crds")

BAD: list[tuple[dict[str, Any], str]] = [
    ({"unknown": 1}, "unknown"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"image": {"repository": ""}}, "/image/repository"),
    ({"image": {"tag": 1.2}}, "/image/tag"),
    ({"imagePullSecrets": ["pull"]}, "/imagePullSecrets/0"),
    ({"prometheus": {"url": "prometheus:9090"}}, "/prometheus/url"),
    ({"prometheus": {"urls": []}}, "/prometheus"),
    ({"redis": {"url": "http://redis"}}, "/redis/url"),
    ({"redis": {"existingSecret": {"name": "Not A Name"}}}, "/redis/existingSecret/name"),
    ({"sharedMemory": {"mode": "Csi"}}, "/sharedMemory/mode"),
    ({"sharedMemory": {"mode": "HostPath", "namespaces": ["a"]}}, "/sharedMemory/hostPath"),
    ({"sharedMemory": {"mode": "HostPath", "hostPath": "/s"}}, "/sharedMemory/namespaces"),
    ({"sharedMemory": {"hostPath": "relative"}}, "/sharedMemory/hostPath"),
    ({"model": {"fileRoots": "/models"}}, "/model/fileRoots"),
    ({"model": {"fileRoots": ["/a:/b"]}}, "/model/fileRoots/0"),
    ({"cpu": {"unit": 0}}, "/cpu/unit"),
    ({"cpu": {"unit": "0m"}}, "/cpu/unit"),
    ({"cpu": {"unit": "two"}}, "/cpu/unit"),
    ({"watchNamespaces": ["a,b"]}, "/watchNamespaces/0"),
    ({"watchNamespaces": ["a", "a"]}, "/watchNamespaces"),
    ({"intervals": {"loadWindowSeconds": 0}}, "/intervals/loadWindowSeconds"),
    ({"intervals": {"loadSeconds": "5s"}}, "/intervals/loadSeconds"),
    ({"log": {"format": "xml"}}, "/log/format"),
    ({"serviceAccount": {"create": "yes"}}, "/serviceAccount/create"),
    ({"resources": {"requests": [], "claims": []}}, "/resources"),
    ({"nodeSelector": {"gpu": True}}, "/nodeSelector/gpu"),
    ({"metrics": {"podMonitor": {"interval": "often"}}}, "/metrics/podMonitor/interval"),
    ({"networkPolicy": {"apiServerPorts": [0]}}, "/networkPolicy/apiServerPorts/0"),
    ({"fullnameOverride": "x" * 53}, "/fullnameOverride"),
    ({"fullnameOverride": "a.b"}, "/fullnameOverride"),
    ({"nameOverride": "a.b"}, "/nameOverride"),
]


def properties(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}".lstrip("."), child
        yield from properties(child, f"{path}.{name}")


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}.{name}".lstrip(".")
        if isinstance(value, dict):
            yield from leaves(value, f"{path}.{name}")


def load(chart: str) -> tuple[dict[str, Any], dict[str, Any]]:
    schema = json.loads((HELM / chart / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((HELM / chart / "values.yaml").read_text("utf-8"))
    return schema, values


@pytest.mark.parametrize(
    ("values", "field"), BAD, ids=[json.dumps(values)[:50] for values, _ in BAD]
)
def test_a_bad_value_is_refused_by_name(values: dict[str, Any], field: str, chart: Chart) -> None:
    with pytest.raises(HelmValuesError) as refusal:
        chart.render(values, name="ts")

    assert field in str(refusal.value)


def test_a_bad_value_of_the_definitions_is_refused_by_name(crds_chart: Chart) -> None:
    with pytest.raises(HelmValuesError, match="/keep"):
        crds_chart.render({"keep": "no"}, name="ts")


@pytest.mark.parametrize("unit", [1, 0.5, "2", "500m", "1.5", "0.25"])
def test_cores_are_given_as_kubernetes_takes_them(unit: float | str, chart: Chart) -> None:
    chart.render({"cpu": {"unit": unit}}, name="ts")


@pytest.mark.parametrize("name", CHARTS)
def test_values_and_schema_speak_of_the_same(name: str) -> None:
    schema, values = load(name)

    known = {path for path, _ in properties(schema)} - {"global"}

    # Below resources stand Kubernetes' own words.
    given = {path for path in leaves(values) if path.count(".") < 2 or "resources" not in path}
    assert known == given


@pytest.mark.parametrize("name", CHARTS)
def test_every_value_is_described_and_closed(name: str) -> None:
    schema, _ = load(name)

    assert schema["additionalProperties"] is False
    for path, node in properties(schema):
        assert node.get("description"), path
        if "properties" in node:
            assert node["additionalProperties"] is False, path


@pytest.mark.parametrize(
    ("name", "own_words"),
    [
        # What stands below resources is Kubernetes' own.
        ("tridentserve", ["cpu: 100m", "memory: 160Mi", "memory: 512Mi"]),
        ("tridentserve-crds", []),
    ],
)
def test_every_value_that_can_be_set_has_a_comment_above_it(
    name: str, own_words: list[str]
) -> None:
    lines = (HELM / name / "values.yaml").read_text("utf-8").splitlines()

    bare = [
        line.strip()
        for above, line in pairwise(lines)
        if re.match(r"\s*\w+: \S", line) and not above.lstrip().startswith("# ")
    ]

    assert bare == own_words
