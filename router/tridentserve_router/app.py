"""A whole router: its parts put together, started, drained and stopped in order."""

import asyncio
import logging

from prometheus_client import CollectorRegistry

from tridentserve.errors import UnavailableError
from tridentserve.rpc.server import Server
from tridentserve.telemetry.metrics import RouterMetrics
from tridentserve_router.api import SERVICE, GenerationService
from tridentserve_router.core import Core
from tridentserve_router.pipeline import PipelineSource
from tridentserve_router.pods import PodSource
from tridentserve_router.profiles import ConfigMapSource, ProfileFollower
from tridentserve_router.settings import RouterSettings

_log = logging.getLogger(__name__)

_STOP_GRACE_S = 2.0


class Router:
    """One router process, or one inside of a test."""

    def __init__(
        self,
        settings: RouterSettings,
        *,
        pipeline: PipelineSource,
        pods: PodSource,
        config_maps: ConfigMapSource,
    ) -> None:
        """Prepare; nothing runs yet."""
        self._settings, self._source, self._pods = settings, pipeline, pods
        self.registry = CollectorRegistry()
        self._metrics = RouterMetrics(self.registry, settings.pipeline)
        self._server = Server(
            host=settings.host,
            grpc_port=settings.grpc_port,
            metrics_port=settings.metrics_port,
            registry=self.registry,
            liveness=self._problem,
        )
        self._server.add(GenerationService(self._current).register, SERVICE)
        self._core: Core | None = None
        namespace = settings.pipeline.partition("/")[0]
        self._profiles = ProfileFollower(
            namespace, config_maps, lambda profile: self.core.expect(profile)
        )
        self._known = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def address(self) -> str:
        """`host:port` of GenerationService."""
        return self._server.address

    @property
    def metrics_address(self) -> str:
        """`host:port` of metrics and probes."""
        return self._server.metrics_address

    @property
    def core(self) -> Core:
        """The parts; only once `start` has returned."""
        return self._current()

    async def start(self) -> None:
        """Serve, read the pipeline, look for workers; returns once it is ready.

        The server answers before the pipeline is known, so that an API server that is away for a
        while makes the router unready, and not dead.

        Raises:
            UnavailableError: a port is taken.
        """
        await self._server.start()
        following = asyncio.create_task(self._follow_pipeline(), name="pipeline")
        self._tasks.append(following)
        known = asyncio.create_task(self._known.wait())
        try:
            await asyncio.wait({following, known}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            known.cancel()
        if not self._known.is_set():
            # Before it is ready nobody asks for its liveness: it would sit there for an hour.
            await following
        self._tasks.append(asyncio.create_task(self.core.directory.run(self._pods), name="pods"))
        await self._server.set_ready(True)
        _log.info("router ready", extra={"address": self.address})

    async def stop(self) -> None:
        """Take nothing new, let what runs end within the drain time, settle debts, close."""
        await self._server.set_ready(False)
        if self._core is not None:
            await self._core.drain(self._settings.drain_s)
        await self._server.stop(_STOP_GRACE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._profiles.close()
        if self._core is not None:
            await self._core.close()

    async def _follow_pipeline(self) -> None:
        async for pipeline in self._source.watch():
            if self._core is None:
                self._core = Core(
                    pipeline,
                    metrics=self._metrics,
                    poll_s=self._settings.poll_s,
                    first_worker_s=self._settings.first_worker_s,
                )
            else:
                self._core.edit(pipeline)
            self._profiles.follow(pipeline.profile)
            self._known.set()

    def _current(self) -> Core:
        if self._core is None:
            raise UnavailableError("the router has not read its DiffusionPipeline yet")
        return self._core

    def _problem(self) -> str | None:
        ended = next((task for task in self._tasks if task.done()), None)
        return f"the watch of {ended.get_name()} has ended" if ended else None
