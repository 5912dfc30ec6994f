"""Whatever is killed of a local cluster, nothing of it is left; and two of them share nothing."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tridentserve.errors import NotFoundError
from tridentserve_local.asking import ask
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.daemon import clean_remains, runs
from tridentserve_local.folders import Folders
from tridentserve_local.processes import descendants, is_zombie, marked
from tridentserve_local.settings import ClusterSettings
from tridentserve_local.starting import ClusterError
from tridentserve_local.testing import (
    assert_no_leaks,
    create_namespace,
    delete_namespace,
    eventually,
    get,
)
from tridentserve_local.testing_pods import Pods, container, pod, shell

pytestmark = pytest.mark.cluster

BARE = ClusterSettings(redis=False, prometheus=False)
FORKS = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("forked"); time.sleep(600)
"""


def running(pids: set[int]) -> set[int]:
    return {pid for pid in pids if not is_zombie(pid)}


def all_of(cluster: LocalCluster) -> set[int]:
    return {cluster.reaper_pid, *descendants(cluster.reaper_pid)}


@pytest.fixture
def doomed() -> Iterator[LocalCluster]:
    """A cluster of this test's own, with a pod whose child has left its session."""
    with LocalCluster(settings=BARE) as cluster:
        create_namespace(cluster, "doomed")
        pods = Pods(cluster, "doomed")
        pods.apply(pod("forks", container(FORKS)))
        pods.wait_log("forks", "forked")
        assert len(cluster.pod_pids("doomed", "forks")) == 2
        yield cluster


@pytest.fixture(scope="module")
def spare() -> Iterator[LocalCluster]:
    """A cluster for faults that it survives."""
    with LocalCluster(settings=BARE) as cluster:
        yield cluster


