"""Metrics: samples carry the same labels wherever pods run; the operator's queries rest on them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tridentserve.domain import names
from tridentserve_local.discovery import target_labels

ROOT = Path(__file__).resolve().parents[2]

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]

POD = {
    "metadata": {
        "namespace": "demo",
        "name": "flux-encode-25-a1b2c3-x",
        "labels": {
            names.LABEL_PART_OF: names.PART_OF,
            names.LABEL_PIPELINE: "flux",
            names.LABEL_POOL: "flux-encode-25-a1b2c3",
            names.LABEL_COMPONENT: "encode",
        },
    },
    "spec": {"nodeName": "n1"},
}
OPERATOR_POD = {
    "metadata": {
        "namespace": "system",
        "name": "ts-tridentserve-x",
        "labels": {names.LABEL_PART_OF: names.PART_OF, names.LABEL_COMPONENT: "operator"},
    },
    "spec": {"nodeName": "n2"},
}


def discovered(pod: dict[str, Any]) -> dict[str, str]:
    """What Prometheus' own discovery says of a pod before any relabelling."""
    meta = pod["metadata"]
    found = {
        "__meta_kubernetes_namespace": meta["namespace"],
        "__meta_kubernetes_pod_name": meta["name"],
        "__meta_kubernetes_pod_node_name": pod["spec"]["nodeName"],
        "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_pod_container_port_name": "metrics",
    }
    for key, value in meta["labels"].items():
        found["__meta_kubernetes_pod_label_" + re.sub(r"[^a-zA-Z0-9_]", "_", key)] = value
    return found


def relabelled(labels: dict[str, str], rules: Objects) -> dict[str, str] | None:
    """What is left of the labels after Prometheus' relabelling; None where it drops the target."""
    result = dict(labels)
    for rule in rules:
        sources = rule.get("source_labels") or rule["sourceLabels"]
        value = rule.get("separator", ";").join(result.get(source, "") for source in sources)
        matched = re.fullmatch(rule.get("regex", "(.*)"), value)
        action = rule.get("action", "replace")
        if (action == "keep" and not matched) or (action == "drop" and matched):
            return None
        if action == "replace" and matched:
            result[rule.get("target_label") or rule["targetLabel"]] = matched.group(1)
    return {name: value for name, value in result.items() if value and not name.startswith("__")}


def documented_rules() -> Objects:
    text = (ROOT / "deploy/helm/tridentserve/README.md").read_text("utf-8")
    ((job,),) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S))
    assert job["honor_labels"] is True
    rules: Objects = job["relabel_configs"]
    return rules


@pytest.mark.parametrize("seen", [POD, OPERATOR_POD], ids=["worker", "operator"])
def test_samples_get_the_same_labels_wherever_the_pods_run(
    seen: dict[str, Any], render: Render
) -> None:
    objects = render({"metrics": {"podMonitor": {"enabled": True}}})
    (monitor,) = (body["spec"] for body in objects if body["kind"] == "PodMonitor")
    (endpoint,) = monitor["podMetricsEndpoints"]

    here = target_labels(seen)

    assert relabelled(discovered(seen), endpoint["relabelings"]) == here
    assert relabelled(discovered(seen), documented_rules()) == here
    assert endpoint["honorLabels"] is True
    assert monitor["selector"]["matchLabels"].items() <= seen["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("__meta_kubernetes_pod_label_app_kubernetes_io_part_of", "other"),
        ("__meta_kubernetes_pod_container_port_name", "grpc"),
        ("__meta_kubernetes_pod_phase", "Failed"),
    ],
)
def test_other_ports_and_pods_are_not_scraped(label: str, value: str) -> None:
    assert relabelled({**discovered(POD), label: value}, documented_rules()) is None
