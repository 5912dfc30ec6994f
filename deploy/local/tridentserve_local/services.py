"""Programs that run beside the pods: control plane, Redis, Prometheus."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tridentserve.errors import TemporaryError

from .grace import Grace
from .processes import Process, start
from .toolchain.tools import Tool

_POLL_S = 0.05
_GRACE_S = 10.0


class ServiceError(TemporaryError):
    """A program ended, or was not ready in time."""


class Service:
    """One program, which can be stopped and started again with the same command line."""

    def __init__(
        self,
        name: str,
        tool: Tool,
        arguments: Sequence[str],
        *,
        folder: Path,
        log: Path,
        ready: Callable[[], Awaitable[bool]],
        ready_within_s: float = 60.0,
    ) -> None:
        """Keep what is to be started; `ready` is asked until it says yes."""
        self.name = name
        self.log = log
        self._tool = tool
        self._arguments = tuple(arguments)
        self._folder = folder
        self._ready = ready
        self._ready_within_s = ready_within_s
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def start(self) -> None:
        """Starts it, unless it runs, and waits until it is ready.

        Raises:
            ServiceError: it ended, or was not ready in time; the end of its log is in the message.
        """
        if self.pid is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        process = self._process = start(
            self._tool.argv(*self._arguments),
            environment={**os.environ, **self._tool.environment},
            folder=self._folder,
            output=self.log,
        )
        try:
            async with asyncio.timeout(self._ready_within_s):
                while not await self._ready():
                    if process.returncode is not None:
                        raise ServiceError(f"{self.name} ended: {self._last_words()}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            await self.stop()
            seconds = f"{self._ready_within_s:g} s"
            message = f"{self.name} was not ready within {seconds}: {self._last_words()}"
            raise ServiceError(message) from None

    async def stop(self) -> None:
        """Ends it: SIGTERM, and SIGKILL if that does not help."""
        process, self._process = self._process, None
        if process is not None:
            process.signal(signal.SIGTERM)
            if not await Grace(_GRACE_S).outlasts(process.wait()):
                process.kill()
                await process.wait()

    async def wait(self) -> None:
        """Until it has ended, however that came."""
        if self._process is not None:
            await self._process.wait()

    def _last_words(self) -> str:
        with suppress(OSError):
            return self.log.read_text(errors="replace")[-1000:]
        return "it wrote no log"


def free_port() -> int:
    """A port of 127.0.0.1 that is free now; whoever uses it should be quick."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
