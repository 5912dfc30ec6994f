"""The product on a cluster of its own, and pipelines on it.

The cluster is not that of the other tests: its operator watches every namespace, and a second one
beside it would fight over the same objects.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.e2e.pipelines import Pipeline, synthetic_model

from tridentserve.families.command import build
from tridentserve_local import product
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.demo.folders import SHAPES
from tridentserve_local.settings import ClusterSettings
from tridentserve_local.testing import (
    assert_no_leaks,
    create_namespace,
    delete_namespace,
    eventually,
)

SHARED = "e2e-shared"
"""The namespace whose pods may share memory; it admits hostPath volumes, as it must."""

LOAD_WINDOW_S = 6
"""Over which the operator has Prometheus take rates; it scrapes every second here."""
QUICK = {
    "intervals": {
        "loadWindowSeconds": LOAD_WINDOW_S,
        "loadSeconds": 1,
        "loadMaxAgeSeconds": 10,
        "unschedulableSeconds": 5,
        "retrySeconds": 60,
    }
}
"""Values of the chart under which nobody waits for long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever stands here needs the cluster."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model folders: `sd3`, `flux` (tiny, random), `synthetic`, and `shapes`, which draws."""
    folder = tmp_path_factory.mktemp("models")
    for family in ("sd3", "flux"):
        build(folder / family, family=family)
    synthetic_model(folder).rename(folder / "synthetic")
    shutil.copytree(SHAPES, folder / "shapes")
    return folder


@pytest.fixture(scope="session")
def local_cluster(models: Path) -> Iterator[LocalCluster]:
    """A cluster with the product on it, for all end-to-end tests."""
    settings = ClusterSettings(nodes=2, gpus=2, cpus=32, redis_max_memory="16mb", refresh_s=5)
    with LocalCluster(settings=settings) as cluster:
        product.install(
            cluster, file_roots=[models], shared_memory_namespaces=[SHARED], values=QUICK
        )
        yield cluster


@pytest.fixture
def pipeline(local_cluster: LocalCluster, namespace: str) -> Iterator[Pipeline]:
    """A pipeline to be applied, in a restricted namespace of this test alone."""
    pipeline = Pipeline(cluster=local_cluster, namespace=namespace, name="dp")
    yield pipeline
    # Before the namespace is emptied, or the operator would make anew what is deleted there.
    pipeline.delete()


@pytest.fixture
def shared_pipeline(local_cluster: LocalCluster) -> Iterator[Pipeline]:
    """A pipeline to be applied where pods of a node share memory."""
    create_namespace(local_cluster, SHARED, security="privileged")
    pipeline = Pipeline(cluster=local_cluster, namespace=SHARED, name="dp")
    yield pipeline
    pipeline.delete()
    delete_namespace(local_cluster, SHARED)
    assert_no_leaks(local_cluster, SHARED)
    # The next test makes the namespace anew, so its end must be over by then.
    local_cluster.kubectl("wait", "--for=delete", f"namespace/{SHARED}", "--timeout=60s")


@pytest.fixture(autouse=True)
def nothing_left(local_cluster: LocalCluster, request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: no tensor in Redis, no slot in shared memory, no process of a pod."""
    # Set up first and so torn down last, when the pipelines are gone.
    yield
    with suppress(AssertionError):
        eventually(lambda: not leftovers(local_cluster), within_s=15)
    assert leftovers(local_cluster) == []


def leftovers(cluster: LocalCluster) -> list[str]:
    """What tests may not leave: keys, shared files but for the domain, processes of pipelines."""
    from redis import Redis

    with Redis.from_url(cluster.redis_url) as redis:
        keys = [f"redis {key.decode()}" for key in redis.scan_iter()]
    files = [str(file) for file in cluster.host_files() if file.name != "domain"]
    ours = (where for where in cluster.processes().values())
    processes = [where for where in ours if where.split("/")[1] != product.NAMESPACE]
    return [*keys, *files, *processes]
