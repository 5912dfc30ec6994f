"""Volumes, tokens and addresses of pods on the real control plane."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import (
    apply,
    assert_no_leaks,
    create_namespace,
    delete_namespace,
    eventually,
)
from tridentserve_local.testing_pods import Pods, container, pod, shell
from tridentserve_local.wire import Json

pytestmark = pytest.mark.cluster


def on(node: str) -> Json:
    """Binds a pod to a node, by its label."""
    return {"nodeSelector": {"kubernetes.io/hostname": node}}


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


@pytest.fixture
def lenient(local_cluster: LocalCluster, namespace: str) -> Iterator[Pods]:
    """A namespace that admits hostPath volumes."""
    name = f"{namespace}-lenient"
    create_namespace(local_cluster, name, security="privileged")
    yield Pods(local_cluster, name)
    delete_namespace(local_cluster, name)
    assert_no_leaks(local_cluster, name)


def test_config_maps_secrets_and_fields_are_files_and_variables(pods: Pods) -> None:
    pods.apply(config_map("conf", greeting="hello"), secret("hidden", password="x y"))
    sources = [
        {"configMap": {"name": "conf", "items": [{"key": "greeting", "path": "a/greeting"}]}},
        {"secret": {"name": "hidden"}},
        {"downwardAPI": {"items": [{"path": "me", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    script = """
cat $DIR/a/greeting $DIR/password $DIR/me; echo; echo "$PASSWORD|$PREFIX_greeting|$APP|$NOTE|$CPU"
"""
    env = [
        {"name": "DIR", "value": "/all/of/it"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "password"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['note']"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
    ]
    fields: Json = {
        "env": env,
        "envFrom": [{"prefix": "PREFIX_", "configMapRef": {"name": "conf"}}],
        "resources": {"requests": {"cpu": "1500m"}},
        "volumeMounts": [{"name": "all", "mountPath": "/all/of/it"}],
    }
    volumes = [{"name": "all", "projected": {"sources": sources}}]
    pods.apply(pod("reader", shell(script, **fields), volumes=volumes, restartPolicy="Never"))

    pods.wait_phase("reader", "Succeeded")

    assert pods.logs("reader") == "hellox yreader\nx y|hello|reader|a b|2\n"


def test_a_changed_config_map_reaches_a_running_pod(pods: Pods) -> None:
    pods.apply(config_map("conf", word="before"))
    script = 'while ! grep -q after /conf/word; do sleep 0.2; done; echo "saw it"; sleep 60'
    volumes = [{"name": "conf", "configMap": {"name": "conf"}}]
    mounts = [{"name": "conf", "mountPath": "/conf"}]
    pods.apply(pod("watcher", shell(script, volumeMounts=mounts), volumes=volumes))
    pods.wait("condition=Ready", "pod/watcher")

    pods.apply(config_map("conf", word="after"))

    eventually(lambda: "saw it" in pods.logs("watcher"), within_s=60, what="the change")


def test_a_missing_volume_source_is_an_event_and_the_pod_waits(pods: Pods) -> None:
    volumes = [{"name": "conf", "configMap": {"name": "late"}}]
    mounts = [{"name": "conf", "mountPath": "/conf"}]
    main = shell("cat /conf/word; sleep 60", volumeMounts=mounts)
    pods.apply(pod("patient", main, volumes=volumes))
    eventually(lambda: "FailedMount" in pods.reasons("patient"), what="FailedMount")
    assert pods.phase("patient") == "Pending"

    pods.apply(config_map("late", word="here"))

    assert pods.wait_log("patient", "here") == "here"


def test_a_pod_that_waits_for_its_volumes_can_be_deleted(pods: Pods) -> None:
    volumes = [{"name": "conf", "configMap": {"name": "never"}}]
    pods.apply(pod("stuck", shell("true"), volumes=volumes))
    eventually(lambda: "FailedMount" in pods.reasons("stuck"), what="FailedMount")

    pods.kubectl("delete", "pod", "stuck", "--timeout=10s")


def test_memory_volumes_lie_on_tmpfs_and_vanish_with_their_pod(pods: Pods) -> None:
    script = 'echo x > "$SHM/file"; stat -f -c %T "$SHM"; sleep 60'
    fields: Json = {
        "env": [{"name": "SHM", "value": "/dev/shm"}],
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    volumes = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    pods.apply(pod("memory", shell(script, **fields), volumes=volumes))

    assert pods.wait_log("memory", "tmpfs") == "tmpfs\n"
    assert [f.name for f in pods.cluster.pod_memory_files()] == ["file"]
    pods.kubectl("delete", "pod", "memory")
    assert pods.cluster.pod_memory_files() == []


def test_host_paths_are_shared_within_a_node_and_not_between_nodes(lenient: Pods) -> None:
    fields: Json = {"volumeMounts": [{"name": "host", "mountPath": "/shared"}]}
    volumes = [{"name": "host", "hostPath": {"path": "/var/shared", "type": "DirectoryOrCreate"}}]
    look = shell("ls /shared; echo looked; sleep 60", **fields)
    first, second = lenient.cluster.nodes[:2]
    write = shell("echo x > /shared/file; echo wrote; sleep 60", **fields)
    lenient.apply(pod("writer", write, volumes=volumes, **on(first)))
    lenient.wait_log("writer", "wrote")

    lenient.apply(pod("near", look, volumes=volumes, **on(first)))
    lenient.apply(pod("far", look, volumes=volumes, **on(second)))

    assert lenient.wait_log("near", "looked") == "file\nlooked\n"
    assert lenient.wait_log("far", "looked") == "looked\n"
    assert [f.name for f in lenient.cluster.host_files(first)] == ["file"]
    assert not Path("/var/shared").exists()
    lenient.cluster.host_files(first)[0].unlink()


def test_a_claim_on_a_local_volume_shows_its_real_folder(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("weights")
    name = f"{pods.namespace}-models"
    hostname = {"key": "kubernetes.io/hostname", "operator": "Exists"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "local": {"path": str(tmp_path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
            "claimRef": {"namespace": pods.namespace, "name": "models"},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    apply(pods.cluster, volume)
    mounts = [{"name": "models", "mountPath": "/models", "readOnly": True}]
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
    main = shell("cat /models/model.json", volumeMounts=mounts)
    pods.apply(claim, pod("loader", main, volumes=volumes, restartPolicy="Never"))

    pods.wait_phase("loader", "Succeeded")

    assert pods.logs("loader") == "weights"
    pods.cluster.kubectl("delete", "pv", name, "--wait=false")


def test_a_pods_kubeconfig_is_its_service_account(pods: Pods) -> None:
    program = """
