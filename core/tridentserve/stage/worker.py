"""A worker process from its first breath to its last: bind, load, serve, drain, exit.

Ports are bound at once, so that probes get an answer; the worker is ready when its model is loaded.
A model that cannot be served, or settings that make no sense, end it as `ModelError`, which
`__main__` turns into one sentence and code 78.
"""

import asyncio
import logging
import time

from prometheus_client import CollectorRegistry

from tridentserve.domain import names
from tridentserve.domain.stages import STAGES
from tridentserve.errors import InvalidFieldError, TridentServeError
from tridentserve.rpc.server import Server, wait_for_signal
from tridentserve.rpc.v1 import stage_pb2, stage_pb2_grpc
from tridentserve.stage import drain
from tridentserve.stage.admission import Admission
from tridentserve.stage.batching import Window
from tridentserve.stage.engine import Engine
from tridentserve.stage.handoff import Handoff
from tridentserve.stage.identity import Identity
from tridentserve.stage.loading import Loaded, load
from tridentserve.stage.references import References
from tridentserve.stage.scheduling import Scheduler
from tridentserve.stage.segments import Segments
from tridentserve.stage.service import Parts, StageService
from tridentserve.stage.settings import StageSettings
from tridentserve.store.memory import MemoryStore
from tridentserve.store.opening import Stores, open_stores
from tridentserve.telemetry.metrics import WorkerMetrics

_log = logging.getLogger(__name__)

_TIDY_INTERVAL_S = 5.0
_STOP_GRACE_S = 1.0
"""For answers that are on their way when the servers close."""


