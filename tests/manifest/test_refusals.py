"""Bad resources: the models and a real API server refuse the same ones, naming the same field."""

import contextlib
import copy
import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.schema import reachable
from tridentserve.manifest.v1alpha1 import DiffusionPipeline, parse

ABSENT = object()

GOOD: dict[str, Any] = {
    "apiVersion": "tridentserve.io/v1alpha1",
    "kind": "DiffusionPipeline",
    "metadata": {"name": "flux"},
    "spec": {"model": {"uri": "pvc://models/flux"}},
}

DIFFUSE = "spec.stages.diffuse"
TEMPLATE = f"{DIFFUSE}.template"
UP = "spec.autoscaling.behavior.scaleUp"
DOWN = "spec.autoscaling.behavior.scaleDown"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"

# What is set where, and the field that the refusal must name (the same one where None).
BAD: list[tuple[str, Any, str | None]] = [
    ("spec.model", ABSENT, None),
    ("spec.model", None, None),
    ("spec.model.uri", ABSENT, None),
    ("spec.model.uri", "", None),
    ("spec.model.uri", "hf://black-forest-labs/flux", None),
    ("spec.model.uri", "pvc://Models/flux", None),
    ("spec.model.uri", "pvc://models..old/flux", None),
    ("spec.model.uri", "pvc://models/../secrets", None),
    ("spec.model.uri", "file://models/flux", None),
    ("spec.model.uri", "file:///models/..", None),
    ("spec.model.uri", "file:///", None),
    ("spec.model.uri", "file:///m\n", None),
    ("spec.model.uri", "pvc://" + "m" * 1020, None),
    ("spec.model.dtype", "int8", None),
    ("spec.model.revision", "main", None),
    ("spec.profile", "flux", None),
    ("spec.profile.name", "", None),
    ("spec.profile.name", "Flux", None),
    ("spec.profile.file", "flux.json", None),
    ("spec.profile.configMapRef", {"key": "profile.json"}, "spec.profile.configMapRef.name"),
    ("spec.profile.configMapRef", {"name": "Mine"}, "spec.profile.configMapRef.name"),
    ("spec.profile.configMapRef", {"name": "m", "key": "a/b"}, "spec.profile.configMapRef.key"),
    (
        "spec.profile.configMapRef",
        {"name": "m", "namespace": "n"},
        "spec.profile.configMapRef.namespace",
    ),
    ("spec.profile", {"name": "flux", "configMapRef": {"name": "m"}}, None),
    ("spec.stages.upscale", {}, None),
    (f"{DIFFUSE}.replicas.min", 0, None),
    (f"{DIFFUSE}.replicas.min", 5, None),
    (f"{DIFFUSE}.replicas.max", 1001, None),
    (f"{DIFFUSE}.replicas.max", "4", None),
    (f"{DIFFUSE}.replicas.max", 4.5, None),
    (f"{DIFFUSE}.replicas", 2, None),
    (f"{DIFFUSE}.gpu.sharing", "MIG", None),
    (f"{DIFFUSE}.gpu.sharing", "exclusive", None),
    (f"{DIFFUSE}.gpu.count", 1, None),
    (f"{DIFFUSE}.gpu.count", -1, None),
    (f"{DIFFUSE}.gpu", {"sharing": "Exclusive"}, f"{DIFFUSE}.gpu.count"),
    (
        f"{DIFFUSE}.gpu",
        {"sharing": "Exclusive", "count": 1, "fractionsPercent": [50, 100]},
        f"{DIFFUSE}.gpu.fractionsPercent",
    ),
    (f"{DIFFUSE}.gpu.fractionsPercent", [], None),
    (f"{DIFFUSE}.gpu.fractionsPercent", [0], f"{DIFFUSE}.gpu.fractionsPercent[0]"),
    (f"{DIFFUSE}.gpu.fractionsPercent", [50, 101], f"{DIFFUSE}.gpu.fractionsPercent[1]"),
    (f"{DIFFUSE}.gpu.fractionsPercent", [100, 50], None),
    (f"{DIFFUSE}.gpu.fractionsPercent", [50, 50], None),
    (f"{DIFFUSE}.gpu.fractionsPercent", [25, 100, 50], None),
    (f"{DIFFUSE}.gpu.fractionsPercent", list(range(1, 18)), None),
    (f"{DIFFUSE}.batching.maxSize", 0, None),
    (f"{DIFFUSE}.batching.maxSize", 65, None),
    (f"{DIFFUSE}.batching.maxWaitMilliseconds", -1, None),
    (f"{TEMPLATE}.serviceAccountName", "admin", None),
    (f"{TEMPLATE}.securityContext", {"runAsUser": 0}, None),
    (f"{TEMPLATE}.hostNetwork", True, None),
    (f"{TEMPLATE}.image", "", None),
    (f"{TEMPLATE}.image", "two words", None),
    (f"{TEMPLATE}.resources.limits", {"nvidia.com/gpu": 1}, f"{TEMPLATE}.resources"),
    (f"{TEMPLATE}.resources.requests", {"cpu": "500m"}, f"{TEMPLATE}.resources"),
    (f"{TEMPLATE}.resources.limits", {"memory": "lots"}, f"{TEMPLATE}.resources.limits.memory"),
    (f"{TEMPLATE}.resources.limits", {"memory": "-1"}, f"{TEMPLATE}.resources.limits.memory"),
    (f"{TEMPLATE}.resources.limits", {"memory": -1}, f"{TEMPLATE}.resources.limits.memory"),
    (f"{TEMPLATE}.resources.limits", {"memory": 2**64}, f"{TEMPLATE}.resources.limits.memory"),
    (f"{TEMPLATE}.resources.limits", {"memory": True}, f"{TEMPLATE}.resources.limits.memory"),
    (f"{TEMPLATE}.nodeSelector", {"gpu": "a b"}, f"{TEMPLATE}.nodeSelector.gpu"),
    (f"{TEMPLATE}.tolerations", [{"operator": "In"}], f"{TEMPLATE}.tolerations[0].operator"),
    (f"{TEMPLATE}.tolerations", [{"value": "x"}], f"{TEMPLATE}.tolerations[0].operator"),
    (
        f"{TEMPLATE}.tolerations",
        [{"key": "a", "operator": "Exists", "value": "x"}],
        f"{TEMPLATE}.tolerations[0].value",
    ),
    (
        f"{TEMPLATE}.tolerations",
        [{"key": "a", "tolerationSeconds": 3}],
        f"{TEMPLATE}.tolerations[0].effect",
    ),
    (
        f"{TEMPLATE}.env",
        [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a b"}}}],
        f"{TEMPLATE}.env[0].valueFrom.secretKeyRef.key",
    ),
    (f"{TEMPLATE}.env", [{"value": "1"}], f"{TEMPLATE}.env[0].name"),
    (f"{TEMPLATE}.env", [{"name": "2BAD"}], f"{TEMPLATE}.env[0].name"),
    (f"{TEMPLATE}.env", [{"name": "POD_IP", "value": "::1"}], f"{TEMPLATE}.env[0].name"),
    (f"{TEMPLATE}.env", [{"name": "TRIDENTSERVE_POOL"}], f"{TEMPLATE}.env[0].name"),
    (f"{TEMPLATE}.env", [{"name": "A"}, {"name": "A"}], f"{TEMPLATE}.env[1]"),
    (
        f"{TEMPLATE}.env",
        [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        f"{TEMPLATE}.env[0]",
    ),
    (f"{TEMPLATE}.env", [{"name": "A", "valueFrom": {}}], f"{TEMPLATE}.env[0].valueFrom"),
    (
        f"{TEMPLATE}.env",
        [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        f"{TEMPLATE}.env[0].valueFrom.fieldRef",
    ),
    (f"{TEMPLATE}.volumes", [{"name": "v"}], f"{TEMPLATE}.volumes[0]"),
    (
        f"{TEMPLATE}.volumes",
        [{"name": "v", "emptyDir": {}, "configMap": {"name": "c"}}],
        f"{TEMPLATE}.volumes[0]",
    ),
    (
        f"{TEMPLATE}.volumes",
        [{"name": "v", "hostPath": {"path": "/"}}],
        f"{TEMPLATE}.volumes[0].hostPath",
    ),
    (
        f"{TEMPLATE}.volumes",
        [{"name": "tridentserve-model", "emptyDir": {}}],
        f"{TEMPLATE}.volumes[0].name",
    ),
    (
        f"{TEMPLATE}.volumes",
        [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}],
        f"{TEMPLATE}.volumes[0].projected.sources[0].serviceAccountToken",
    ),
    (
        f"{TEMPLATE}.volumes",
        [
            {
                "name": "v",
                "projected": {
                    "sources": [{"configMap": {"name": "c"}, "secret": {"name": "s"}}],
                },
            }
        ],
        f"{TEMPLATE}.volumes[0].projected.sources[0]",
    ),
    (
        f"{TEMPLATE}.volumes",
        [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "../k"}]}}],
        f"{TEMPLATE}.volumes[0].configMap.items[0].path",
    ),
    (
        f"{TEMPLATE}.volumeMounts",
        [{"name": "v", "mountPath": "/v"}],
        f"{TEMPLATE}.volumeMounts",
    ),
    (
        f"{TEMPLATE}",
        {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "volumeMounts": [{"name": "v", "mountPath": "relative"}],
        },
        f"{TEMPLATE}.volumeMounts[0].mountPath",
    ),
    (
        f"{TEMPLATE}",
        {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "volumeMounts": [{"name": "v", "mountPath": "/var/run/tridentserve/models"}],
        },
        f"{TEMPLATE}.volumeMounts[0].mountPath",
    ),
    (
        f"{TEMPLATE}.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms",
        [{"matchExpressions": [{"key": "gpu", "operator": "In"}]}],
        f"{TEMPLATE}.affinity.nodeAffinity.{REQUIRED}"
        ".nodeSelectorTerms[0].matchExpressions[0].values",
    ),
    (
        f"{TEMPLATE}.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms",
        [{"matchExpressions": [{"key": "gpu", "operator": "Gt", "values": ["many"]}]}],
        f"{TEMPLATE}.affinity.nodeAffinity.{REQUIRED}"
        ".nodeSelectorTerms[0].matchExpressions[0].values",
    ),
    (
        f"{TEMPLATE}.affinity.podAntiAffinity.{PREFERRED}",
        [{"weight": 101, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname"}}],
        f"{TEMPLATE}.affinity.podAntiAffinity.{PREFERRED}[0].weight",
    ),
    (
        f"{TEMPLATE}.affinity.podAffinity.{REQUIRED}",
        [
            {
                "topologyKey": "zone",
                "labelSelector": {
                    "matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]
                },
            }
        ],
        f"{TEMPLATE}.affinity.podAffinity.{REQUIRED}[0].labelSelector.matchExpressions[0].values",
    ),
    ("spec.colocation", "Allowed", None),
    ("spec.limits.maxPixels", 0, None),
    ("spec.limits.maxSteps", 1001, None),
    ("spec.limits.maxPromptCharacters", "many", None),
    ("spec.slo.scalePercent", 99, None),
    ("spec.autoscaling.intervalSeconds", 0, None),
    ("spec.autoscaling.targetUtilizationPercent", 100, None),
    ("spec.autoscaling.gpuLimitPercent", -1, None),
    (
        "spec",
        {
            **GOOD["spec"],
            "stages": {"diffuse": {"gpu": {"sharing": "Exclusive", "count": 2}}},
            "autoscaling": {"gpuLimitPercent": 199},
        },
        "spec.autoscaling.gpuLimitPercent",
    ),
    (f"{UP}.stabilizationWindowSeconds", 3601, None),
    (f"{UP}.tolerance", "0.1", None),
    (f"{UP}.selectPolicy", "Min", None),
    (f"{UP}.policies", [], None),
    (f"{UP}.policies", [{"type": "Pods"}], f"{UP}.policies[0].value"),
    (f"{UP}.policies", [{"type": "Pods", "value": 0}], f"{UP}.policies[0].value"),
    (
        f"{UP}.policies",
        [{"type": "Pods", "value": 1}, {"type": "Pods", "value": 2}],
        f"{UP}.policies[1]",
    ),
    (
        f"{UP}.policies",
        [
            {"type": "Pods", "value": 1, "periodSeconds": 15},
            {"type": "Percent", "value": 1, "periodSeconds": 60},
        ],
        f"{UP}.policies",
    ),
    (
        f"{DOWN}.policies",
        [
            {"type": "Percent", "value": 10, "periodSeconds": 15},
            {"type": "Pods", "value": 1},
            {"type": "Pods", "value": 2},
        ],
        f"{DOWN}.policies",
    ),
    (
        f"{DOWN}.policies",
        [{"type": "Percent", "value": 10, "periodSeconds": 60}, {"type": "Pods", "value": 1}],
        f"{DOWN}.policies",
    ),
    ("spec.planner.placement", "Orchestrator", None),
    ("spec.planner.placement", "Joint", None),
    ("spec.planner.placement", "proportional", None),
    ("spec.planner.dispatch", "Ilp", None),
    ("spec.router.maxQueue", 0, None),
    ("spec.drainSeconds", 0, None),
    ("spec.drain_seconds", 5, None),
    ("spec.suspend", "yes", None),
    ("spec", ABSENT, None),
    ("metadata.name", "x" * 64, None),
    ("metadata.name", "Not A Name", None),
]


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good resource with one thing set, or taken away."""
    body = copy.deepcopy(GOOD)
    *folders, last = path.split(".")
    place = body
    for folder in folders:
        place = place.setdefault(folder, {})
    if value is ABSENT:
        del place[last]
    else:
        place[last] = copy.deepcopy(value)
    return body


def named(cases: list[tuple[str, Any, str | None]]) -> Iterator[Any]:
    for path, value, field in cases:
        shown = "absent" if value is ABSENT else json.dumps(value)
        shown = re.sub(r"[^\w.:/=-]+", "-", shown)[:40]
        yield pytest.param(path, value, field or path, id=f"{path}={shown}")


def test_the_resource_that_the_table_changes_is_good() -> None:
    parse(GOOD)


@pytest.mark.parametrize(("path", "value", "field"), list(named(BAD)))
def test_a_bad_field_is_refused_by_name(path: str, value: Any, field: str) -> None:
    with pytest.raises(InvalidFieldError) as refusal:
        parse(changed(path, value))

    assert refusal.value.field == field
    assert refusal.value.problem[:1].islower()


RULES = [
    (name, position)
    for name, model in sorted(reachable(DiffusionPipeline).items())
    for position in range(len(model.rules))
]


@pytest.mark.parametrize(("name", "position"), RULES)
def test_without_any_one_rule_something_bad_would_pass(
    name: str, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = reachable(DiffusionPipeline)[name]
    rules = list(model.rules)
    rules[position] = dataclasses.replace(rules[position], holds=lambda _: True)
    monkeypatch.setattr(model, "rules", tuple(rules))

    assert not all(refused(path, value, field or path) for path, value, field in BAD)


def refused(path: str, value: Any, field: str) -> bool:
    try:
        parse(changed(path, value))
    except InvalidFieldError as refusal:
        return refusal.field == field
    return False


@pytest.mark.parametrize("value", [None, 5, "text", [], {"spec": []}, {1: 2}, float("nan")])
def test_what_is_no_resource_at_all_is_refused(value: Any) -> None:
    with pytest.raises(InvalidFieldError):
        parse(value)


@pytest.mark.parametrize(
    ("path", "value"), [("apiVersion", "tridentserve.io/v1"), ("kind", "Pipeline")]
)
def test_another_kind_or_version_is_refused(path: str, value: str) -> None:
    with pytest.raises(InvalidFieldError) as refusal:
        parse(changed(path, value))

    assert refusal.value.field == path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(path=st.sampled_from(sorted({path for path, *_ in BAD})), value=JSON)
def test_nonsense_anywhere_is_accepted_or_refused(path: str, value: Any) -> None:
    # Anything but a refusal by name would end a loop of the operator or the router.
    with contextlib.suppress(InvalidFieldError):
        parse(changed(path, value))


@pytest.mark.cluster
@pytest.mark.parametrize(("path", "value", "field"), list(named(BAD)))
def test_the_api_server_refuses_it_by_name_too(
    path: str, value: Any, field: str, pipelines: Any
) -> None:
    answer = pipelines.apply(changed(path, value))

    assert answer.code in (400, 422), answer.served
    assert field in answer.message


def plain(value: Any) -> bool:
    """Without floats (2.0 is an integer to the API server) and nulls (see `parse`)."""
    match value:
        case dict():
            return all(plain(item) for item in value.values())
        case list():
            return all(plain(item) for item in value)
        case _:
            return value is not None and not isinstance(value, float)


def assert_agreement(body: dict[str, Any], pipelines: Any) -> None:
    try:
        parse(body)
    except InvalidFieldError as refusal:
        problem = str(refusal)
    else:
        problem = ""

    answer = pipelines.apply(body)

    assert bool(answer.message) == bool(problem), (problem, answer.message)


@pytest.mark.cluster
@settings(deadline=None, max_examples=300, derandomize=True)
@given(path=st.sampled_from(sorted({path for path, *_ in BAD})), value=JSON.filter(plain))
def test_models_and_api_server_agree_on_nonsense(path: str, value: Any, pipelines: Any) -> None:
    assert_agreement(changed(path, value), pipelines)


SIZES = st.fixed_dictionaries(
    {
        "replicas": st.fixed_dictionaries(
            {}, optional={"min": st.integers(0, 6), "max": st.integers(1, 6)}
        ),
        "gpu": st.fixed_dictionaries(
            {},
            optional={
                "sharing": st.sampled_from(["None", "Exclusive"]),
                "count": st.integers(0, 2),
                "fractionsPercent": st.lists(st.sampled_from([25, 50, 100, 101]), max_size=3),
            },
        ),
        "template": st.sampled_from(
            [{}, {"resources": {"limits": {"cpu": 1}}}, {"resources": {"requests": {"a/b": 1}}}]
        ),
    }
)


@pytest.mark.cluster
@settings(deadline=None, max_examples=300, derandomize=True)
@given(stage=SIZES, limit=st.sampled_from([0, 100, 400, 800]))
def test_models_and_api_server_agree_on_sizes(
    stage: dict[str, Any], limit: int, pipelines: Any
) -> None:
    body = changed("spec.autoscaling.gpuLimitPercent", limit)
    body["spec"]["stages"] = {"encode": stage, "diffuse": stage}

    assert_agreement(body, pipelines)
