"""What travels between the stages: which store it takes, and what happens when that one fails."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from tests.e2e.asking import Asking, attempts, drawn, stores
from tests.e2e.pipelines import Pipeline, synthetic_model

from tridentserve.client import Request, Result
from tridentserve.domain.stages import STAGES
from tridentserve.errors import ExhaustedError, UnavailableError
from tridentserve_local.testing import eventually

pytestmark = pytest.mark.load
E, D, C = STAGES
FOX = Request(prompt="a fox", seed=7, steps=30)
MEGABYTE = 1_000_000


def serve(pipeline: Pipeline, model: Path, workers: int = 1, decoders: int | None = None) -> None:
    numbers = {E: workers, D: workers, C: decoders or workers}
    stages: dict[str, Any] = {
        stage: {"replicas": {"min": number, "max": number}} for stage, number in numbers.items()
    }
    pipeline.apply(model, stages=stages, planner={"placement": "Static"})
    pipeline.wait("Ready")


def requests(number: int) -> list[Request]:
    return [Request(prompt=f"fox {seed}", seed=seed, steps=2) for seed in range(number)]


def nodes(result: Result) -> list[str]:
    return [timing.node for timing in result.finished.timings]


def test_workers_of_one_node_share_memory_and_others_use_redis(
    shared_pipeline: Pipeline, models: Path
) -> None:
    # Diffuse is long enough to keep the workers of both nodes busy, and one node alone decodes.
    model = synthetic_model(models, seconds={"encode": 0.01, "diffusePerStep": 0.5, "decode": 0.01})
    serve(shared_pipeline, model, workers=2, decoders=1)
    asks = [(request, Asking(shared_pipeline, request)) for request in requests(6)]
    seen: Counter[str] = Counter()
    for request, ask in asks:
        result = ask.result()
        assert result.media == drawn(model, request)
        one, two, three = nodes(result)
        expected = ["shm" if a == b else "redis" for a, b in ((one, two), (two, three))]
        assert stores(result) == expected
        seen.update(expected)

    assert set(seen) == {"shm", "redis"}


def test_restricted_pods_share_no_memory(pipeline: Pipeline, models: Path) -> None:
    model = models / "synthetic"
    serve(pipeline, model, workers=2)
    for ask, request in [(Asking(pipeline, request), request) for request in requests(6)]:
        result = ask.result()
        assert result.media == drawn(model, request)
        assert stores(result) == ["redis", "redis"]
    assert not [file for file in pipeline.cluster.host_files() if file.name != "domain"]


def test_hand_offs_wait_for_room_in_a_full_redis(pipeline: Pipeline, models: Path) -> None:
    # 16 MB hold two of these hand-offs at a time, and three requests at once need three.
    model = synthetic_model(
        models,
        seconds={"encode": 0.01, "diffusePerStep": 0.1, "decode": 0.01},
        handoffBytes={"encode": 6 * MEGABYTE, "diffuse": MEGABYTE // 10},
    )
    serve(pipeline, model)
    refused = refusals(pipeline)
    for ask, request in [(Asking(pipeline, request), request) for request in requests(6)]:
        result = ask.result()
        assert result.media == drawn(model, request)
        assert attempts(result) == [1, 1, 1]

    assert refusals(pipeline) > refused
    eventually(lambda: not keys(pipeline), what="room")
    assert pipeline.generate(FOX).media == drawn(model, FOX)


def test_what_never_fits_into_redis_is_refused_by_name(pipeline: Pipeline, models: Path) -> None:
    model = synthetic_model(models, handoffBytes={"encode": 20 * MEGABYTE, "diffuse": MEGABYTE})
    serve(pipeline, model)

    with pytest.raises(ExhaustedError) as caught:
        pipeline.generate(FOX)

    assert caught.value.reason == "STORE_FULL"
    assert caught.value.retry_after_s > 0
    eventually(lambda: not keys(pipeline), within_s=10, what="end of half a tensor")


def test_while_redis_is_away_requests_end_clearly_and_later_ones_work(
    pipeline: Pipeline, models: Path
) -> None:
    model = models / "synthetic"
    serve(pipeline, model)
    cluster = pipeline.cluster
    ask = Asking(pipeline, FOX)
    ask.stepped(2)
    try:
        cluster.stop_redis()
        with pytest.raises(UnavailableError) as running:
            ask.result()
        with pytest.raises(UnavailableError) as new:
            pipeline.generate(FOX)
    finally:
        cluster.start_redis()

    assert running.value.reason == new.value.reason == "STORE_UNREACHABLE"
    assert pipeline.condition("Ready")["status"] == "True"
    result = pipeline.generate(FOX)
    assert result.media == drawn(model, FOX)
    assert attempts(result) == [1, 1, 1]


def test_a_redis_that_forgets_everything_costs_a_stage_and_no_request(
    pipeline: Pipeline, models: Path
) -> None:
    model = models / "synthetic"
    serve(pipeline, model)
    ask = Asking(pipeline, FOX)
    ask.stepped(1)

    pipeline.cluster.restart_redis()
    # Whoever runs diffuse now needs the hand-off anew.
    assert pipeline.cluster.kill_pod(pipeline.namespace, ask.started(D))
    result = ask.result()

    assert result.media == drawn(model, FOX)
    assert attempts(result) == [2, 2, 1]


def refusals(pipeline: Pipeline) -> int:
    """How often Redis had no room."""
    with Redis.from_url(pipeline.cluster.redis_url) as redis:
        return int(redis.info("errorstats").get("errorstat_OOM", {}).get("count", 0))


def keys(pipeline: Pipeline) -> list[bytes]:
    """Tensors in Redis."""
    with Redis.from_url(pipeline.cluster.redis_url) as redis:
        return list(redis.scan_iter())