class Worker:
    """The parts of a worker, put together; used by the process, and by tests within theirs."""

    def __init__(self, settings: StageSettings, registry: CollectorRegistry) -> None:
        """Prepare; made on the event loop."""
        self._settings = settings
        self.engine = Engine(stall_s=settings.stall_s)
        self.server = Server(
            host=settings.host,
            grpc_port=settings.grpc_port,
            metrics_port=settings.metrics_port,
            registry=registry,
            liveness=self.problem,
        )
        self._metrics = WorkerMetrics(registry, settings.pipeline, settings.pool, settings.stages)
        self._service = StageService()
        self.server.add(
            lambda server: stage_pb2_grpc.add_StageServiceServicer_to_server(self._service, server),
            stage_pb2.DESCRIPTOR.services_by_name["StageService"].full_name,
        )
        self._scheduler: Scheduler | None = None
        self._opened: tuple[Admission, Handoff] | None = None
        self._tidying: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Runs that have not ended."""
        return self._opened[0].running if self._opened is not None else 0

    def problem(self) -> str | None:
        """What is wrong with it, for the liveness probe; None where nothing is."""
        stopped = self._scheduler.problem() if self._scheduler is not None else None
        if self._tidying is not None and self._tidying.done():
            # It also keeps this worker's tensors in Redis alive: they would go while it serves.
            stopped = stopped or "tidying has stopped"
        return self.engine.problem() or stopped

    async def bind(self) -> None:
        """Start the engine and the servers, not ready yet.

        Raises:
            UnavailableError: a port is taken.
        """
        self.engine.start()
        await self.server.start()
        where = {"address": self.server.address, "probes": self.server.metrics_address}
        _log.info("listening", extra=where)

    async def serve(self, loaded: Loaded, stores: Stores) -> None:
        """Become ready with these runners and stores."""
        segments = Segments(self._settings.stages, self._settings.max_batch)
        handoff = Handoff(
            stores=stores,
            references=References(),
            metrics=self._metrics,
            ttl_s=self._settings.tensor_ttl_s,
        )
        self._scheduler = Scheduler(
            runners=loaded.runners,
            engine=self.engine,
            window=Window(max_size=self._settings.max_batch, max_wait_s=self._settings.max_wait_s),
            clock=time.monotonic,
            metrics=self._metrics,
        )
        self._scheduler.start()
        admission = Admission(
            segments=segments,
            scheduler=self._scheduler,
            handoff=handoff,
            metrics=self._metrics,
            clock=time.monotonic,
        )
        identity = Identity(
            settings=self._settings,
            runners=loaded.runners,
            load_seconds=loaded.seconds,
            domain=stores.domain,
        )
        self._opened = (admission, handoff)
        self._service.open(Parts(identity=identity, admission=admission, handoff=handoff))
        self._tidying = asyncio.create_task(self._keep_tidy(), name="tidy")
        await self.server.set_ready(True)
        ready = {"worker": identity.settings.worker, "domain": stores.domain or ""}
        _log.info("ready", extra=ready)

    async def tidy(self) -> None:
        """Delete what has expired, and what could not be deleted before."""
        if self._opened is None:
            return
        try:
            await self._opened[1].tidy()
        except TridentServeError as error:
            _log.warning("tidying failed", extra={"problem": str(error)})

    async def _keep_tidy(self) -> None:
        while True:
            await asyncio.sleep(_TIDY_INTERVAL_S)
            await self.tidy()

    async def drain(self) -> bool:
        """Leave as `drain` says; True where nothing had to be given up."""
        if self._opened is None:
            return True
        admission, handoff = self._opened
        return await drain.drain(
            server=self.server,
            service=self._service,
            admission=admission,
            handoff=handoff,
            drain_s=self._settings.drain_s,
        )

    async def close(self) -> None:
        """End everything; whatever this worker put and nobody released is deleted."""
        await self.server.set_ready(False)
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.gather(self._tidying, return_exceptions=True)
        if self._opened is None or self._scheduler is None:
            await self.server.stop(_STOP_GRACE_S)
        else:
            admission, handoff = self._opened
            admission.abort()
            await self._scheduler.close()
            await self.server.stop(_STOP_GRACE_S)
            await admission.wait_idle()
            await handoff.close()
        self.engine.close()


async def run(settings: StageSettings) -> None:
    """Run a worker until it is asked to end, and drain it.

    Raises:
        ModelError: the model cannot be served.
        InvalidFieldError: the stores cannot be used as the settings say.
        UnavailableError: a port is taken, or the shared directory cannot be used.
    """
    worker = Worker(settings, CollectorRegistry())
    asked = asyncio.create_task(wait_for_signal(), name="signal")
    try:
        await worker.bind()
        preparing = asyncio.create_task(_prepare(settings, worker.engine), name="load")
        await asyncio.wait({asked, preparing}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            _log.info("asked to end while loading")
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)
            return
        await worker.serve(*await preparing)
        await asked
        await worker.drain()
    finally:
        asked.cancel()
        await worker.close()


async def _prepare(settings: StageSettings, engine: Engine) -> tuple[Loaded, Stores]:
    # Opened first: a wrong address should not be found out after minutes of loading.
    stores = await asyncio.to_thread(open_configured_stores, settings)
    # Not watched: how long a model takes to load has no bound that liveness could know, and until
    # it is loaded the startup probe decides.
    try:
        loaded = await engine.call(lambda: load(settings, engine.sleep), watched=False)
    except BaseException:
        stores.close()  # nobody else knows of them, and a folder would stay behind
        raise
    return loaded, stores


def open_configured_stores(settings: StageSettings) -> Stores:
    """The stores that the settings name.

    Raises:
        InvalidFieldError: none is named, and the worker does not host all stages.
        UnavailableError: the shared directory cannot be used.
    """
    if settings.redis_url is None and settings.shm_dir is None:
        if settings.stages != STAGES:
            raise InvalidFieldError(
                names.ENV_REDIS_URL,
                f"not set, and neither is {names.ENV_SHM_DIR}: without a store this worker cannot"
                " reach the other stages; set one of them",
            )
        return Stores(local=None, network=MemoryStore(network=True))
    return open_stores(
        shm_dir=settings.shm_dir,
        redis_url=settings.redis_url,
        redis_prefix=f"tridentserve/{settings.pipeline}",
    )
