"""Only the rate of requests changes, and workers and fraction of the busy stage follow it."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import LOAD_WINDOW_S
from tests.e2e.load import Load
from tests.e2e.pipelines import Pipeline, synthetic_model

from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import eventually

pytestmark = pytest.mark.load

LITTLE, MUCH = 0.8, 8.0
"""Requests a second. One takes 0.2 s at 100 %, so at 70 % utilisation MUCH needs 3 workers; at
50 % even an idle one would be too slow for the deadline, were it not for LITTLE."""
WINDOW_S = 4

FOLLOWING: dict[str, Any] = {
    "stages": {"diffuse": {"replicas": {"max": 4}, "gpu": {"fractionsPercent": [50, 100]}}},
    "slo": {"scalePercent": 400},
    "drainSeconds": 20,
    "autoscaling": {
        "intervalSeconds": 1,
        "behavior": {
            "scaleUp": {"policies": [{"type": "Pods", "value": 8, "periodSeconds": 1}]},
            "scaleDown": {
                "stabilizationWindowSeconds": WINDOW_S,
                "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}],
            },
        },
    },
}


@pytest.fixture(scope="module")
def model(models: Path) -> Path:
    return synthetic_model(
        models,
        seconds={"encode": 0.005, "diffusePerStep": 0.05, "decode": 0.005},
        handoffBytes={"encode": 4096, "diffuse": 4096},
    )


@pytest.fixture
def prometheus(local_cluster: LocalCluster) -> Iterator[LocalCluster]:
    """The cluster, for tests that stop its Prometheus: it runs again afterwards."""
    yield local_cluster
    local_cluster.start_prometheus()


def size(pipeline: Pipeline) -> tuple[int, int]:
    """Workers of the busy stage and their fraction, when they are all there and no others."""
    stage = pipeline.stage("diffuse")
    pools = [pool for pool in stage.get("pools", ()) if pool["desired"] or pool["ready"]]
    if len(pools) != 1 or pools[0]["ready"] != stage["desired"]:
        return 0, 0
    return pools[0]["ready"], pools[0]["fractionPercent"]


def eventually_sized(pipeline: Pipeline, workers: int, fraction_percent: int) -> None:
    eventually(
        lambda: size(pipeline) == (workers, fraction_percent),
        within_s=40,
        every_s=0.3,
        what=f"{workers} diffusers at {fraction_percent} %, not {pipeline.stage('diffuse')}",
    )


def quoted_rate(pipeline: Pipeline) -> float:
    """Requests a second, as the reasons of the plan in force say."""
    reasons = pipeline.body()["status"]["plan"]["reasons"]
    (message,) = [one["message"] for one in reasons if one.get("stage") == "diffuse"][:1]
    return float(message.split(" requests/s")[0])


def rates(cluster: LocalCluster, pipeline: Pipeline, since_s: float) -> list[float]:
    """What Prometheus says of the arrivals, for every half second since then."""
    name = f"{pipeline.namespace}/{pipeline.name}"
    total = f'tridentserve_requests_arrived_total{{pipeline="{name}"}}'
    question = {
        "query": f"sum(rate({total}[{LOAD_WINDOW_S}s]))",
        "start": since_s,
        "end": time.time(),
        "step": "0.5",
    }
    url = f"{cluster.prometheus_url}/api/v1/query_range?{urllib.parse.urlencode(question)}"
    with urllib.request.urlopen(url, timeout=10) as response:
        found = json.load(response)["data"]["result"]
    return [float(value) for series in found for _, value in series["values"]]


def deployments(pipeline: Pipeline) -> dict[str, tuple[str, int]]:
    """What can change about a size: every pool with its replicas, under the uid of its object."""
    listing = pipeline.cluster.kubectl("-n", pipeline.namespace, "get", "deployments", "-ojson")
    return {
        one["metadata"]["name"]: (one["metadata"]["uid"], one["spec"]["replicas"])
        for one in json.loads(listing)["items"]
    }


def test_workers_and_fraction_of_the_busy_stage_follow_the_rate_of_requests(
    local_cluster: LocalCluster, pipeline: Pipeline, model: Path
) -> None:
    pipeline.apply(model, **FOLLOWING)
    pipeline.wait("Ready")
    with Load(pipeline.endpoint(), rate=LITTLE) as load:
        eventually_sized(pipeline, 1, 50)

        load.rate, since_s = MUCH, time.time()
        eventually_sized(pipeline, 3, 100)
        quoted, told = quoted_rate(pipeline), rates(local_cluster, pipeline, since_s)
        others = [pipeline.stage(one)["desired"] for one in ("encode", "decode")]

        load.rate = LITTLE
        eventually_sized(pipeline, 1, 50)
        fallen = quoted_rate(pipeline)

    # Two workers do for almost 7 requests a second, so it was that; and Prometheus said so.
    assert 6.0 <= quoted <= MUCH * 1.2
    assert min(abs(one - quoted) for one in told) <= 0.05 * quoted
    # One worker at 50 % is within its deadline up to 1.25 requests a second.
    assert 0 < fallen <= 1.3
    assert others == [1, 1]
    load.assert_nothing_lost([model])


def test_without_prometheus_the_same_load_changes_nothing(
    prometheus: LocalCluster, pipeline: Pipeline, model: Path
) -> None:
    pipeline.apply(model, **FOLLOWING)
    pipeline.wait("Ready")
    pipeline.wait("MetricsAvailable")
    with Load(pipeline.endpoint()) as load:
        prometheus.stop_prometheus()
        eventually_unknown(pipeline)
        before = deployments(pipeline)
        load.rate = MUCH
        eventually(lambda: load.sent >= 6 * MUCH)
        assert deployments(pipeline) == before  # nothing grows …

        prometheus.start_prometheus()
        eventually_sized(pipeline, 3, 100)

        prometheus.stop_prometheus()
        load.rate = 0.0
        eventually_unknown(pipeline)
        before, plan = deployments(pipeline), pipeline.body()["status"]["plan"]
        since_s = time.monotonic()
        eventually(lambda: time.monotonic() - since_s > WINDOW_S + 2)
        assert deployments(pipeline) == before  # … and nothing shrinks
        assert pipeline.body()["status"]["plan"] == plan

        prometheus.start_prometheus()
        eventually_sized(pipeline, 1, 50)
    pipeline.wait("MetricsAvailable")
    load.assert_nothing_lost([model])


def eventually_unknown(pipeline: Pipeline) -> None:
    def known() -> Any:
        return pipeline.condition("MetricsAvailable")

    eventually(lambda: known()["status"] == "False", every_s=0.3, what="the end of metrics")
    assert "until the load is known every size is held" in known()["message"]
