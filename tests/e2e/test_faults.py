"""Processes that die in the middle of requests: the bytes stay the same, and nothing is left."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.e2e.asking import Asking, attempts, drawn, sample, stores
from tests.e2e.pipelines import Pipeline, synthetic_model

from tridentserve.client import Request
from tridentserve.domain.stages import STAGES
from tridentserve.errors import NotFoundError, UnavailableError
from tridentserve_local.testing import eventually

pytestmark = pytest.mark.load
E, D, C = STAGES
FOX = Request(prompt="a fox", seed=7, steps=16)
LONG = Request(prompt="a long fox", seed=7, steps=60)
TWO: dict[str, Any] = {"replicas": {"min": 2, "max": 2}}


@pytest.fixture(scope="session")
def slow(models: Path) -> Path:
    """A model whose diffusion takes long enough to be hit: 16 steps of 0.15 s."""
    seconds = {"encode": 0.01, "diffusePerStep": 0.15, "decode": 0.01}
    return synthetic_model(models, seconds=seconds)


def serve(
    pipeline: Pipeline, model: Path, *, drain_s: int = 30, max_steps: int = 100, **stages: Any
) -> None:
    rest = {"planner": {"placement": "Static"}, "limits": {"maxSteps": max_steps}}
    pipeline.apply(model, stages=stages, drainSeconds=drain_s, **rest)
    pipeline.wait("Ready")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_diffuser_killed_between_two_steps_costs_an_attempt_and_not_a_byte(
    pipeline: Pipeline, slow: Path, workers: int
) -> None:
    # With one worker, the request waits until the node has restarted it.
    serve(pipeline, slow, diffuse={"replicas": {"min": workers, "max": workers}})
    ask = Asking(pipeline, FOX)
    ask.stepped(2)
    victim = ask.started(D)

    assert pipeline.cluster.kill_pod(pipeline.namespace, victim)
    result = ask.result()

    assert result.media == drawn(slow, FOX)
    assert attempts(result) == [1, 2, 1]
    assert (ask.started(D, attempt=2) == victim) == (workers == 1)


@pytest.mark.models
def test_real_models_draw_the_same_bytes_after_a_kill(pipeline: Pipeline, models: Path) -> None:
    # So many steps that there are seconds between the second one and the last.
    serve(pipeline, models / "sd3", max_steps=500, diffuse=TWO)
    request = Request(prompt="a red circle", seed=1, steps=500, height=128, width=128)
    undisturbed = pipeline.generate(request)
    ask = Asking(pipeline, request)
    ask.stepped(2)

    assert pipeline.cluster.kill_pod(pipeline.namespace, ask.started(D))
    result = ask.result()

    assert result.media == undisturbed.media
    assert attempts(undisturbed) == [1, 1, 1]
    assert attempts(result) == [1, 2, 1]
    # The victim may not have heard yet that its picture before is done.
    assert_released(pipeline)


def test_an_encoder_killed_after_its_hand_off_disturbs_nobody(
    pipeline: Pipeline, slow: Path
) -> None:
    serve(pipeline, slow)
    ask = Asking(pipeline, FOX)
    ask.stepped(1)

    assert pipeline.cluster.kill_pod(pipeline.namespace, ask.started(E))
    assert ask.running
    result = ask.result()

    assert result.media == drawn(slow, FOX)
    assert attempts(result) == [1, 1, 1]
    assert_released(pipeline)


def test_a_hand_off_lost_with_its_producer_is_made_again(
    shared_pipeline: Pipeline, slow: Path
) -> None:
    pipeline = shared_pipeline
    serve(pipeline, slow)
    ask = Asking(pipeline, FOX)
    ask.stepped(1)
    cluster = pipeline.cluster

    # The producer first: the consumer, which comes back, finds neither it nor its tensor.
    assert cluster.kill_pod(pipeline.namespace, ask.started(E))
    for file in cluster.host_files():
        if file.name != "domain":
            file.unlink(missing_ok=True)
    with Redis.from_url(cluster.redis_url) as redis:
        redis.flushall()
    assert cluster.kill_pod(pipeline.namespace, ask.started(D))
    result = ask.result()

    assert result.media == drawn(slow, FOX)
    assert attempts(result) == [2, 2, 1]


def test_a_consumer_killed_in_the_middle_of_a_hop_leaves_the_tensor_to_another(
    pipeline: Pipeline, models: Path
) -> None:
    seconds = {"encode": 0.3, "diffusePerStep": 0.1, "decode": 0.01}
    handoff = {"encode": 5_000_000, "diffuse": 1_000_000}
    model = synthetic_model(models, seconds=seconds, handoffBytes=handoff)
    serve(pipeline, model, diffuse=TWO)
    cluster = pipeline.cluster
    with Redis.from_url(cluster.redis_url) as redis:
        ask = Asking(pipeline, FOX)
        ask.started(E)
        pods = [pod["metadata"]["name"] for pod in pipeline.pods("diffuse")]
        pids = [pid for pod in pods for pid in cluster.pod_pids(pipeline.namespace, pod)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        victim = ask.started(D)
        # The tensor is whole, and nobody has begun to read it: for now, nobody can.
        redis.client_pause(4_000, all=True)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: inflight(pipeline, victim) == 1, what="a Run that reads")

        assert cluster.kill_pod(pipeline.namespace, victim)
    result = ask.result()

    assert result.media == drawn(model, FOX)
    assert attempts(result) == [1, 2, 1]
    assert stores(result) == ["redis", "redis"]
    assert_released(pipeline)


def test_a_router_killed_in_the_middle_ends_its_streams_and_serves_again(
    pipeline: Pipeline, slow: Path
) -> None:
    # What the dead router owed, nobody else knows of: a worker that ends waits for its release, as
    # long as it may, and deletes it then, as `nothing_left` sees.
    serve(pipeline, slow, drain_s=3)
    ask = Asking(pipeline, FOX)
    ask.stepped(1)
    (router,) = pipeline.pods("router")
    worker = ask.started(D)

    assert pipeline.cluster.kill_pod(pipeline.namespace, router["metadata"]["name"])

    with pytest.raises(UnavailableError):
        ask.result()
    eventually(lambda: inflight(pipeline, worker) == 0, what="the slot of a request that is gone")
    assert served_again(pipeline) == drawn(slow, FOX)
    # Of the second request everything is released; of the first one, the encoder's hand-off stays.
    eventually(lambda: len(keys(pipeline)) == 1, what="release of what is known")


def test_a_router_that_is_deleted_lets_running_requests_finish(
    pipeline: Pipeline, slow: Path
) -> None:
    serve(pipeline, slow)
    ask = Asking(pipeline, LONG)
    ask.stepped(1)
    (router,) = pipeline.pods("router")
    arguments = ("delete", "pod", router["metadata"]["name"], "--wait=false")
    pipeline.cluster.kubectl("-n", pipeline.namespace, *arguments)
    assert ask.running

    assert ask.result().media == drawn(slow, LONG)
    assert served_again(pipeline) == drawn(slow, FOX)


def served_again(pipeline: Pipeline) -> tuple[bytes, ...]:
    """The media of a request, as soon as there is a router again."""

    def look() -> tuple[bytes, ...]:
        with suppress(UnavailableError, NotFoundError):
            return pipeline.generate(FOX).media
        return ()

    return eventually(look, what="a router that answers")


def keys(pipeline: Pipeline) -> list[bytes]:
    """Tensors in Redis."""
    with Redis.from_url(pipeline.cluster.redis_url) as redis:
        return list(redis.scan_iter())


def assert_released(pipeline: Pipeline) -> None:
    """Nothing is left though workers run: of a dead one, somebody else has released it."""
    eventually(lambda: not keys(pipeline), within_s=40, what="release of orphans")


def inflight(pipeline: Pipeline, worker: str) -> float:
    """Runs that a worker is busy with, by its own metrics."""
    return sample(pipeline, worker, "tridentserve_stage_inflight")
