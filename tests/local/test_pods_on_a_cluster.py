"""Pods on the real control plane: they run, they end, and the API server is told the truth."""

import json
import sys
from pathlib import Path

import pytest

from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import eventually, get
from tridentserve_local.testing_pods import Pods, container, pod, shell

pytestmark = pytest.mark.cluster

SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("TERM seen"), sys.exit(0)))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists("sick") else 200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler)
print("listening")
server.serve_forever()
"""
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
HTTP = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
PORTS = [{"name": "http", "containerPort": 8080}]


def deployment(name: str, replicas: int, program: str, **fields: object) -> dict[str, object]:
    labels = {"app": name}
    template = pod(name, container(program, **fields))
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
        },
    }


def test_a_deployment_becomes_available_with_an_address_and_a_process_a_pod(pods: Pods) -> None:
    pods.apply(deployment("web", 3, SERVER, env=[POD_IP], ports=PORTS, readinessProbe=HTTP))
    pods.wait("condition=Available", "deployment/web")

    listing = json.loads(pods.kubectl("get", "pods", "-ojson"))["items"]

    assert len({p["status"]["podIP"] for p in listing}) == 3
    assert all(p["status"]["podIP"].startswith("127.") for p in listing)
    for found in listing:
        assert len(pods.cluster.pod_pids(pods.namespace, found["metadata"]["name"])) == 1


def test_a_deployment_scaled_to_nothing_leaves_no_pod_and_no_process(pods: Pods) -> None:
    pods.apply(deployment("web", 2, SERVER, env=[POD_IP]))
    pods.wait("condition=Available", "deployment/web")

    pods.kubectl("scale", "deployment/web", "--replicas=0")
    eventually(lambda: not get(pods.cluster, pods.namespace, "pods")["items"], what="no pod")

    assert pods.cluster.processes(pods.namespace) == {}


def test_a_crash_is_told_with_its_exit_code_and_restarted_with_growing_waits(pods: Pods) -> None:
    pods.apply(pod("crash", shell("echo run; exit 7")))

    def waiting() -> bool:
        state = pods.status("crash").get("state", {})
        return bool(state.get("waiting", {}).get("reason") == "CrashLoopBackOff")

    eventually(waiting, what="CrashLoopBackOff")
    status = pods.status("crash")

    assert status["restartCount"] >= 1
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert pods.phase("crash") == "Running"
    eventually(lambda: "BackOff" in pods.reasons("crash"), what="BackOff")


def test_the_log_of_the_run_before_is_kept(pods: Pods) -> None:
    script = (
        'if [ -e "$HOME/once" ]; then echo second; sleep 60; fi; touch "$HOME/once"; echo first'
    )
    pods.apply(pod("twice", shell(script)))

    assert "second" in pods.wait_log("twice", "second")
    assert pods.logs("twice", "--previous") == "first\n"


def test_killing_a_pod_is_seen_as_137_and_the_container_comes_back(pods: Pods) -> None:
    pods.apply(pod("victim", container(SERVER, env=[POD_IP], ports=PORTS, readinessProbe=HTTP)))
    pods.wait("condition=Ready", "pod/victim")
    before = pods.cluster.pod_pids(pods.namespace, "victim")

    assert pods.cluster.kill_pod(pods.namespace, "victim") == 1

    eventually(lambda: pods.status("victim")["restartCount"] == 1, what="restart")
    pods.wait("condition=Ready", "pod/victim")
    assert pods.status("victim")["lastState"]["terminated"]["exitCode"] == 137
    assert pods.cluster.pod_pids(pods.namespace, "victim") != before


def test_a_pod_that_may_not_restart_succeeds_or_fails_by_its_exit_code(pods: Pods) -> None:
    pods.apply(
        pod("good", shell("exit 0"), restartPolicy="Never"),
        pod("bad", shell("echo why >&2; exit 3"), restartPolicy="Never"),
    )

    pods.wait_phase("good", "Succeeded")
    pods.wait_phase("bad", "Failed")

    assert pods.status("good")["state"]["terminated"]["reason"] == "Completed"
    assert pods.status("bad")["state"]["terminated"]["exitCode"] == 3
    assert pods.logs("bad") == "why\n"


def test_a_job_retries_its_pod_until_it_succeeds(pods: Pods) -> None:
    script = 'if [ -e "$HOME/once" ]; then exit 0; fi; touch "$HOME/once"; exit 1'
    template = {"spec": pod("", shell(script), restartPolicy="OnFailure")["spec"]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}}
    pods.apply({**job, "spec": {"backoffLimit": 3, "template": template}})

    pods.wait("condition=Complete", "job/work")


def test_a_failed_container_says_why_in_its_status_when_it_asks_for_that(pods: Pods) -> None:
    fields = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    pods.apply(pod("fails", shell("echo the reason; exit 1", **fields), restartPolicy="Never"))

    pods.wait_phase("fails", "Failed")

    assert pods.status("fails")["state"]["terminated"]["message"] == "the reason\n"


def test_an_unknown_command_is_a_start_error_with_a_sentence(pods: Pods) -> None:
    missing = container("", command=["no-such-command"])
    pods.apply(pod("missing", missing, restartPolicy="Never"))

    pods.wait_phase("missing", "Failed")

    state = pods.status("missing")["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert "no-such-command" in state["message"]


def test_a_container_without_a_command_waits_with_a_sentence(pods: Pods) -> None:
    nothing = container("", command=None)
    pods.apply(pod("nothing", nothing))

    eventually(lambda: pods.status("nothing").get("state", {}).get("waiting", {}).get("message"))

    waiting = pods.status("nothing")["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
    assert "names no command" in waiting["message"]


def test_a_missing_config_map_holds_the_container_until_it_is_there(pods: Pods) -> None:
    ref = {"name": "WORD", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "word"}}}
    pods.apply(pod("patient", shell('echo "got $WORD"; sleep 60', env=[ref])))
    eventually(lambda: "waiting" in pods.status("patient").get("state", {}))

    def reason() -> bool:
        waiting = pods.status("patient")["state"].get("waiting", {})
        return bool(waiting.get("message") == 'configmap "late" not found')

    eventually(reason, what="the config map is named")
    metadata = {"name": "late"}
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"word": "hi"}}
    pods.apply(late)

    assert "got hi" in pods.wait_log("patient", "got")


def test_deletion_runs_pre_stop_then_sigterm_and_waits_for_the_end(pods: Pods) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> $LEDGER"]}}}
    program = """