from kubernetes import client, config
config.load_kube_config()
review = client.AuthenticationV1Api().create_self_subject_review({
    "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
user = review.status.user_info
print(user.username, user.extra["authentication.kubernetes.io/pod-name"][0])
"""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
    pods.apply(account)
    main = container(program)
    pods.apply(pod("who", main, serviceAccountName="robot", restartPolicy="Never"))

    pods.wait_phase("who", "Succeeded")

    assert pods.logs("who").split() == [f"system:serviceaccount:{pods.namespace}:robot", "who"]


def test_a_pod_without_a_token_gets_no_kubeconfig(pods: Pods) -> None:
    main = shell('echo "[$KUBECONFIG]"')
    spec: Json = {"automountServiceAccountToken": False, "restartPolicy": "Never"}
    pods.apply(pod("nobody", main, **spec))

    pods.wait_phase("nobody", "Succeeded")

    assert pods.logs("nobody") == "[]\n"


def test_gpus_are_never_held_twice_and_come_back(pods: Pods) -> None:
    gpu = {"resources": {"limits": {"nvidia.com/gpu": 2}}}
    script = "echo $NVIDIA_VISIBLE_DEVICES; sleep 600"
    node = on(pods.cluster.nodes[0])
    for name in ("a", "b", "c"):
        pods.apply(pod(name, shell(script, **gpu), **node))
        if name != "c":
            pods.wait("condition=Ready", f"pod/{name}")

    held = {name: pods.wait_log(name, "GPU-").strip().split(",") for name in ("a", "b")}
    assert len({*held["a"], *held["b"]}) == 4

    def unschedulable() -> bool:
        conditions = pods.get("c")["status"].get("conditions", [])
        return any(c.get("reason") == "Unschedulable" for c in conditions)

    eventually(unschedulable, what="the third pod finds no GPU")
    pods.kubectl("delete", "pod", "a", "--timeout=20s")
    assert sorted(pods.wait_log("c", "GPU-").strip().split(",")) == sorted(held["a"])


def test_a_node_says_what_it_has(local_cluster: LocalCluster) -> None:
    node = json.loads(local_cluster.kubectl("get", "node", local_cluster.nodes[0], "-ojson"))

    assert node["status"]["capacity"]["nvidia.com/gpu"] == "4"
    assert node["status"]["capacity"]["cpu"] == "16"
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == local_cluster.nodes[0]
    assert "taints" not in node["spec"]
