"""Every child that is known beforehand is there with 0, and names and labels are the documented."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from tridentserve.domain.ids import PipelineName, PoolName
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.telemetry.metrics import OUTCOMES, OperatorMetrics, RouterMetrics, WorkerMetrics

PIPELINE = PipelineName("ns/flux")
POOL = PoolName("flux-decode-encode-100-a1b2c3")
SHAPE = Shape(height=512, width=512)


def router() -> tuple[CollectorRegistry, RouterMetrics]:
    registry = CollectorRegistry()
    return registry, RouterMetrics(registry, PIPELINE)


def worker(*stages: Stage) -> tuple[CollectorRegistry, WorkerMetrics]:
    registry = CollectorRegistry()
    return registry, WorkerMetrics(registry, PIPELINE, POOL, stages)


def names(registry: CollectorRegistry) -> set[str]:
    return {metric.name for metric in registry.collect()}


def test_the_names_are_those_that_the_documentation_promises() -> None:
    registries = [CollectorRegistry() for _ in range(3)]
    RouterMetrics(registries[0], PIPELINE)
    WorkerMetrics(registries[1], PIPELINE, POOL, STAGES)
    OperatorMetrics(registries[2])

    prefixed = {
        "requests_arrived",
        "requests",
        "request_duration_seconds",
        "deadline_met",
        "deadline_missed",
        "stage_queue_depth",
        "stage_inflight",
        "stage_duration_seconds",
        "stage_batch_size",
        "transfer_bytes",
        "transfer_duration_seconds",
        "transfer_fallback",
        "dispatch_decision_seconds",
        "plan_changes",
        "scaling_decisions",
        "reconcile_duration_seconds",
        "reconcile_failures",
        "pipeline_condition",
        "wasted_gpu_seconds",
    }
    assert set().union(*map(names, registries)) == {f"tridentserve_{name}" for name in prefixed}


def test_the_alerts_of_the_handbook_ask_for_metrics_that_are_there() -> None:
    registries = [CollectorRegistry() for _ in range(3)]
    RouterMetrics(registries[0], PIPELINE)
    WorkerMetrics(registries[1], PIPELINE, POOL, STAGES)
    operator = OperatorMetrics(registries[2])
    operator.conditions(PIPELINE, {"Available": "True"})
    operator.failures.labels(PIPELINE)
    handbook = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")
    there = {
        sample.name
        for registry in registries
        for metric in registry.collect()
        for sample in metric.samples
    }

    (alerts,) = re.findall(r"```yaml\n(.*?)```", handbook, re.DOTALL)
    asked = set(re.findall(r"tridentserve_[a-z_]+", alerts))
    outcomes = re.findall(r'outcome=~"([a-z|]+)"', alerts)

    assert len(asked) > 4
    assert asked <= there
    assert {word for one in outcomes for word in one.split("|")} <= set(OUTCOMES)


def test_a_condition_is_one_at_its_status_until_its_pipeline_is_gone() -> None:
    registry = CollectorRegistry()
    metrics = OperatorMetrics(registry)

    def shown() -> dict[str, float | None]:
        return {
            status: registry.get_sample_value(
                "tridentserve_pipeline_condition",
                {"pipeline": PIPELINE, "type": "Degraded", "status": status},
            )
            for status in ("True", "False", "Unknown")
        }

    metrics.conditions(PIPELINE, {"Degraded": "False", "Ready": "True"})
    assert shown() == {"True": 0, "False": 1, "Unknown": 0}
    metrics.conditions(PIPELINE, {"Degraded": "True", "Ready": "False"})
    assert shown() == {"True": 1, "False": 0, "Unknown": 0}

    metrics.forget(PIPELINE)
    metrics.forget(PIPELINE)

    assert shown() == {"True": None, "False": None, "Unknown": None}
    assert names(registry) >= {"tridentserve_pipeline_condition"}


def test_a_router_begins_with_zeros() -> None:
    registry, _ = router()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"pipeline": PIPELINE, **labels})

    assert value("tridentserve_requests_arrived_total") == 0
    assert value("tridentserve_deadline_missed_total") == 0
    assert [value("tridentserve_requests_total", outcome=outcome) for outcome in OUTCOMES] == [
        0
    ] * len(OUTCOMES)
    assert [value("tridentserve_stage_queue_depth", stage=stage) for stage in STAGES] == [0, 0, 0]


def test_a_call_counts_each_request_with_its_share() -> None:
    registry, metrics = worker(Stage.DIFFUSE)
    metrics.ran(Stage.DIFFUSE, SHAPE, call_s=6.0, batch=3)

    labels = {"pipeline": PIPELINE, "stage": "diffuse", "pool": POOL}
    name = "tridentserve_stage_duration_seconds"
    shaped = labels | {"shape_class": "512px"}
    assert registry.get_sample_value(f"{name}_count", shaped) == 3
    assert registry.get_sample_value(f"{name}_sum", shaped) == 6.0
    assert registry.get_sample_value("tridentserve_stage_batch_size_count", labels) == 1


def test_a_worker_counts_only_the_stages_it_hosts() -> None:
    registry, metrics = worker(Stage.ENCODE, Stage.DECODE)
    metrics.inflight(Stage.DECODE, 2)
    metrics.fell_back(Stage.ENCODE)

    inflight = {
        sample.labels["stage"]: sample.value
        for metric in registry.collect()
        if metric.name == "tridentserve_stage_inflight"
        for sample in metric.samples
    }
    assert inflight == {"encode": 0, "decode": 2}
    name = "tridentserve_transfer_fallback_total"
    assert registry.get_sample_value(name, {"pipeline": PIPELINE, "stage": "encode"}) == 1


def test_a_transfer_counts_bytes_and_seconds_by_store_and_direction() -> None:
    registry, metrics = worker(Stage.DIFFUSE)
    metrics.moved(Stage.DIFFUSE, store="redis", direction="get", size_bytes=1024, seconds=0.5)

    labels = {"pipeline": PIPELINE, "stage": "diffuse", "store": "redis", "direction": "get"}
    assert registry.get_sample_value("tridentserve_transfer_bytes_total", labels) == 1024
    assert registry.get_sample_value("tridentserve_transfer_duration_seconds_sum", labels) == 0.5
