"""Probes on the real control plane, of all kinds."""

from pathlib import Path

import pytest

from tridentserve_local.testing import eventually
from tridentserve_local.testing_pods import Pods, container, pod, shell
from tridentserve_local.wire import Json

pytestmark = pytest.mark.cluster

POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
GRPC_SERVER = """
import os, signal, threading, time
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2_grpc
server = grpc.server(futures.ThreadPoolExecutor(2))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port(os.environ["POD_IP"] + ":8500")
servicer.set("", 1); servicer.set("sick", 2)
server.start()
print("serving", flush=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
while True: time.sleep(0.1)
"""


def quick(action: Json, **fields: object) -> Json:
    return {**action, "periodSeconds": 1, "failureThreshold": 1, **fields}


def ready(pods: Pods, name: str) -> bool:
    return bool(pods.status(name).get("ready"))


@pytest.fixture
def gate(pods: Pods) -> Path:
    """A file for probes to look for, which the test makes and takes away."""
    return pods.cluster.logs / f"{pods.namespace}-gate"


def test_an_exec_probe_decides_whether_a_pod_is_ready(pods: Pods, gate: Path) -> None:
    probe = quick({"exec": {"command": ["test", "-e", "/gate/open"]}})
    mounts = [{"name": "gate", "mountPath": "/gate"}]
    main = shell("sleep 600", readinessProbe=probe, volumeMounts=mounts)
    # The probe sees the volumes of its container, and this one does there what the test does.
    follow = f"if [ -e {gate} ]; then touch /gate/open; else rm -f /gate/open; fi"
    side = shell(f"while :; do {follow}; sleep 0.1; done", name="side", volumeMounts=mounts)
    pods.apply(pod("gated", main, side, volumes=[{"name": "gate", "emptyDir": {}}]))

    eventually(lambda: "Unhealthy" in pods.reasons("gated"), what="Unhealthy")
    assert not ready(pods, "gated")
    gate.touch()
    pods.wait("condition=Ready", "pod/gated")
    gate.unlink()
    pods.wait("condition=Ready=False", "pod/gated")

    assert pods.status("gated")["restartCount"] == 0


def test_a_failed_liveness_probe_restarts_the_container(pods: Pods) -> None:
    probe = quick({"exec": {"command": ["false"]}}, initialDelaySeconds=1)
    pods.apply(pod("dying", shell("sleep 600", livenessProbe=probe)))

    eventually(lambda: pods.status("dying").get("restartCount", 0) >= 1, what="a restart")

    assert pods.status("dying")["lastState"]["terminated"]["exitCode"] == 143
    eventually(lambda: "Killing" in pods.reasons("dying"), what="Killing")


def test_a_startup_probe_holds_the_other_probes_back(pods: Pods, gate: Path) -> None:
    is_open: Json = {"exec": {"command": ["test", "-e", str(gate)]}}
    startup, liveness = quick(is_open, failureThreshold=600), quick(is_open)
    pods.apply(pod("slow", shell("sleep 600", startupProbe=startup, livenessProbe=liveness)))
    # By then the other one, asked as often, would have failed as well, and once is enough for it.
    eventually(lambda: "Unhealthy" in pods.reasons("slow"), what="Unhealthy")
    eventually(lambda: "running" in pods.status("slow").get("state", {}), what="running")
    assert not pods.status("slow")["started"]

    gate.touch()
    pods.wait("condition=Ready", "pod/slow")

    assert pods.status("slow")["started"]
    assert pods.status("slow")["restartCount"] == 0


def test_a_failed_startup_probe_kills(pods: Pods) -> None:
    startup = quick({"exec": {"command": ["false"]}})
    pods.apply(pod("never", shell("sleep 600", startupProbe=startup), restartPolicy="Never"))

    pods.wait_phase("never", "Failed")


def test_a_tcp_probe_passes_when_somebody_listens(pods: Pods) -> None:
    program = """
import os, socket, time
time.sleep(1)
server = socket.create_server((os.environ["POD_IP"], 7000))
while True: server.accept()
"""
    probe = quick({"tcpSocket": {"port": "door"}})
    ports = [{"name": "door", "containerPort": 7000}]
    pods.apply(pod("door", container(program, env=[POD_IP], ports=ports, readinessProbe=probe)))

    pods.wait("condition=Ready", "pod/door")


@pytest.mark.parametrize(("service", "answer"), [("", True), ("sick", False), ("unknown", False)])
def test_a_grpc_probe_asks_the_health_service(pods: Pods, service: str, answer: bool) -> None:
    probe = quick({"grpc": {"port": 8500, "service": service}})
    pods.apply(pod("grpc", container(GRPC_SERVER, env=[POD_IP], readinessProbe=probe)))
    pods.wait_log("grpc", "serving")

    if answer:
        pods.wait("condition=Ready", "pod/grpc")
    else:
        eventually(lambda: "Unhealthy" in pods.reasons("grpc"), what="Unhealthy")
        assert not ready(pods, "grpc")


def test_an_http_probe_needs_a_good_status_and_a_declared_port(pods: Pods) -> None:
    program = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.path == "/good" and self.headers["X-Asks"] == "probe"
        self.send_response(204 if good else 503); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""
    headers = [{"name": "X-Asks", "value": "probe"}]
    ports = [{"name": "http", "containerPort": 8080}]

    def server(name: str, path: str, port: object) -> Json:
        action = {"httpGet": {"path": path, "port": port, "httpHeaders": headers}}
        probe = quick(action)
        return pod(name, container(program, env=[POD_IP], ports=ports, readinessProbe=probe))

    pods.apply(server("good", "/good", "http"), server("bad", "/bad", 8080))
    pods.apply(server("lost", "/good", "https"))

    pods.wait("condition=Ready", "pod/good")
    eventually(lambda: "Unhealthy" in pods.reasons("bad"), what="Unhealthy")
    eventually(lambda: "Unhealthy" in pods.reasons("lost"), what="Unhealthy")
    assert not ready(pods, "bad")
    assert not ready(pods, "lost")
