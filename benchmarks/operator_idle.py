"""What the operator costs while nothing happens: API requests and processor time.

    python benchmarks/operator_idle.py [--pipelines 50] [--seconds 60]

A control plane of its own, pipelines with a router and three workers each, and a node that only
says of every pod that it is ready: the operator cannot tell it from a real one. Its requests are
counted by the API server (`apiserver_request_total`, which has no label for the client), so the
same number of seconds after the operator has ended is taken off, verb by verb and kind by kind.
Processor time and memory come from /proc.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from tridentserve_local.cluster import LocalCluster
from tridentserve_local.settings import ClusterSettings
from tridentserve_local.testing import apply, eventually, get

ROOT = Path(__file__).resolve().parents[1]
NODE = "pretended"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SERIES = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Node:
    """A node without a machine: every pod that is bound to it is ready at once."""

    def __init__(self, kubeconfig: Path) -> None:
        """Register and begin to beat."""
        config.load_kube_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        self._core: Any = client.CoreV1Api()
        self._done = threading.Event()
        body: Any = {"metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}}
        self._core.create_node(body)
        self._threads = [threading.Thread(target=self._beat), threading.Thread(target=self._answer)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Fall silent."""
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _beat(self) -> None:
        room = {"cpu": "10000", "memory": "10000Gi", "pods": "10000"}
        while True:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            ready = {"type": "Ready", "status": "True", "reason": "Pretended"}
            ready |= {"lastHeartbeatTime": now, "lastTransitionTime": now}
            status = {"capacity": room, "allocatable": room, "conditions": [ready]}
            self._core.patch_node_status(NODE, {"status": status})
            if self._done.wait(10):
                return

    def _answer(self) -> None:
        while not self._done.wait(0.5):
            pods = self._core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={NODE}")
            for pod in pods.items:
                if pod.status.phase == "Pending":
                    self._make_ready(pod.metadata.namespace, pod.metadata.name)

    def _make_ready(self, namespace: str, name: str) -> None:
        conditions = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")]
        status = {"phase": "Running", "podIP": "127.9.9.9", "conditions": conditions}
        self._core.patch_namespaced_pod_status(name, namespace, {"status": status})


def requests(cluster: LocalCluster) -> Counter[tuple[str, str]]:
    """Requests so far by verb and kind; leases, which everybody renews, are left out."""
    counts: Counter[tuple[str, str]] = Counter()
    for found in SERIES.finditer(cluster.kubectl("get", "--raw", "/metrics")):
        labels = dict(LABEL.findall(found["labels"]))
        kind = "/".join(filter(None, (labels.get("resource"), labels.get("subresource"))))
        if kind and kind != "leases":
            counts[labels["verb"], kind] += int(float(found["value"]))
    return counts


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_mib(pid: int) -> float:
    """Memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def start_operator(cluster: LocalCluster, log: Path) -> subprocess.Popen[bytes]:
    """The operator as the chart sets it up, but for where it runs."""
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "POD_IP": "127.0.0.1",
        "TRIDENTSERVE_METRICS_PORT": "0",
        "TRIDENTSERVE_PROMETHEUS_URL": cluster.prometheus_url,
    }
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "tridentserve_operator"]
        return subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)


def are_ready(cluster: LocalCluster, pipelines: int) -> bool:
    """Whether all of them say so."""
    listed = get(cluster, "default", "dp")["items"]
    ready = [
        one
        for one in listed
        for condition in one.get("status", {}).get("conditions", ())
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
    return len(ready) == pipelines


def prepare(cluster: LocalCluster, pipelines: int) -> None:
    """Definition and pipelines."""
    apply(cluster, yaml.safe_load((ROOT / "crds/diffusionpipelines.yaml").read_text()))
    served = "/apis/tridentserve.io/v1alpha1/diffusionpipelines"
    eventually(lambda: cluster.kubectl("get", "--raw", served, check=False))
    bodies = [
        {
            "apiVersion": "tridentserve.io/v1alpha1",
            "kind": "DiffusionPipeline",
            "metadata": {"name": f"idle-{number}"},
            "spec": {"model": {"uri": "file:///models/any"}},
        }
        for number in range(pipelines)
    ]
    apply(cluster, *bodies, namespace="default")


def measure(cluster: LocalCluster, pipelines: int, seconds: float, log: Path) -> dict[str, object]:
    """Start the operator, let everything come to rest, and look at what it does then."""
    prepare(cluster, pipelines)
    os.environ["TRIDENTSERVE_FILE_ROOTS"] = "/models"
    operator = start_operator(cluster, log)
    try:
        began = time.monotonic()
        eventually(lambda: are_ready(cluster, pipelines), within_s=300, every_s=1, what="all ready")
        ready_s = time.monotonic() - began
        busy_s = cpu_s(operator.pid)
        time.sleep(15)  # what follows from becoming ready
        before, cpu_before = requests(cluster), cpu_s(operator.pid)
        time.sleep(seconds)
        with_operator = requests(cluster) - before
        used_s = cpu_s(operator.pid) - cpu_before
        memory_mib = rss_mib(operator.pid)
    finally:
        operator.terminate()
        operator.wait(30)
    time.sleep(5)
    before = requests(cluster)
    time.sleep(seconds)
    without = requests(cluster) - before
    extra = {" ".join(key): value for key, value in sorted((with_operator - without).items())}
    return {
        "pipelines": pipelines,
        "pods": pipelines * 4,
        "seconds": seconds,
        "seconds until all were ready": round(ready_s, 1),
        "processor seconds until then": round(busy_s, 1),
        "processor share at rest, percent of one core": round(100 * used_s / seconds, 2),
        "memory MiB": round(memory_mib),
        "requests at rest beyond those without operator": extra,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipelines", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    settings = ClusterSettings(nodes=0, redis=False)
    with tempfile.TemporaryDirectory() as folder, LocalCluster(settings=settings) as cluster:
        node = Node(cluster.kubeconfig)
        log = Path(folder) / "operator.log"
        try:
            result = measure(cluster, arguments.pipelines, arguments.seconds, log)
        except BaseException:
            sys.stderr.write(log.read_text() if log.exists() else "")
            raise
        finally:
            node.stop()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