@pytest.fixture
def forks(spare: LocalCluster) -> Iterator[Pods]:
    """A namespace of this test alone, with a pod whose child has left its session."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    create_namespace(spare, name)
    pods = Pods(spare, name)
    pods.apply(pod("forks", container(FORKS)))
    pods.wait_log("forks", "forked")
    yield pods
    delete_namespace(spare, name)
    assert_no_leaks(spare, name)


def test_sigkill_of_the_supervisor_leaves_no_process_and_no_file(doomed: LocalCluster) -> None:
    before = all_of(doomed)
    state = doomed.kubeconfig.parent
    memory = doomed.memory_folder
    assert len(before) >= 5  # reaper, supervisor, control plane, the pod and its child

    os.kill(doomed.supervisor_pid, signal.SIGKILL)

    eventually(lambda: not running(before), within_s=10, what="the end of all processes")
    assert not memory.exists()
    assert not state.exists()


def test_sigkill_of_the_reaper_leaves_no_process(doomed: LocalCluster) -> None:
    before = all_of(doomed)

    os.kill(doomed.reaper_pid, signal.SIGKILL)

    eventually(lambda: not running(before), within_s=20, what="the end of all processes")


def test_what_survives_the_death_of_both_is_found_by_its_mark(doomed: LocalCluster) -> None:
    before = all_of(doomed)
    folders = Folders.of(doomed.kubeconfig.parent)
    for pid in (doomed.reaper_pid, doomed.supervisor_pid):
        os.kill(pid, signal.SIGSTOP)  # so that neither can act on the other's death
    for pid in (doomed.supervisor_pid, doomed.reaper_pid):
        os.kill(pid, signal.SIGKILL)
    # Direct children die by PR_SET_PDEATHSIG; the child in a session of its own cannot.
    eventually(lambda: len(running(before)) == 1, within_s=10, what="the end of direct children")
    assert len(marked(folders.mark)) == 1
    assert not runs(folders)

    assert clean_remains(folders) == 1

    eventually(lambda: not running(before), within_s=5, what="the end of all")
    assert not folders.memory.exists()


def test_a_cluster_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    program = """
import sys, time
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.settings import ClusterSettings
cluster = LocalCluster(settings=ClusterSettings(redis=False, prometheus=False)).start()
print(cluster.reaper_pid, cluster.memory_folder, flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid, memory = owner.stdout.readline().split()
    owner.stdout.close()
    before = {int(pid), *descendants(int(pid))}
    assert len(before) >= 3

    owner.kill()
    owner.wait()

    eventually(lambda: not running(before), within_s=20, what="the end of the cluster")
    assert not Path(memory).exists()


def test_a_cluster_whose_control_plane_dies_ends_as_a_whole(doomed: LocalCluster) -> None:
    before = all_of(doomed)

    os.kill(doomed.status()["services"]["control plane"], signal.SIGKILL)

    eventually(lambda: not running(before), within_s=20, what="the end of all processes")


def test_two_clusters_run_side_by_side_with_addresses_of_their_own(forks: Pods) -> None:
    with LocalCluster(settings=BARE) as other:
        create_namespace(other, forks.namespace)
        pods = Pods(other, forks.namespace)
        pods.apply(pod("forks", shell("sleep 600")))
        pods.wait("condition=Ready", "pod/forks")

        here = forks.get("forks")["status"]["podIP"]
        there = pods.get("forks")["status"]["podIP"]

        assert here.split(".")[:2] != there.split(".")[:2]
        assert not set(forks.cluster.processes()) & set(other.processes())
        assert forks.cluster.kill_pod(forks.namespace, "forks") == 2
        eventually(lambda: forks.status("forks")["restartCount"] == 1, what="the restart")
        assert pods.status("forks")["restartCount"] == 0
    assert forks.cluster.status()["services"]["control plane"] is not None


def test_a_frozen_api_server_costs_nothing_but_time(forks: Pods) -> None:
    cluster = forks.cluster
    control_plane = cluster.status()["services"]["control plane"]
    before = set(cluster.pod_pids(forks.namespace, "forks"))

    def restarted() -> bool:
        return len(set(cluster.pod_pids(forks.namespace, "forks")) - before) == 2

    os.kill(control_plane, signal.SIGSTOP)
    try:
        cluster.kill_pod(forks.namespace, "forks")
        eventually(restarted, what="a restart that nobody can be told of")
    finally:
        os.kill(control_plane, signal.SIGCONT)

    eventually(lambda: forks.status("forks")["restartCount"] == 1, what="the restart is told")
    forks.apply(pod("later", shell("sleep 600")))
    forks.wait("condition=Ready", "pod/later")


def test_a_killed_node_runs_its_pods_again_when_it_is_back(forks: Pods) -> None:
    forks.cluster.kill_node("node-1")

    assert forks.cluster.processes() == {}
    assert forks.cluster.status()["nodes"]["node-1"]["running"] is False
    forks.cluster.start_node("node-1")
    eventually(lambda: forks.status("forks")["restartCount"] == 1, what="the pod runs again")
    forks.wait("condition=Ready", "pod/forks")
    assert forks.cluster.pod_pids(forks.namespace, "forks")


def test_a_node_that_is_forgotten_takes_its_pods_along(forks: Pods) -> None:
    forks.cluster.kill_node("node-1", forget=True)
    try:
        assert json.loads(forks.cluster.kubectl("get", "nodes", "-ojson"))["items"] == []
        pods = (forks.cluster, forks.namespace, "pods")
        eventually(lambda: not get(*pods)["items"], what="no pod is left")
    finally:
        forks.cluster.start_node("node-1")


def test_nonsense_is_refused_with_a_sentence(spare: LocalCluster) -> None:
    with pytest.raises(NotFoundError, match="no node 'node-9'; there are node-1"):
        spare.kill_node("node-9")
    with pytest.raises(NotFoundError, match="no node runs a pod here/nobody"):
        spare.kill_pod("here", "nobody")
    with pytest.raises(NotFoundError, match="no service 'redis'"):
        spare.stop_redis()


def test_a_second_cluster_in_the_same_folder_is_refused(spare: LocalCluster) -> None:
    state = str(spare.kubeconfig.parent)
    arguments = ["--state", state, "--settings", "{}"]

    done = subprocess.run(
        [sys.executable, "-m", "tridentserve_local", *arguments], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "runs already" in json.loads(done.stdout)["error"]
    assert ask(Folders.of(Path(state)).control, "GET", "/status")["nodes"]["node-1"]["running"]


def test_stopping_twice_is_stopping_once() -> None:
    cluster = LocalCluster(settings=BARE).start()
    before = all_of(cluster)

    cluster.stop()
    cluster.stop()

    assert not running(before)
    with pytest.raises(ClusterError, match="does not run"):
        _ = cluster.reaper_pid
