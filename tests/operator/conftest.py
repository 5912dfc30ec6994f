"""A pipeline's whole life in virtual time: looks, a cluster in memory, restarts of the operator."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tridentserve.domain.ids import PipelineName, PoolName
from tridentserve.domain.stages import Stage
from tridentserve.manifest.status import Condition, ConditionStatus, ConditionType, Status
from tridentserve.telemetry.metrics import OperatorMetrics
from tridentserve_operator.prometheus import Answer, Series
from tridentserve_operator.reconcile import Kept, Reconciler
from tridentserve_operator.settings import Settings
from tridentserve_operator.testing import MemoryCluster, pipeline_body

FLUX = PipelineName("default/flux")


class Story:
    """One operator, one pipeline, one cluster, and a clock that only moves when told."""

    def __init__(self) -> None:
        """Begin with an empty cluster."""
        self.cluster = MemoryCluster()
        self.settings = Settings(image="img", file_roots=("/models",), redis_url="redis://r")
        self.answer = Answer()
        self._series: Series | None = None
        self.registry = CollectorRegistry()
        self.restart()

    def restart(self) -> None:
        """The operator is killed and starts anew: whatever it remembered is gone."""
        self.registry = CollectorRegistry()
        self.kept = Kept()
        self.reconciler = Reconciler(
            self.cluster,
            self.settings,
            OperatorMetrics(self.registry),
            lambda: self.answer,
            lambda: self.cluster.now,
            reporter="operator-0",
        )

    def apply(self, **spec: Any) -> None:
        """A user applies the pipeline."""
        self.cluster.put(pipeline_body(**spec))

    async def look(self) -> float:
        """One look, without anything else happening."""
        if self._series is not None:
            self.answer = Answer(pipelines={FLUX: self._series}, at_s=self.cluster.now)
        body = self.cluster.body(FLUX)
        assert body is not None
        observed = self.cluster.observe(FLUX, body["metadata"]["uid"], self.cluster.now)
        return await self.reconciler.look(body, observed, self.kept, self.cluster.now)

    async def run(self, seconds: int = 30) -> None:
        """A look every second, while the cluster does its part."""
        for _ in range(seconds):
            await self.look()
            self.cluster.settle()
            self.cluster.now += 1
        await self.look()

    def load(self, per_s: float, seconds: dict[tuple[str, str], float] | None = None) -> None:
        """Prometheus says so from now on, without end; `seconds` by (stage, pool)."""
        times = {
            (Stage(stage), PoolName(pool)): value
            for (stage, pool), value in (seconds or {}).items()
        }
        self._series = Series(
            arrivals_per_s=per_s,
            age_s=1.0,
            busy=times,
            calls=dict.fromkeys(times, 1.0),
        )

    def prometheus_stops(self) -> None:
        """No answer comes any more; the last one is there and grows old."""
        self._series = None

    def prometheus_forgets(self) -> None:
        """A new operator has not had an answer yet."""
        self._series, self.answer = None, Answer()

    @property
    def status(self) -> Status:
        """What the resource says about itself."""
        body = self.cluster.body(FLUX)
        assert body is not None
        return Status.model_validate(body.get("status") or {})

    def condition(self, kind: ConditionType) -> Condition:
        """One of its conditions."""
        found = self.status.condition(kind)
        assert found is not None, f"no condition {kind}"
        return found

    def shown(self, kind: ConditionType) -> str:
        """The status of a condition as the metric shows it."""
        name = "tridentserve_pipeline_condition"
        (status,) = (
            one
            for one in ConditionStatus
            if self.registry.get_sample_value(name, {"pipeline": FLUX, "type": kind, "status": one})
        )
        return status

    def replicas(self) -> dict[str, int]:
        """Replicas of every Deployment by name."""
        return {
            one["metadata"]["name"]: one["spec"]["replicas"]
            for one in self.cluster.of("Deployment")
        }

    def pools(self) -> dict[str, int]:
        """Replicas of pools by stage and fraction, `encode-100` for one; of one revision each."""
        return {
            "-".join(name.split("-")[1:3]): replicas
            for name, replicas in self.replicas().items()
            if "router" not in name
        }

    def events(self) -> list[str]:
        """Reasons of all events, in order."""
        return [event["reason"] for event in self.cluster.of("Event")]

    def writes(self) -> list[tuple[str, str]]:
        """(verb, kind) of every call."""
        return [(verb, kind) for verb, kind, _ in self.cluster.calls]


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def make_story() -> Callable[[], Story]:
    return Story
