"""The parts of a router that serve one pipeline, put together."""

import asyncio
import contextlib
import logging

from tridentserve.planner.cost import CostModel
from tridentserve.planner.misfits import pools_of
from tridentserve.telemetry.metrics import RouterMetrics
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
        spec = pipeline.spec
        self.cost = CostModel(
            largest_percent={stage.stage: stage.fractions_percent[-1] for stage in spec.stages}
        )
        self.dispatcher = Dispatcher(
            planner=spec.dispatch, cost=self.cost, metrics=metrics, pools=pools_of(spec)
        )
        self.directory = Directory(pipeline=spec.name, listener=self.dispatcher, poll_s=poll_s)
        self.releases = Releases(self.directory)
        around = Surroundings(
            dispatcher=self.dispatcher,
            directory=self.directory,
            releases=self.releases,
            cost=self.cost,
        )
        self.requests = Requests(
            around,
            metrics=metrics,
            pipeline=lambda: self.pipeline,
            first_worker_s=first_worker_s,
        )

    def edit(self, pipeline: Pipeline) -> None:
        """Go by this from now on; what was admitted already stays admitted."""
        _log.info("pipeline changed", extra={"plan": pipeline.plan})
        self.pipeline = pipeline
        self.dispatcher.use(pipeline.spec.dispatch, pools_of(pipeline.spec))

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
