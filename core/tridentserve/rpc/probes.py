"""The HTTP side of every server: `/healthz`, `/readyz` and `/metrics`.

It runs on the same event loop as the work, on purpose: a loop that hangs does not answer, so that
the liveness probe restarts the process.
"""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from tridentserve.domain.addresses import authority
from tridentserve.errors import UnavailableError


class ProbeServer:
    """Answers probes and scrapes on one port."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        registry: CollectorRegistry,
        liveness: Callable[[], str | None],
    ) -> None:
        """Prepare; port 0 takes a free one."""
        self.ready = False
        self._host, self._port = host, port
        self._registry, self._liveness = registry, liveness
        application = web.Application()
        application.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)

    @property
    def address(self) -> str:
        """`host:port`, bound after `start`."""
        return authority(self._host, self._port)

    async def start(self) -> None:
        """Bind and answer.

        Raises:
            UnavailableError: the port is taken.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port, reuse_port=False).start()
        except OSError as error:
            await self._runner.cleanup()
            raise UnavailableError(f"cannot bind {self.address}: {error}") from error
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        problem = self._liveness()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(
            text="ok" if self.ready else "not ready", status=200 if self.ready else 503
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
