"""Starting a cluster: its programs are fetched, its processes started, its readiness awaited.

What runs then is asked through its control socket (`cluster`), whoever started it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import IO

from tridentserve.errors import TemporaryError

from .folders import Folders
from .settings import ClusterSettings
from .toolchain import tools
from .wire import Json

Progress = Callable[[str, float], None]
"""Told what has come up, and after how many seconds."""


class ClusterError(TemporaryError):
    """The cluster did not come up, or is not there any more."""


def fetch_tools(settings: ClusterSettings) -> None:
    """Brings what the cluster will start, where a person can see that it takes its time.

    Raises:
        ToolMissingError: a program is not to be had.
    """
    tools.controlplane()
    if settings.redis:
        tools.redis_server()
    if settings.prometheus:
        tools.prometheus()


def launch(
    folders: Folders,
    settings: ClusterSettings,
    *,
    with_stdin: bool,
    remove: bool,
    progress: Progress,
) -> tuple[subprocess.Popen[bytes], Json]:
    """Starts the processes of a cluster and waits until it is ready: they, and what runs.

    Raises:
        ClusterError: it did not come up; the message says why.
    """
    folders.create()
    command = [sys.executable, "-m", "tridentserve_local"]
    command += ["--state", str(folders.state), "--settings", settings.to_json()]
    command += ["--with-stdin"] * with_stdin + ["--remove"] * remove
    # Held open: its end is told also when the folder has been removed by then.
    with folders.startup_log.open("w+b") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        try:
            return process, _await_ready(process, errors, progress)
        except BaseException:
            process.terminate()
            process.wait()
            raise


def _await_ready(process: subprocess.Popen[bytes], errors: IO[bytes], progress: Progress) -> Json:
    output: IO[bytes] | None = process.stdout
    assert output is not None
    with output:
        for line in output:
            said: Json = json.loads(line)
            if "error" in said:
                raise ClusterError(str(said["error"]))
            if said.get("ready"):
                return said
            progress(said["up"], said["seconds"])
    code = process.wait()
    errors.seek(0)
    last_words = errors.read().decode(errors="replace")[-2000:]
    raise ClusterError(f"the cluster's process ended with {code}:\n{last_words}")