import os, signal, sys, time
ledger = os.environ["LEDGER"]
def stop(*_):
    with open(ledger, "a") as stream: stream.write("term\\n")
    time.sleep(0.3)
    with open(ledger, "a") as stream: stream.write("done\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("ready")
while True: time.sleep(0.05)
"""
    ledger = Path(str(pods.cluster.logs)) / f"{pods.namespace}-ledger"
    env = [{"name": "LEDGER", "value": str(ledger)}]
    pods.apply(pod("polite", container(program, env=env, lifecycle=hook)))
    pods.wait_log("polite", "ready")

    pods.kubectl("delete", "pod", "polite", "--timeout=20s")

    assert ledger.read_text() == "hook\nterm\ndone\n"


def test_a_pod_being_deleted_is_not_ready_while_it_still_runs(pods: Pods) -> None:
    stubborn = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("TERM seen"))
print("ready")
while True: time.sleep(0.05)
"""
    pods.apply(pod("slow", container(stubborn), terminationGracePeriodSeconds=60))
    pods.wait("condition=Ready", "pod/slow")
    pods.wait_log("slow", "ready")

    pods.kubectl("delete", "pod", "slow", "--wait=false")
    pods.wait("condition=Ready=False", "pod/slow")

    pods.wait_log("slow", "TERM seen")
    assert len(pods.cluster.pod_pids(pods.namespace, "slow")) == 1
    # Asking again with less patience counts from now on.
    pods.kubectl("delete", "pod", "slow", "--grace-period=1", "--timeout=20s")
    assert pods.cluster.processes(pods.namespace) == {}


def test_force_deleting_a_pod_ends_its_processes(pods: Pods) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    pods.apply(pod("deaf", container(deaf), terminationGracePeriodSeconds=600))
    pods.wait_log("deaf", "up")

    pods.kubectl("delete", "pod", "deaf", "--grace-period=0", "--force")

    eventually(lambda: pods.cluster.processes(pods.namespace) == {}, what="its end")


def test_children_that_left_the_session_end_with_their_container(pods: Pods) -> None:
    program = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("forked")
time.sleep(600)
"""
    pods.apply(pod("parent", container(program), terminationGracePeriodSeconds=1))
    pods.wait_log("parent", "forked")
    assert len(pods.cluster.pod_pids(pods.namespace, "parent")) == 2

    pods.kubectl("delete", "pod", "parent", "--timeout=20s")

    assert pods.cluster.processes(pods.namespace) == {}


def test_init_containers_run_in_order_and_share_volumes(pods: Pods) -> None:
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    first = shell("echo one >> /shared/file", name="first", **mount)
    second = shell("echo two >> /shared/file", name="second", **mount)
    main = shell("cat /shared/file; sleep 60", **mount)
    volumes = [{"name": "shared", "emptyDir": {}}]
    pods.apply(pod("staged", main, initContainers=[first, second], volumes=volumes))

    assert pods.wait_log("staged", "two") == "one\ntwo\n"


def test_a_failing_init_container_keeps_the_rest_from_starting(pods: Pods) -> None:
    pods.apply(
        pod(
            "blocked",
            shell("echo never"),
            initContainers=[shell("exit 4", name="first")],
            restartPolicy="Never",
        )
    )

    pods.wait_phase("blocked", "Failed")

    assert pods.status("blocked", "first")["state"]["terminated"]["exitCode"] == 4
    assert "waiting" in pods.status("blocked")["state"]


def test_a_sidecar_starts_first_and_does_not_keep_a_pod_from_succeeding(pods: Pods) -> None:
    sidecar = shell("echo up; sleep 600", name="side", restartPolicy="Always")
    pods.apply(pod("pair", shell("exit 0"), initContainers=[sidecar], restartPolicy="Never"))

    pods.wait_phase("pair", "Succeeded")

    assert pods.logs("pair", "-c", "side") == "up\n"


def test_logs_can_be_tailed_limited_and_followed_to_the_end(pods: Pods) -> None:
    pods.apply(pod("talker", shell("seq 1 200; sleep 1; echo last"), restartPolicy="Never"))
    # A pod that no node has yet has an empty log, and one that does not run yet has none.
    pods.wait_log("talker", "200")

    followed = pods.logs("talker", "-f")

    assert followed.splitlines() == [*(str(n) for n in range(1, 201)), "last"]
    assert pods.logs("talker", "--tail=2") == "200\nlast\n"
    assert pods.logs("talker", "--limit-bytes=4") == "1\n2\n"


def test_exec_is_refused_with_a_sentence(pods: Pods) -> None:
    pods.apply(pod("closed", shell("sleep 60")))
    pods.wait("condition=Ready", "pod/closed")

    with pytest.raises(Exception, match=r"only logs|unable to upgrade|501"):
        pods.kubectl("exec", "closed", "--", "true")


def test_a_container_sees_the_projects_commands_and_nothing_of_the_callers_environment(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import os, sys, json; print(json.dumps([sys.executable, dict(os.environ)]))"
    pods.apply(pod("bare", container(program), restartPolicy="Never"))
    pods.wait_phase("bare", "Succeeded")

    executable, environment = json.loads(pods.logs("bare"))

    assert Path(executable).parent == Path(sys.executable).parent
    assert set(environment) <= {
        "HOME", "HOSTNAME", "KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
        "KUBERNETES_SERVICE_PORT_HTTPS", "LANG", "LC_CTYPE", "PATH", "PROCESS_NODE_CONTAINER",
        "TMPDIR",
    }  # fmt: skip


def test_namespaces_of_tests_really_enforce_restricted_pods(
    local_cluster: LocalCluster, namespace: str
) -> None:
    bad = pod("root", {"name": "main", "image": "x", "command": ["true"]})

    with pytest.raises(Exception, match="violates PodSecurity"):
        Pods(local_cluster, namespace).apply(bad)
