"""Every metric of the project: names, labels and buckets, in one place.

Base units, bounded labels, no request ids. `pipeline` is `namespace/name`. A class a component: it
holds the children of a process in a registry of its own. Those whose labels are known beforehand
are initialised to 0, so that a rate is defined from the first scrape on; those of a shape class, a
store or the operator's reasons appear with their first sample, which a rate does not see.
"""

from collections.abc import Iterable, Mapping
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tridentserve.domain.ids import PipelineName, PoolName
from tridentserve.domain.shapes import Shape, shape_class
from tridentserve.domain.stages import STAGES, Stage

OUTCOMES = ("ok", "invalid", "refused", "cancelled", "deadline", "unavailable", "failed")
"""What becomes of a request; the values of the label `outcome`."""
_STATUSES = ("True", "False", "Unknown")
"""Of a condition; the values of the label `status`."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
_FAST_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1)
_TRANSFER_SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class RouterMetrics:
    """What the router counts, for its one pipeline."""

    def __init__(self, registry: CollectorRegistry, pipeline: PipelineName) -> None:
        """Register, and initialise what is known beforehand."""
        self._pipeline = pipeline
        self._register_requests(registry)
        own = ["pipeline"]
        depth = Gauge(
            "tridentserve_stage_queue_depth",
            "Requests that wait for a worker of a stage.",
            [*own, "stage"],
            registry=registry,
        )
        self._queue_depth = {stage: depth.labels(pipeline, stage) for stage in STAGES}
        self._wasted = _wasted(registry, pipeline, STAGES)
        self.decision = Histogram(
            "tridentserve_dispatch_decision_seconds",
            "Time of one dispatch decision.",
            own,
            buckets=_FAST_SECONDS,
            registry=registry,
        ).labels(pipeline)

    def _register_requests(self, registry: CollectorRegistry) -> None:
        pipeline, own = self._pipeline, ["pipeline"]
        self.arrived = Counter(
            "tridentserve_requests_arrived_total",
            "Valid new requests, whatever became of them: the load that sizes follow.",
            own,
            registry=registry,
        ).labels(pipeline)
        requests = Counter(
            "tridentserve_requests_total",
            "Requests that ended, by outcome.",
            [*own, "outcome"],
            registry=registry,
        )
        self._outcomes = {outcome: requests.labels(pipeline, outcome) for outcome in OUTCOMES}
        self._duration = Histogram(
            "tridentserve_request_duration_seconds",
            "Admission to last byte, of requests that succeeded.",
            [*own, "shape_class"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.deadline_met = Counter(
            "tridentserve_deadline_met_total",
            "Requests done by their deadline.",
            own,
            registry=registry,
        ).labels(pipeline)
        self.deadline_missed = Counter(
            "tridentserve_deadline_missed_total",
            "Requests done late, refused or failed.",
            own,
            registry=registry,
        ).labels(pipeline)

    def ended(self, outcome: str) -> None:
        """Count a request's end; `outcome` is one of `OUTCOMES`."""
        self._outcomes[outcome].inc()

    def took(self, shape: Shape, seconds: float) -> None:
        """Observe how long a successful request took."""
        self._duration.labels(self._pipeline, shape_class(shape)).observe(seconds)

    def wasted(self, stage: Stage, device_s: float) -> None:
        """Count finished work that was done again, or whose request ended without media."""
        self._wasted[stage].inc(device_s)

    def queue_depth(self, stage: Stage, requests: int) -> None:
        """Set how many requests wait for a stage."""
        self._queue_depth[stage].set(requests)


