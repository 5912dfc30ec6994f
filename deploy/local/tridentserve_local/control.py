"""The socket through which a running cluster is asked and told: HTTP over a unix socket.

Each route translates, calls one function of the supervisor and translates back. The folder that the
socket lies in belongs to one user alone, so whoever can connect may do everything.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from tridentserve.errors import NotFoundError, TridentServeError

from .supervisor import Supervisor


class ControlServer:
    """Answers on the socket."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Keep whom to ask."""
        self._supervisor = supervisor
        self._runner: web.AppRunner | None = None

    async def start(self, path: Path) -> None:
        """Listens."""
        app = web.Application(middlewares=[_errors])
        app.router.add_get("/status", self._status)
        app.router.add_post("/stop", self._stop)
        app.router.add_get("/processes", self._processes)
        app.router.add_post("/pods/{namespace}/{name}/kill", self._kill_pod)
        app.router.add_post("/nodes/{name}/{verb:kill|start}", self._node)
        app.router.add_post("/services/{name}/{verb:start|stop}", self._service)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(path)).start()

    async def stop(self) -> None:
        """Closes the socket."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self._supervisor.describe())

    async def _stop(self, request: web.Request) -> web.Response:
        self._supervisor.stopping.set()
        return web.json_response({})

    async def _processes(self, request: web.Request) -> web.Response:
        query = request.query
        found = self._supervisor.processes(query.get("namespace", ""), query.get("pod", ""))
        return web.json_response(found)

    async def _kill_pod(self, request: web.Request) -> web.Response:
        names = request.match_info
        killed = self._supervisor.kill_pod(names["namespace"], names["name"])
        return web.json_response({"killed": killed})

    async def _node(self, request: web.Request) -> web.Response:
        name, verb = request.match_info["name"], request.match_info["verb"]
        if verb == "kill":
            await self._supervisor.kill_node(name, forget=request.query.get("forget") == "true")
        else:
            await self._supervisor.start_node(name)
        return web.json_response({})

    async def _service(self, request: web.Request) -> web.Response:
        name, verb = request.match_info["name"], request.match_info["verb"]
        if verb == "start":
            await self._supervisor.start_service(name)
        else:
            await self._supervisor.stop_service(name)
        return web.json_response({})


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except NotFoundError as error:
        return web.json_response({"error": str(error)}, status=404)
    except TridentServeError as error:
        return web.json_response({"error": str(error)}, status=503)
