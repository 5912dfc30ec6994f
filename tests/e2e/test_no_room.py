"""Whole GPUs, of which there are four: two a node, and a worker takes both of its node."""

from pathlib import Path
from typing import Any

import pytest
from tests.e2e.history import History, is_ready
from tests.e2e.load import Load
from tests.e2e.pipelines import Pipeline, synthetic_model

from tridentserve.domain.names import LABEL_STAGES
from tridentserve_local.testing import eventually

pytestmark = pytest.mark.load

Json = dict[str, Any]
GPUS = 4


@pytest.fixture(scope="module")
def model(models: Path) -> Path:
    return synthetic_model(
        models,
        seconds={"encode": 0.005, "diffusePerStep": 0.01, "decode": 0.005},
        handoffBytes={"encode": 4096, "diffuse": 4096},
    )


def spec(workers: int, *, template: Json | None = None, limit_percent: int = 12800) -> Json:
    diffuse = {
        "replicas": {"min": workers},
        "gpu": {"sharing": "Exclusive", "count": 2},
        "template": template or {},
    }
    return {
        "stages": {"diffuse": diffuse},
        "planner": {"placement": "Static"},
        "drainSeconds": 20,
        "autoscaling": {"gpuLimitPercent": limit_percent},
    }


NEWER: Json = {"env": [{"name": "NEWER", "value": "1"}]}
NOWHERE: Json = {"nodeSelector": {"no-such": "label"}}


def devices(pipeline: Pipeline) -> list[str]:
    """GPUs that the processes of the diffusers see, as their environment says."""
    found = []
    for pod in pipeline.pods("diffuse"):
        for pid in pipeline.cluster.pod_pids(pipeline.namespace, pod["metadata"]["name"]):
            environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            values = dict(line.partition("=")[::2] for line in environment)
            found += values["NVIDIA_VISIBLE_DEVICES"].split(",")
    return found


def uids(pipeline: Pipeline) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pipeline.pods()}


def eventually_limited(pipeline: Pipeline, label: str) -> None:
    eventually(
        lambda: pipeline.condition("ScalingLimited").get("status") == "True",
        within_s=40,
        every_s=0.3,
        what=f"a word about the room, not {pipeline.body().get('status')}",
    )
    condition = pipeline.condition("ScalingLimited")
    assert condition["reason"] == "Unobtainable"
    assert condition["message"].startswith(f"more of {label} did not find room")


def test_with_every_gpu_taken_a_new_revision_comes_worker_by_worker(
    pipeline: Pipeline, model: Path
) -> None:
    pipeline.apply(model, **spec(2))
    pipeline.wait("Ready")
    assert len(devices(pipeline)) == len(set(devices(pipeline))) == GPUS
    before = uids(pipeline)
    with History(pipeline) as history, Load(pipeline.endpoint(), rate=4.0) as load:
        eventually(lambda: load.served >= 2)
        pipeline.apply(model, **spec(2, template=NEWER))
        history.eventually(lambda seen: len(seen.pools()) == 6, "pools of both revisions")
        history.eventually(lambda seen: len(seen.pools()) == 3, "the end of the old pools")
        pipeline.wait("Ready")

    assert history.gaps == []
    assert len(before & uids(pipeline)) == 1  # the router
    assert len(devices(pipeline)) == len(set(devices(pipeline))) == GPUS
    load.assert_nothing_lost([model])


def test_the_only_worker_that_the_budget_allows_is_replaced_and_requests_wait_meanwhile(
    pipeline: Pipeline, model: Path
) -> None:
    pipeline.apply(model, **spec(1, limit_percent=200))
    pipeline.wait("Ready")
    most = 0

    def replaced(seen: History) -> bool:
        nonlocal most
        diffusers = [
            pod
            for pod in seen.pods.values()
            if pod["metadata"]["labels"].get(LABEL_STAGES) == "diffuse"
        ]
        most = max(most, len(diffusers))
        return len(seen.pools()) == 3 and all(map(is_ready, diffusers)) and bool(seen.gaps)

    with History(pipeline) as history, Load(pipeline.endpoint(), rate=4.0) as load:
        eventually(lambda: load.served >= 2)
        pipeline.apply(model, **spec(1, limit_percent=200, template=NEWER))
        history.eventually(replaced, "another worker in the place of the one")
        pipeline.wait("Ready")

    assert most == 1
    load.assert_nothing_lost([model])


def test_more_workers_than_gpus_is_said_and_freezes_nothing(
    pipeline: Pipeline, model: Path
) -> None:
    pipeline.apply(model, **spec(3))

    eventually_limited(pipeline, "diffuse@100")

    assert pipeline.condition("Available")["status"] == "True"
    assert pipeline.condition("Ready")["status"] == "False"
    with Load(pipeline.endpoint(), rate=5.0) as load:
        eventually(lambda: load.served >= 5)
    load.assert_nothing_lost([model])
    pipeline.apply(model, **spec(2))
    pipeline.wait("Ready")


def test_a_revision_that_no_node_takes_leaves_the_old_one_serving_until_it_is_taken_back(
    pipeline: Pipeline, model: Path
) -> None:
    pipeline.apply(model, **spec(1))
    pipeline.wait("Ready")
    before = uids(pipeline)
    with History(pipeline) as history, Load(pipeline.endpoint(), rate=4.0) as load:
        pipeline.apply(model, **spec(1, template=NOWHERE))
        eventually_limited(pipeline, "diffuse@100")
        pipeline.apply(model, **spec(1))
        history.eventually(lambda seen: len(seen.pools()) == 3, "the end of the new pools")
        pipeline.wait("Ready")

    assert history.gaps == []
    assert uids(pipeline) == before
    load.assert_nothing_lost([model])
