"""Fixtures for tests on a local cluster: a pytest plugin.

`local_cluster` is one cluster for the whole session, `namespace` a fresh namespace with restricted
Pod Security for one test. When the test is over the namespace is deleted, and whatever of it is
left on this host (a process, a file on tmpfs) fails the test that left it.

Use: `pytest_plugins = ["tridentserve_local.testing"]` in the root conftest. Another size: override
the fixture `local_cluster_settings`.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from .cluster import LocalCluster
from .settings import ClusterSettings
from .toolchain.errors import ToolMissingError
from .wire import Json

T = TypeVar("T")

_GONE_WITHIN_S = 60.0
_WORKLOADS = "deployments,replicasets,jobs,pods"


def eventually(
    look: Callable[[], T], *, within_s: float = 30.0, every_s: float = 0.1, what: str = ""
) -> T:
    """The first true value that `look` returns; asked again until the deadline.

    Raises:
        AssertionError: it never was, and here is what it returned last.
    """
    deadline = time.monotonic() + within_s
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            name = what or getattr(look, "__name__", "it")
            raise AssertionError(f"{name}: not within {within_s:g} s, was {value!r} at last")
        time.sleep(every_s)


@pytest.fixture(scope="session")
def local_cluster_settings() -> ClusterSettings:
    """What the session's `LocalCluster` is made of."""
    return ClusterSettings(nodes=2, gpus=4, cpus=16, refresh_s=5)


@pytest.fixture(scope="session")
def local_cluster(local_cluster_settings: ClusterSettings) -> Iterator[LocalCluster]:
    """One cluster for the session; without its programs the tests are skipped, and say so."""
    cluster = LocalCluster(settings=local_cluster_settings)
    try:
        cluster.start()
    except ToolMissingError as error:
        pytest.skip(f"NO LOCAL CLUSTER: {error}")
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def namespace(local_cluster: LocalCluster) -> Iterator[str]:
    """A namespace of this test alone; nothing of it may be left on the host afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    create_namespace(local_cluster, name)
    yield name
    delete_namespace(local_cluster, name)
    assert_no_leaks(local_cluster, name)


def create_namespace(cluster: LocalCluster, name: str, *, security: str = "restricted") -> None:
    """Creates a namespace that enforces a Pod Security level, and waits until pods can be made."""
    labels = {"pod-security.kubernetes.io/enforce": security}
    metadata = {"name": name, "labels": labels}
    apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    # Pods are refused until the controllers have made the namespace's service account.
    eventually(
        lambda: cluster.kubectl("-n", name, "get", "sa", "default", "-oname", check=False),
        what=f"service account of {name}",
    )


def delete_namespace(cluster: LocalCluster, name: str) -> None:
    """Ends all that runs in a namespace, and has the namespace deleted.

    That takes the namespace controller 5 s at least, which a test need not wait for: it is the
    pods that hold something on this host.
    """
    cluster.kubectl("-n", name, "delete", _WORKLOADS, "--all", "--wait=false")
    # kubectl would wait for one object after the other, 0.2 s each.
    pods = (cluster, name, "pods")
    eventually(lambda: not get(*pods)["items"], within_s=_GONE_WITHIN_S, what=f"end of {name}")
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def assert_no_leaks(cluster: LocalCluster, namespace: str) -> None:
    """Fails if a process of the namespace stays, or a pod that is gone has files on tmpfs."""

    def left() -> list[str]:
        processes = cluster.processes()
        running = {where.split("/")[3].replace("-", "")[:12] for where in processes.values()}
        files = (f for f in cluster.pod_memory_files() if not running.intersection(f.parts))
        ours = (where for where in processes.values() if where.split("/")[1] == namespace)
        return [*ours, *map(str, files)]

    eventually(lambda: not left(), within_s=10, what=f"end of what {namespace} left: {left()}")


def apply(cluster: LocalCluster, *objects: Json, namespace: str = "") -> None:
    """`kubectl apply` of objects."""
    where = ["-n", namespace] if namespace else []
    listing = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    cluster.kubectl(*where, "apply", "-f", "-", stdin=json.dumps(listing))


def get(cluster: LocalCluster, namespace: str, kind: str, name: str = "") -> Json:
    """An object, or the list of a kind, as JSON."""
    names = [name] if name else []
    found: Json = json.loads(cluster.kubectl("-n", namespace, "get", kind, *names, "-ojson"))
    return found
