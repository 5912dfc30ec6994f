"""The parts of a router that serve one pipeline, put together."""

import asyncio
import contextlib
import logging

from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.stages import Stage
from tridentserve.manifest.profile_served import ServedProfile, believed
from tridentserve.planner.cost import CostModel
from tridentserve.planner.misfits import pools_of
from tridentserve.telemetry.metrics import RouterMetrics
from tridentserve_router.costs import Costs
from tridentserve_router.dispatcher import Dispatcher
from tridentserve_router.pipeline import Pipeline
from tridentserve_router.releases import Releases
from tridentserve_router.requests import Requests
from tridentserve_router.walk import Surroundings
from tridentserve_router.workers import Directory

_log = logging.getLogger(__name__)

_FLUSH_S = 5.0


class Core:
    """Everything between the API and the workers."""

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        metrics: RouterMetrics,
        poll_s: float,
        first_worker_s: float,
    ) -> None:
        """Put together; the two times are those of the settings."""
        self.pipeline = pipeline
        self._profile: ServedProfile | None = None
        spec = pipeline.spec
        self._costs = Costs(_largest_percent(spec))
        self.dispatcher = Dispatcher(
            planner=spec.dispatch, cost=self.cost, metrics=metrics, pools=pools_of(spec)
        )
        self.directory = Directory(pipeline=spec.name, listener=self.dispatcher, poll_s=poll_s)
        self.releases = Releases(self.directory)
        around = Surroundings(
            dispatcher=self.dispatcher,
            directory=self.directory,
            releases=self.releases,
            costs=self._costs,
        )
        self.requests = Requests(
            around,
            metrics=metrics,
            pipeline=lambda: self.pipeline,
            first_worker_s=first_worker_s,
        )

    @property
    def cost(self) -> CostModel:
        """What everything is expected to take, now."""
        return self._costs.model

    def edit(self, pipeline: Pipeline) -> None:
        """Go by this from now on; what was admitted already stays admitted."""
        _log.info("pipeline changed", extra={"plan": pipeline.plan})
        self.pipeline = pipeline
        self._apply()

    def expect(self, profile: ServedProfile | None) -> None:
        """Expect what this profile says where nothing was measured; None expects nothing."""
        name = "" if profile is None else profile.profile.name
        _log.info("profile changed", extra={"profile": name})
        self._profile = profile
        self._apply()

    def _apply(self) -> None:
        spec = self.pipeline.spec
        profile = None if self._profile is None else believed(self._profile, spec)
        self._costs.use(profile, _largest_percent(spec))
        self.dispatcher.use(spec.dispatch, pools_of(spec), self.cost)

    async def drain(self, within_s: float) -> None:
        """Let what runs end within this time, and settle every debt to producers."""
        await self.requests.drain(within_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await self.releases.flush()

    async def close(self) -> None:
        """Close every connection."""
        self.releases.close()
        self.dispatcher.close()
        await self.directory.close()


def _largest_percent(spec: PipelineSpec) -> dict[Stage, int]:
    return {stage.stage: stage.fractions_percent[-1] for stage in spec.stages}
