"""Requests through the router of a real cluster: refused, cancelled, late, watched from outside.

All tests share one pipeline and leave it as it was.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status
from tests.e2e.asking import Asking, drawn, sample, scrape
from tests.e2e.conftest import leftovers
from tests.e2e.pipelines import Pipeline, synthetic_model
from tests.router.bad_requests import BAD_REQUESTS, SPEC_LIMITS

from tridentserve.client import GenerationClient, Request
from tridentserve.domain.ids import RequestId
from tridentserve.domain.names import PORT_GRPC
from tridentserve.domain.stages import STAGES
from tridentserve.errors import (
    CancelledError,
    DeadlineExceededError,
    InvalidFieldError,
    NotFoundError,
)
from tridentserve.rpc import status
from tridentserve_local import product
from tridentserve_local.cluster import LocalCluster
from tridentserve_local.testing import create_namespace, delete_namespace, eventually, get

pytestmark = pytest.mark.load
E, D, C = STAGES
FOX = Request(prompt="a fox", seed=7, steps=4)
LONG = Request(prompt="a long one", seed=8, steps=20)
NAMESPACE = "e2e-requests"
GENERATE = "/tridentserve.rpc.v1.GenerationService/Generate"
SERVING = health_pb2.HealthCheckResponse.SERVING
METHODS = {
    "GenerationService": {"Generate", "Cancel", "Describe"},
    "StageService": {"Run", "Control", "Release", "Export", "Describe"},
}
ROUTER_METRICS = (
    "requests_arrived_total",
    "deadline_met_total",
    "deadline_missed_total",
    "dispatch_decision_seconds_count",
)
WORKER_METRICS = (
    "stage_inflight gauge",
    "stage_duration_seconds histogram",
    "stage_batch_size histogram",
    "transfer_bytes_total counter",
    "transfer_duration_seconds histogram",
    "transfer_fallback_total counter",
    "wasted_gpu_seconds_total counter",
)
OPERATOR_METRICS = (
    "plan_changes_total counter",
    "scaling_decisions_total counter",
    "reconcile_duration_seconds histogram",
)


@pytest.fixture(autouse=True)
def nothing_left(local_cluster: LocalCluster) -> Iterator[None]:
    """After each test no tensor; processes stay until the last one (`served` looks at those)."""
    yield
    eventually(
        lambda: not [one for one in leftovers(local_cluster) if one.startswith(("redis", "/"))],
        within_s=15,
        what="end of all tensors",
    )


@pytest.fixture(scope="module")
def model(models: Path) -> Path:
    """20 steps of it take 5 s: time to look at workers in between."""
    seconds = {"encode": 0.01, "diffusePerStep": 0.25, "decode": 0.02}
    return synthetic_model(models, seconds=seconds)


@pytest.fixture(scope="module")
def served(local_cluster: LocalCluster, model: Path) -> Iterator[Pipeline]:
    """One worker of each stage, which must be free for whoever comes next."""
    create_namespace(local_cluster, NAMESPACE)
    pipeline = Pipeline(cluster=local_cluster, namespace=NAMESPACE, name="dp")
    pipeline.apply(model, limits=SPEC_LIMITS, planner={"placement": "Static"})
    pipeline.wait("Ready")
    yield pipeline
    pipeline.delete()
    delete_namespace(local_cluster, NAMESPACE)
    eventually(lambda: not leftovers(local_cluster), what="end of everything")


def name(pipeline: Pipeline, component: str) -> str:
    (pod,) = pipeline.pods(component)
    return str(pod["metadata"]["name"])


def busy(pipeline: Pipeline) -> float:
    """Runs that the workers are at."""
    return sum(
        sample(pipeline, name(pipeline, stage), "tridentserve_stage_inflight") for stage in STAGES
    )


def counted(pipeline: Pipeline, metric: str, **labels: str) -> float:
    return sample(pipeline, name(pipeline, "router"), metric, **labels)


def assert_free(pipeline: Pipeline, model: Path) -> None:
    """Nobody works for a request that is gone, and the next one finds everything in order."""
    eventually(lambda: busy(pipeline) == 0, within_s=5, what="free slots")
    assert pipeline.generate(FOX).media == drawn(model, FOX)


# --- refused --------------------------------------------------------------------------------------


def test_every_bad_request_is_refused_with_its_status_and_field(
    served: Pipeline, model: Path
) -> None:
    before = counted(served, "tridentserve_requests_total", outcome="invalid")
    assert len(BAD_REQUESTS) >= 30
    told = []
    # Typed loosely: a failed call is an RpcError and a Call at once, which the stubs cannot say.
    with grpc.insecure_channel(served.endpoint()) as channel:
        send: Callable[..., Any] = channel.unary_stream(GENERATE)
        for bad in BAD_REQUESTS:
            with pytest.raises(grpc.RpcError) as caught:
                list(send(bad.data, timeout=10))
            failed: Any = caught.value
            error = status.from_status(
                failed.code(), failed.details(), rpc_status.from_call(failed)
            )
            assert isinstance(error, InvalidFieldError), (bad.why, error)
            told.append((bad.why, failed.code(), error.field))

    assert told == [(bad.why, bad.code, bad.named) for bad in BAD_REQUESTS]
    after = counted(served, "tridentserve_requests_total", outcome="invalid")
    assert after - before == len(BAD_REQUESTS)
    assert_free(served, model)


# --- ended early, or late -------------------------------------------------------------------------


def test_a_caller_that_goes_away_frees_the_worker(served: Pipeline, model: Path) -> None:
    before = counted(served, "tridentserve_requests_total", outcome="cancelled")
    ask = Asking(served, LONG)
    ask.stepped(2)
    assert busy(served) == 1

    ask.go_away()

    assert_free(served, model)
    assert counted(served, "tridentserve_requests_total", outcome="cancelled") - before == 1


def test_a_request_is_cancelled_by_its_id_by_anybody(served: Pipeline, model: Path) -> None:
    ask = Asking(served, LONG)
    request = ask.accepted().request
    ask.stepped(2)

    cancel(served, request)

    with pytest.raises(CancelledError):
        ask.result()
    with pytest.raises(NotFoundError):
        cancel(served, request)
    assert_free(served, model)


def test_a_request_that_waits_is_cancelled_too(served: Pipeline, model: Path) -> None:
    first = Asking(served, FOX)
    first.stepped(1)
    second = Asking(served, LONG)
    second.started(E)
    third = Asking(served, LONG)
    request = third.accepted().request

    cancel(served, request)
    second.go_away()

    with pytest.raises(CancelledError):
        third.result()
    assert first.result().media == drawn(model, FOX)
    assert_free(served, model)


def test_the_deadline_of_the_call_ends_it_wherever_it_stands(served: Pipeline, model: Path) -> None:
    before = counted(served, "tridentserve_requests_total", outcome="deadline")
    missed = counted(served, "tridentserve_deadline_missed_total")
    # 20 s of diffusion, and deadlines of which one passes in the middle of it.
    large = replace(LONG, height=128, width=128)
    asked = 0
    for timeout_s in (3, 9, 18):
        asked += 1
        ask = Asking(served, large, timeout_s=timeout_s)
        with pytest.raises(DeadlineExceededError):
            ask.result()
        if ask.has_stepped:
            break

    assert ask.has_stepped
    assert_free(served, model)
    # The router's own timer and gRPC's race to end it: either way it is no success.
    after = counted(served, "tridentserve_requests_total", outcome="deadline")
    assert after - before in range(asked + 1)
    assert counted(served, "tridentserve_deadline_missed_total") - missed == after - before


def test_late_work_is_finished_and_counted_as_missed(served: Pipeline, model: Path) -> None:
    met = counted(served, "tridentserve_deadline_met_total")
    missed = counted(served, "tridentserve_deadline_missed_total")

    late = served.generate(replace(FOX, deadline_s=0.05))
    early = served.generate(replace(FOX, deadline_s=600))

    assert late.media == early.media == drawn(model, FOX)
    assert (late.finished.deadline_met, early.finished.deadline_met) == (False, True)
    assert counted(served, "tridentserve_deadline_missed_total") - missed == 1
    assert counted(served, "tridentserve_deadline_met_total") - met == 1


def cancel(pipeline: Pipeline, request: RequestId) -> None:
    endpoint = pipeline.endpoint()

    async def once() -> None:
        async with GenerationClient(endpoint) as client:
            await client.cancel(request)

    asyncio.run(once())


# --- looked at from outside -----------------------------------------------------------------------


def test_health_and_reflection_answer_on_every_server(served: Pipeline) -> None:
    generation, stage = "GenerationService", "StageService"
    for component, service in (("router", generation), *((one, stage) for one in STAGES)):
        (pod,) = served.pods(component)
        full = f"tridentserve.rpc.v1.{service}"
        with grpc.insecure_channel(f"{pod['status']['podIP']}:{PORT_GRPC}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for asked in ("", full):
                request = health_pb2.HealthCheckRequest(service=asked)
                answer = health.Check(request, timeout=10)
                assert (component, asked, answer.status) == (component, asked, SERVING)
            reflected = ProtoReflectionDescriptorDatabase(channel)
            assert full in reflected.get_services()
            found = DescriptorPool(reflected).FindServiceByName(full)
            assert set(found.methods_by_name) >= METHODS[service]


def test_every_metric_of_the_design_is_there_from_the_first_scrape_on(served: Pipeline) -> None:
    own = f'pipeline="{NAMESPACE}/dp"'
    router = scrape(served, name(served, "router"))
    for metric in ROUTER_METRICS:
        assert f"tridentserve_{metric}{{{own}" in router, metric
    for outcome in ("ok", "invalid", "refused", "cancelled", "deadline", "unavailable", "failed"):
        assert f'tridentserve_requests_total{{outcome="{outcome}",{own}}}' in router, outcome
    for stage in STAGES:
        assert f'tridentserve_stage_queue_depth{{{own},stage="{stage}"}} 0.0' in router
        text = scrape(served, name(served, stage))
        for metric in WORKER_METRICS:
            assert f"# TYPE tridentserve_{metric}\n" in text, metric
        for metric in ("stage_inflight", "stage_batch_size_count"):
            assert f"tridentserve_{metric}{{{own}" in text
        assert f'tridentserve_transfer_fallback_total{{{own},stage="{stage}"}} 0.0' in text
        assert f'tridentserve_wasted_gpu_seconds_total{{{own},stage="{stage}"}}' in router
    system = replace(served, namespace=product.NAMESPACE)
    (pod,) = get(system.cluster, system.namespace, "pods")["items"]
    operator = scrape(system, pod["metadata"]["name"])
    for metric in OPERATOR_METRICS:
        assert f"# TYPE tridentserve_{metric}\n" in operator, metric


def test_every_line_that_a_pod_logs_is_json(served: Pipeline) -> None:
    pods = [(NAMESPACE, pod["metadata"]["name"]) for pod in served.pods()]
    (operator,) = get(served.cluster, product.NAMESPACE, "pods")["items"]
    pods.append((product.NAMESPACE, operator["metadata"]["name"]))
    assert len(pods) == 5
    for namespace, pod in pods:
        lines = served.cluster.kubectl("-n", namespace, "logs", pod).splitlines()
        assert lines, pod
        for line in lines:
            assert {"time", "level", "message"} <= json.loads(line).keys(), line
