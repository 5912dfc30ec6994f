"""Rights: exactly those of this table, nowhere a wildcard, nowhere a secret."""

from collections.abc import Callable
from typing import Any

import pytest

Objects = list[dict[str, Any]]
Render = Callable[..., Objects]

ROUTER_ROLE = "ts-tridentserve-router"

# (API group, resource, name): verbs. Who adds a line here says in `templates/rbac.yaml` why.
OPERATOR = {
    ("tridentserve.io", "diffusionpipelines", ""): {"list", "watch"},
    ("tridentserve.io", "diffusionpipelines/status", ""): {"patch"},
    ("apps", "deployments", ""): {"list", "watch", "create", "patch", "delete"},
    ("", "pods", ""): {"list", "watch", "patch"},
    ("", "services", ""): {"list", "watch", "create", "patch"},
    ("", "serviceaccounts", ""): {"list", "watch", "create", "patch"},
    ("", "configmaps", ""): {"get"},
    ("rbac.authorization.k8s.io", "rolebindings", ""): {"list", "watch", "create", "patch"},
    ("rbac.authorization.k8s.io", "clusterroles", ROUTER_ROLE): {"bind"},
    ("events.k8s.io", "events", ""): {"create"},
}
ROUTER = {
    ("", "pods", ""): {"get", "list", "watch"},
    ("tridentserve.io", "diffusionpipelines", ""): {"get", "list", "watch"},
    ("", "configmaps", ""): {"list", "watch"},
}


def rights(role: dict[str, Any]) -> dict[tuple[str, str, str], set[str]]:
    return {
        (group, resource, name): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def roles(objects: Objects) -> dict[str, dict[str, Any]]:
    return {body["metadata"]["name"]: body for body in objects if body["kind"] == "ClusterRole"}


def test_the_operator_may_do_what_it_does_and_nothing_else(render: Render) -> None:
    assert rights(roles(render())["ts-tridentserve"]) == OPERATOR


def test_a_router_may_read_pods_pipelines_and_profiles_and_nothing_else(render: Render) -> None:
    assert rights(roles(render())[ROUTER_ROLE]) == ROUTER


def test_the_operator_is_told_the_role_that_it_may_hand_on(render: Render) -> None:
    objects = render()
    (deployment,) = (body for body in objects if body["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: entry.get("value") for entry in container["env"]}

    assert given["TRIDENTSERVE_ROUTER_CLUSTER_ROLE"] == ROUTER_ROLE


def test_watching_some_namespaces_gives_rights_in_those_alone(render: Render) -> None:
    objects = render({"watchNamespaces": ["demo", "prod"]})

    bindings = [body for body in objects if body["kind"] == "RoleBinding"]

    assert not [body for body in objects if body["kind"] == "ClusterRoleBinding"]
    assert [body["metadata"]["namespace"] for body in bindings] == ["demo", "prod"]
    assert {body["roleRef"]["name"] for body in bindings} == {"ts-tridentserve"}


@pytest.mark.parametrize(
    ("account", "name"),
    [
        ({}, "ts-tridentserve"),
        ({"name": "own"}, "own"),
        ({"create": False}, "default"),
        ({"create": False, "name": "theirs"}, "theirs"),
    ],
)
def test_rights_go_to_the_account_that_the_operator_runs_as(
    account: dict[str, Any], name: str, render: Render
) -> None:
    objects = render({"serviceAccount": account})
    (deployment,) = (body for body in objects if body["kind"] == "Deployment")
    (binding,) = (body for body in objects if body["kind"] == "ClusterRoleBinding")

    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == name
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": "system"}]
    created = [body["metadata"]["name"] for body in objects if body["kind"] == "ServiceAccount"]
    assert created == ([name] if account.get("create", True) else [])
