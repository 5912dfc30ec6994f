"""The life of a supervisor process: start, announce, wait, stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from contextlib import suppress

from tridentserve.errors import TridentServeError
from tridentserve.telemetry import logs

from .addresses import AddressBlock
from .control import ControlServer
from .daemon import say
from .folders import Folders
from .settings import ClusterSettings
from .supervisor import Supervisor
from .toolchain.errors import ToolMissingError

log = logging.getLogger(__name__)


def run_cluster(folders: Folders, settings: str, block: AddressBlock, *, with_stdin: bool) -> int:
    """Runs a cluster until it is told to stop; the exit code of the process."""
    log_file = (folders.logs / "supervisor.log").open("a", buffering=1)
    logs.configure("text", stream=log_file)
    try:
        chosen = ClusterSettings.from_json(settings)
        return asyncio.run(_run(folders, chosen, block, with_stdin=with_stdin))
    except (TridentServeError, ToolMissingError) as error:
        say({"error": str(error)})
        return 1


async def _run(
    folders: Folders, settings: ClusterSettings, block: AddressBlock, *, with_stdin: bool
) -> int:
    supervisor = Supervisor(folders, settings, block)
    control = ControlServer(supervisor)
    _stop_on_signals(supervisor, with_stdin=with_stdin)
    stopped = asyncio.ensure_future(supervisor.stopping.wait())
    await control.start(folders.control)
    began = time.monotonic()
    starting = asyncio.ensure_future(
        supervisor.start(lambda what: say({"up": what, "seconds": time.monotonic() - began}))
    )
    try:
        await asyncio.wait({starting, stopped}, return_when="FIRST_COMPLETED")
        if not starting.done():
            return 0
        _raise_first(starting)
        description = supervisor.describe()
        folders.description.write_text(json.dumps(description))
        say(description)
        _close_stdout()
        fault = asyncio.ensure_future(supervisor.wait_for_fault())
        await asyncio.wait({fault, stopped}, return_when="FIRST_COMPLETED")
        if not supervisor.stopping.is_set():
            log.error("the control plane has ended: so does the cluster")
            return 1
        return 0
    finally:
        starting.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await starting
        await control.stop()
        await supervisor.stop()


def _stop_on_signals(supervisor: Supervisor, *, with_stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, supervisor.stopping.set)

    def stdin_ready() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            supervisor.stopping.set()

    if with_stdin:
        loop.add_reader(0, stdin_ready)


def _raise_first(done: asyncio.Future[None]) -> None:
    """Raises the first error of a task group, which is the one that ended the others."""
    try:
        done.result()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def _close_stdout() -> None:
    """Lets go of the pipe to whoever started this, who has read all there is."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
