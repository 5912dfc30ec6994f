"""Environment variables and command lines of containers."""

from typing import Any

import pytest

from tridentserve_local.environment import (
    ConfigError,
    Objects,
    Place,
    command_line,
    expand,
    objects_needed,
    resolve,
)
from tridentserve_local.parsing import parse_pod

PLACE = Place(pod_ip="127.70.1.1", host_ip="127.70.0.1", allocatable={"cpu": "8", "memory": "32Gi"})
OBJECTS: Objects = {
    ("ConfigMap", "conf"): {"word": b"hello", "other": b"bye", "not=a=name": b"x"},
    ("Secret", "hidden"): {"bytes": b"\xff\x00"},
    ("ConfigMap", "gone"): None,
}


def made(container: dict[str, Any], **meta: Any) -> Any:
    raw = {
        "metadata": {
            "uid": "u-1",
            "namespace": "ns",
            "name": "p",
            "labels": {"app.kubernetes.io/name": "x", "b": 'quo"te'},
            "annotations": {"note": "line\nline"},
            **meta,
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [
                {"name": "main", **container},
                {"name": "side", "resources": {"limits": {"cpu": "500m"}}},
            ],
        },
    }
    return parse_pod(raw)


def environment(*env: dict[str, Any], **container: Any) -> dict[str, str]:
    pod = made({"env": list(env), **container})
    return resolve(pod.containers[0], pod, PLACE, OBJECTS, {"PATH": "/bin"})


def source(name: str, **kind: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": kind}


def field(path: str) -> str:
    return environment(source("X", fieldRef={"fieldPath": path}))["X"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$(A$(B))", "$(A2)"),
        ("", ""),
    ],
)
def test_references_expand_as_in_kubernetes(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app.kubernetes.io/name']", "x"),
        ("metadata.labels['missing']", ""),
        ("metadata.annotations['note']", "line\nline"),
        ("metadata.annotations", 'note="line\\nline"'),
        ("metadata.labels", 'app.kubernetes.io/name="x"\nb="quo\\"te"'),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "127.70.1.1"),
        ("status.podIPs", "127.70.1.1"),
        ("status.hostIP", "127.70.0.1"),
    ],
)
def test_fields_of_the_pod(path: str, expected: str) -> None:
    assert field(path) == expected


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"status\.color"):
        field("status.color")


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ({"resource": "requests.cpu"}, "2"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "2048"),
        ({"resource": "limits.cpu"}, "8"),  # none is set: the node's
        ({"resource": "requests.memory"}, "0"),
        ({"resource": "limits.cpu", "containerName": "side", "divisor": "1m"}, "500"),
    ],
)
def test_requests_and_limits_are_rounded_up(ref: dict[str, str], expected: str) -> None:
    resources = {"requests": {"cpu": "1500m"}, "limits": {"memory": "2Gi"}}

    found = environment(source("X", resourceFieldRef=ref), resources=resources)

    assert found["X"] == expected


def test_a_resource_of_an_unknown_container_is_refused() -> None:
    ref = {"resource": "limits.cpu", "containerName": "nobody"}
    with pytest.raises(ConfigError, match="nobody"):
        environment(source("X", resourceFieldRef=ref))


def test_later_entries_win_and_see_earlier_ones() -> None:
    found = environment(
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C)"},
        {"name": "C", "value": "3"},
        {"name": "A", "value": "$(A)$(A)"},
        envFrom=[{"configMapRef": {"name": "conf"}}],
    )

    assert found["B"] == "1$(C)"
    assert found["A"] == "11"
    assert found["word"] == "hello"
    assert found["PATH"] == "/bin"


def test_env_wins_over_env_from_and_prefixes_count() -> None:
    found = environment(
        {"name": "P_word", "value": "mine"},
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "conf"}}],
    )

    assert found["P_word"] == "mine"
    assert found["P_other"] == "bye"
    assert "word" not in found
    assert not any("=" in name for name in found)


def test_a_literal_without_a_value_is_empty() -> None:
    assert environment({"name": "EMPTY"})["EMPTY"] == ""


def test_keys_of_config_maps_and_secrets() -> None:
    found = environment(
        source("WORD", configMapKeyRef={"name": "conf", "key": "word"}),
        source("MAYBE", configMapKeyRef={"name": "conf", "key": "none", "optional": True}),
        source("GONE", configMapKeyRef={"name": "gone", "key": "none", "optional": True}),
        envFrom=[{"configMapRef": {"name": "gone", "optional": True}}],
    )

    assert found["WORD"] == "hello"
    assert "MAYBE" not in found
    assert "GONE" not in found


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"configMapKeyRef": {"name": "gone", "key": "k"}}, 'configmap "gone" not found'),
        (
            {"configMapKeyRef": {"name": "conf", "key": "k"}},
            "couldn't find key k in ConfigMap ns/conf",
        ),
        (
            {"secretKeyRef": {"name": "hidden", "key": "k"}},
            "couldn't find key k in Secret ns/hidden",
        ),
    ],
)
def test_what_is_missing_is_named_as_a_kubelet_does(entry: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        environment(source("X", **entry))

    assert str(caught.value) == message


def test_objects_needed_are_exactly_those_resolve_asks_for() -> None:
    pod = made(
        {
            "env": [
                {"name": "A", "value": "1"},
                source("B", configMapKeyRef={"name": "conf", "key": "word"}),
                source("C", secretKeyRef={"name": "hidden", "key": "bytes"}),
            ],
            "envFrom": [{"secretRef": {"name": "more"}}],
        }
    )

    assert objects_needed(pod.containers[0]) == {
        ("ConfigMap", "conf"),
        ("Secret", "hidden"),
        ("Secret", "more"),
    }


def test_command_and_arguments_expand() -> None:
    pod = made({"command": ["run", "$(A)"], "args": ["--b=$(B)"]})

    assert command_line(pod.containers[0], {"A": "1", "B": "2"}) == ("run", "1", "--b=2")


def test_arguments_alone_are_not_enough_without_an_image() -> None:
    pod = made({"args": ["serve"], "image": "someone/server:1"})

    with pytest.raises(ConfigError, match="someone/server:1"):
        command_line(pod.containers[0], {})
