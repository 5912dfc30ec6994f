"""The part of a kubelet that `kubectl logs` talks to, through the API server.

Logs only: `exec`, `attach` and `port-forward` need streams that nothing here would use, since
whoever runs this cluster can reach its processes directly. They are answered with a sentence that
says so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from .logs import start_of_tail
from .pods import PodWorker

_CHUNK = 64 * 1024
_POLL_S = 0.2


class Kubelet:
    """An HTTPS server at a node's address."""

    def __init__(self, find: Callable[[str, str], PodWorker | None], certificates: Path) -> None:
        """Keep how to find a pod, and the folder of certificate and key."""
        self.port = 0
        self._find = find
        self._certificates = certificates
        self._runner: web.AppRunner | None = None

    async def start(self, address: str) -> None:
        """Listens on a free port of the address.

        The certificate is the API server's own: it does not verify its nodes by default, and it
        alone calls here.
        """
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_route("*", "/{other:.*}", _refuse)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = self._certificates
        context.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, address, 0, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Closes the server; those who follow a log are cut off."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        names = request.match_info
        worker = self._find(names["namespace"], names["pod"])
        if worker is None:
            return web.Response(status=404, text="the node does not have this pod")
        container, query = names["container"], request.query
        restarts = worker.restarts(container) - (1 if query.get("previous") == "true" else 0)
        log = worker.folders.log(container, restarts)
        if not log.exists():
            return web.Response(status=404, text=f"container {container!r} has not logged yet")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        lines = int(query["tailLines"]) if "tailLines" in query else None
        limit = int(query["limitBytes"]) if "limitBytes" in query else None
        offset = await self._send(response, log, start_of_tail(log, lines), limit)
        if query.get("follow") == "true" and limit is None:
            await self._follow(response, worker, container, log, offset)
        return response

    async def _send(
        self, response: web.StreamResponse, log: Path, start: int, limit: int | None
    ) -> int:
        """Sends a log from an offset; the offset after what was sent."""
        offset = start
        while limit is None or offset - start < limit:
            size = _CHUNK if limit is None else min(_CHUNK, limit - (offset - start))
            chunk = _read(log, offset, size)
            if not chunk:
                break
            await response.write(chunk)
            offset += len(chunk)
        return offset

    async def _follow(
        self,
        response: web.StreamResponse,
        worker: PodWorker,
        container: str,
        log: Path,
        offset: int,
    ) -> None:
        """Sends what is added, until the container has ended for good; restarts are followed."""
        while True:
            running = worker.running(container)
            offset = await self._send(response, log, offset, None)
            newest = worker.folders.log(container, worker.restarts(container))
            if newest != log and newest.exists():
                log, offset = newest, 0
            elif not running:
                return
            await asyncio.sleep(_POLL_S)


def _read(log: Path, offset: int, size: int) -> bytes:
    with log.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)


async def _refuse(request: web.Request) -> web.Response:
    text = "pods of a process node are processes of the host: only logs can be had this way\n"
    return web.Response(status=501, text=text)
