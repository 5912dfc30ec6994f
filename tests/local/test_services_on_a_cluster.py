"""Redis and Prometheus beside a cluster, as managed services would be."""

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
import redis

from tridentserve.domain.names import (
    LABEL_COMPONENT,
    LABEL_PART_OF,
    LABEL_PIPELINE,
    LABEL_POOL,
    PART_OF,
)
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import eventually
from tridentserve_local.testing_pods import Pods, container, pod
from tridentserve_local.wire import Json

pytestmark = pytest.mark.cluster

METRICS = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Type", "text/plain"); self.end_headers()
        self.wfile.write(b'answers 42\\nhonoured{pool="its own"} 1\\n')
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 9400), Handler).serve_forever()
"""


def query(cluster: LocalCluster, expression: str) -> list[Json]:
    url = f"{cluster.prometheus_url}/api/v1/query?query={urllib.parse.quote(expression)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: list[Json] = json.load(answer)["data"]["result"]
        return found


def labelled(name: str, **labels: str) -> Json:
    env = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    ports = [{"name": "metrics", "containerPort": 9400}]
    made = pod(name, container(METRICS, env=env, ports=ports))
    made["metadata"]["labels"] = labels
    return made


@pytest.fixture
def connection(local_cluster: LocalCluster) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(local_cluster.redis_url)
    yield client
    client.close()


def test_prometheus_scrapes_our_pods_under_the_charts_labels(pods: Pods) -> None:
    ours = {
        LABEL_PART_OF: PART_OF,
        LABEL_PIPELINE: "flux",
        LABEL_POOL: "flux-encode",
        LABEL_COMPONENT: "encoder",
    }
    pods.apply(labelled("ours", **ours), labelled("other", app="other"))

    where = f'{{namespace="{pods.namespace}"}}'
    samples = eventually(lambda: query(pods.cluster, f"answers{where}"), what="a sample")

    (labels,) = [sample["metric"] for sample in samples]
    instance = f"{pods.get('ours')['status']['podIP']}:9400"
    assert labels == {
        "__name__": "answers",
        "job": "tridentserve",
        "instance": instance,
        "namespace": pods.namespace,
        "pod": "ours",
        "node": pods.get("ours")["spec"]["nodeName"],
        "pipeline": f"{pods.namespace}/flux",
        "pool": "flux-encode",
        "component": "encoder",
    }
    (honoured,) = query(pods.cluster, f"honoured{where}")
    assert honoured["metric"]["pool"] == "its own"


def test_a_deleted_pod_is_scraped_no_more(pods: Pods) -> None:
    pods.apply(labelled("brief", **{LABEL_PART_OF: PART_OF}))
    up = f'up{{namespace="{pods.namespace}"}}'
    eventually(lambda: query(pods.cluster, up), what="the target")

    pods.kubectl("delete", "pod", "brief")

    eventually(lambda: not query(pods.cluster, up), what="the target is gone")


def test_prometheus_can_be_stopped_and_is_the_same_when_it_is_back(
    local_cluster: LocalCluster,
) -> None:
    local_cluster.stop_prometheus()
    assert local_cluster.status()["services"]["prometheus"] is None
    with pytest.raises(OSError, match="refused"):
        query(local_cluster, "1")

    local_cluster.start_prometheus()

    assert query(local_cluster, "vector(1)")


def test_redis_refuses_what_does_not_fit_and_evicts_nothing(
    local_cluster: LocalCluster, connection: redis.Redis
) -> None:
    assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert connection.config_get("maxmemory") == {"maxmemory": str(256 << 20)}


def test_a_restarted_redis_has_forgotten_everything_at_the_same_address(
    local_cluster: LocalCluster, connection: redis.Redis
) -> None:
    connection.set("key", "value")

    local_cluster.restart_redis()

    assert connection.get("key") is None


def test_a_stopped_redis_refuses_connections(
    local_cluster: LocalCluster, connection: redis.Redis
) -> None:
    local_cluster.stop_redis()
    try:
        with pytest.raises(redis.ConnectionError):
            connection.ping()
    finally:
        local_cluster.start_redis()
    assert connection.ping()