class WorkerMetrics:
    """What a stage worker counts, for its one pool."""

    def __init__(
        self,
        registry: CollectorRegistry,
        pipeline: PipelineName,
        pool: PoolName,
        stages: Iterable[Stage],
    ) -> None:
        """Register, and initialise what is known beforehand of the stages that it hosts."""
        self._pipeline, self._pool = pipeline, pool
        self._register_transfers(registry)
        own = ["pipeline", "stage", "pool"]
        inflight = Gauge(
            "tridentserve_stage_inflight", "Runs accepted and not ended.", own, registry=registry
        )
        self._inflight = {stage: inflight.labels(pipeline, stage, pool) for stage in stages}
        self._duration = Histogram(
            "tridentserve_stage_duration_seconds",
            "Run seconds of one request's share of its call.",
            [*own, "shape_class"],
            buckets=_SECONDS,
            registry=registry,
        )
        batch = Histogram(
            "tridentserve_stage_batch_size",
            "Requests that ran in one call.",
            own,
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self._batch = {stage: batch.labels(pipeline, stage, pool) for stage in stages}
        fallback = Counter(
            "tridentserve_transfer_fallback_total",
            "Hand-offs that left the preferred store for another one.",
            ["pipeline", "stage"],
            registry=registry,
        )
        self._fallback = {stage: fallback.labels(pipeline, stage) for stage in stages}
        self._wasted = _wasted(registry, pipeline, stages)

    def _register_transfers(self, registry: CollectorRegistry) -> None:
        hop = ["pipeline", "stage", "store", "direction"]
        self._transfer_bytes = Counter(
            "tridentserve_transfer_bytes_total",
            "Tensor bytes moved between stages, by the stage that moved them.",
            hop,
            registry=registry,
        )
        self._transfer_seconds = Histogram(
            "tridentserve_transfer_duration_seconds",
            "Time of one put or get of a hand-off.",
            hop,
            buckets=_TRANSFER_SECONDS,
            registry=registry,
        )

    def inflight(self, stage: Stage, runs: int) -> None:
        """Set how many Runs of a stage are accepted and not ended."""
        self._inflight[stage].set(runs)

    def ran(self, stage: Stage, shape: Shape, *, call_s: float, batch: int) -> None:
        """Observe one call: its batch size once, and each request's share of its time."""
        child = self._duration.labels(self._pipeline, stage, self._pool, shape_class(shape))
        for _ in range(batch):
            child.observe(call_s / batch)
        self._batch[stage].observe(batch)

    def moved(
        self, stage: Stage, *, store: str, direction: str, size_bytes: int, seconds: float
    ) -> None:
        """Observe one put or get; `direction` is `put` or `get`."""
        labels = (self._pipeline, stage, store, direction)
        self._transfer_bytes.labels(*labels).inc(size_bytes)
        self._transfer_seconds.labels(*labels).observe(seconds)

    def wasted(self, stage: Stage, device_s: float) -> None:
        """Count what a call spent on requests that got nothing of it: cancelled or failed."""
        self._wasted[stage].inc(device_s)

    def fell_back(self, stage: Stage) -> None:
        """Count a hand-off that left its preferred store."""
        self._fallback[stage].inc()


def _wasted(
    registry: CollectorRegistry, pipeline: PipelineName, stages: Iterable[Stage]
) -> dict[Stage, Counter]:
    """Workers count calls that came to nothing, the router what it then had no use for."""
    wasted = Counter(
        "tridentserve_wasted_gpu_seconds_total",
        "Seconds of devices spent on work that no request was answered with.",
        ["pipeline", "stage"],
        registry=registry,
    )
    return {stage: wasted.labels(pipeline, stage) for stage in stages}


class OperatorMetrics:
    """What the operator counts, over all pipelines."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register; children appear with their pipelines."""
        self.plan_changes = Counter(
            "tridentserve_plan_changes_total",
            "Placement plans that differ from the one before, by the first reason given.",
            ["pipeline", "reason"],
            registry=registry,
        )
        self.scaling_decisions = Counter(
            "tridentserve_scaling_decisions_total",
            "Changes of a stage's size or fraction, by reason.",
            ["pipeline", "stage", "reason"],
            registry=registry,
        )
        self.reconcile = Histogram(
            "tridentserve_reconcile_duration_seconds",
            "Time of one look at one pipeline, applying included.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.failures = Counter(
            "tridentserve_reconcile_failures_total",
            "Looks at one pipeline that ended with an error; each is tried again.",
            ["pipeline"],
            registry=registry,
        )
        self._condition = Gauge(
            "tridentserve_pipeline_condition",
            "1 for the status that a condition of a pipeline has, 0 for the others.",
            ["pipeline", "type", "status"],
            registry=registry,
        )
        self._shown: dict[PipelineName, set[str]] = {}
        """Types of the conditions that are shown of each pipeline."""

    def conditions(self, pipeline: PipelineName, status_by_type: Mapping[str, str]) -> None:
        """Show the conditions of a pipeline: True, False or Unknown by type."""
        self._shown.setdefault(pipeline, set()).update(status_by_type)
        for kind, status in status_by_type.items():
            for one in _STATUSES:
                self._condition.labels(pipeline, kind, one).set(one == status)

    def forget(self, pipeline: PipelineName) -> None:
        """A pipeline is gone, and so is what it would alert for."""
        for kind, one in product(self._shown.pop(pipeline, ()), _STATUSES):
            self._condition.remove(pipeline, kind, one)
