"""It is Kubernetes: the real kubectl works, admission, roles and controllers do."""

import json
from pathlib import Path

import pytest

from tridentserve_local.testing import eventually
from tridentserve_local.toolchain.trial import LIMIT_S, Ready

pytestmark = pytest.mark.cluster

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: restricted}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: main
    image: none
    securityContext: {allowPrivilegeEscalation: %s, capabilities: {drop: [ALL]}}
"""
NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: restricted, labels: {pod-security.kubernetes.io/enforce: restricted}}
"""
NODE = """
apiVersion: v1
kind: Node
metadata: {name: %s, labels: {kubernetes.io/hostname: %s}}
"""
NODE_STATUS = {
    "status": {
        "capacity": {"cpu": "4", "memory": "8Gi", "pods": "10", "nvidia.com/gpu": "2"},
        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10", "nvidia.com/gpu": "2"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Test"}],
    }
}


def test_kubectl_finds_a_server_of_its_own_version(shared: Ready) -> None:
    versions = json.loads(shared.must("version", "-o", "json"))

    assert versions["serverVersion"]["gitVersion"] == shared.version
    assert versions["serverVersion"]["minor"] == versions["clientVersion"]["minor"] == "37"


def test_what_is_applied_is_got_described_waited_for_and_deleted(shared: Ready) -> None:
    manifest = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": %s}'

    shared.must("apply", "--server-side", "-f", "-", stdin=manifest % '{"key": "1"}')
    assert "configured" in shared.must("apply", "-f", "-", stdin=manifest % '{"key": "2"}')
    assert shared.must("get", "configmap", "a", "-o", "jsonpath={.data.key}") == "2"
    assert "key:" in shared.must("describe", "configmap", "a")
    shared.must("delete", "configmap", "a")
    shared.must("wait", "--for=delete", "configmap/a", "--timeout=60s")


def test_a_deployment_becomes_pods_and_its_deletion_takes_them_along(shared: Ready) -> None:
    shared.must("create", "deployment", "web", "--image=none", "--replicas=3")
    eventually(lambda: shared.must("get", "pods", "-l", "app=web", "-o", "name").count("\n") == 3)

    shared.must("delete", "deployment", "web")

    eventually(lambda: shared.must("get", "pods", "-l", "app=web", "-o", "name") == "")


def test_pods_go_to_a_node_with_room_for_their_gpus(shared: Ready) -> None:
    shared.must("apply", "-f", "-", stdin=NODE % ("n1", "n1"))
    shared.must(
        "patch", "node", "n1", "--subresource=status", "--type=merge", "-p", json.dumps(NODE_STATUS)
    )
    limits = json.dumps(
        {
            "spec": {
                "containers": [
                    {
                        "name": "gpu",
                        "image": "none",
                        "resources": {"limits": {"nvidia.com/gpu": "2"}},
                    }
                ]
            }
        }
    )
    for name in ("first", "second"):
        shared.must("run", name, "--image=none", f"--overrides={limits}")

    where = "jsonpath={.items[*].spec.nodeName}"
    eventually(lambda: shared.must("get", "pods", "-o", where) == "n1", within_s=LIMIT_S)
    eventually(lambda: "Insufficient nvidia.com/gpu" in shared.must("get", "events"))
    shared.must("delete", "pods", "first", "second", "--grace-period=0", "--force")
    shared.must("delete", "node", "n1")


def test_pod_security_is_enforced(shared: Ready) -> None:
    shared.must("apply", "-f", "-", stdin=NAMESPACE)
    eventually(lambda: shared.ask("-n", "restricted", "get", "sa", "default").returncode == 0)

    refused = shared.ask("apply", "-f", "-", stdin=POD % ("bad", "true"))

    assert refused.returncode == 1
    assert 'violates PodSecurity "restricted:latest"' in refused.stderr
    shared.must("apply", "-f", "-", stdin=POD % ("good", "false"))


def test_a_service_accounts_token_opens_what_its_role_allows_and_nothing_else(
    shared: Ready, tmp_path: Path
) -> None:
    shared.must("create", "serviceaccount", "reader")
    shared.must("create", "role", "reads", "--verb=get,list", "--resource=configmaps")
    shared.must("create", "rolebinding", "reads", "--role=reads", "--serviceaccount=default:reader")
    token = shared.must("create", "token", "reader").strip()
    kubeconfig = tmp_path / "kubeconfig"
    config = json.loads(shared.must("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    kubeconfig.write_text(json.dumps(config))

    def list_of(kind: str) -> int:
        return shared.ask("get", kind, kubeconfig=kubeconfig).returncode

    eventually(lambda: list_of("configmaps") == 0)
    assert list_of("secrets") == 1


def test_a_stranger_is_refused(shared: Ready, tmp_path: Path) -> None:
    config = json.loads(shared.must("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {"token": "guessed"}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))

    refused = shared.ask("get", "configmaps", kubeconfig=kubeconfig)

    assert refused.returncode == 1
    assert "Unauthorized" in refused.stderr


def test_the_keys_to_the_cluster_are_for_its_owner_only(shared: Ready) -> None:
    folder = shared.kubeconfig.parent

    assert folder.stat().st_mode & 0o077 == 0
    for name in ("kubeconfig", "tokens.csv", "service-account.key"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name


def test_no_controller_complains_of_loopback_addresses(shared: Ready) -> None:
    shared.must("create", "service", "clusterip", "web", "--tcp=80")

    assert shared.must("get", "endpointslices,endpoints", "-A", "-o", "name") == ""
