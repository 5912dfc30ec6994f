"""Processes of this host: start one, wait for it, end it with all it started.

Each is the leader of a session of its own, so that its whole group can be signalled. Waiting uses a
pidfd: no thread a process, no SIGCHLD handler, and the pid cannot be another's by the time we act
on it.

What happens when the parent dies is arranged twice: `setpriv --pdeathsig` (util-linux) has the
kernel kill the direct child, and the reaper above the node (`reaper`) kills every descendant, also
those that left their session.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tridentserve.errors import PermanentError

CONTAINER_MARK = "PROCESS_NODE_CONTAINER"
"""Variable of all that a container runs: `cluster/node/namespace/pod/uid/container`."""


class StartError(PermanentError):
    """The command cannot be executed at all."""


class Process:
    """A running child and its group."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        """Watch a child that has just been started."""
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """Process id, and id of its group and session."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._popen.returncode

    async def wait(self) -> int:
        """The exit code, once it has ended and its group has been killed."""
        await self._ended.wait()
        return int(self._popen.returncode)

    def signal(self, number: int) -> None:
        """Signals the leader alone, as a runtime does with the first process of a container."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """Kills the group; what escaped from it is found by `kill_marked`."""
        if self._popen.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def _on_exit(self) -> None:
        # The leader is a zombie until poll(): its pid cannot be reused, so the group is still ours.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._popen.wait()
        os.close(self._pidfd)
        self._ended.set()


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    output: Path | int,
) -> Process:
    """Starts a command in a session of its own; both outputs are appended to one file.

    Raises:
        StartError: there is no such executable, or no such folder.
    """
    executable = find_executable(command[0], environment, folder)
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    handle = (
        os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if isinstance(output, Path)
        else output
    )
    try:
        popen = subprocess.Popen(
            [*prefix, executable, *command[1:]],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise StartError(f"cannot run {command[0]!r} in {folder}: {error.strerror}") from error
    finally:
        if isinstance(output, Path):
            os.close(handle)
    return Process(popen)


def find_executable(name: str, environment: Mapping[str, str], folder: Path) -> str:
    """The absolute path of a command, by the *container's* PATH.

    Raises:
        StartError: nothing executable has this name.
    """
    if "/" in name:
        candidates = [folder / name]
    else:
        path = environment.get("PATH", os.defpath)
        candidates = [Path(part) / name for part in path.split(os.pathsep) if part]
    for candidate in candidates:
        if _is_executable(candidate):
            return str(candidate)
    raise StartError(f'exec: "{name}": executable file not found on this host')


def _is_executable(path: Path) -> bool:
    """Whether somebody may execute it; whether we may is for the kernel to say."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)


def descendants(root: int) -> set[int]:
    """Process ids below `root`, at any depth."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        below = [p for p in children.get(waiting.pop(), ()) if p not in found]
        found.update(below)
        waiting.extend(below)
    return found


def marked(prefix: str) -> dict[int, str]:
    """Processes of this user whose container mark starts with `prefix`, and the mark."""
    found = {}
    for entry in _proc_folders():
        mark = _mark(int(entry.name))
        if mark is not None and mark.startswith(prefix):
            found[int(entry.name)] = mark
    return found


def kill_marked(prefix: str) -> int:
    """Kills all processes with such a mark, again and again until none is found; how many."""
    killed: set[int] = set()
    for _ in range(100):
        left = [pid for pid in marked(prefix) if not is_zombie(pid)]
        if not left:
            break
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    return len(killed)


def is_zombie(pid: int) -> bool:
    """Whether all of a process has ended and only waits to be collected (or is gone).

    The first thread shows as ended while others still do; until the last has, the process holds its
    files and their locks. Fields 3 (state) and 20 (threads) of proc_pid_stat(5).
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    fields = line.rpartition(")")[2].split()
    return fields[0] in ("Z", "X") and int(fields[17]) <= 1


def _mark(pid: int) -> str | None:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    for entry in environ.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == CONTAINER_MARK.encode():
            return value.decode(errors="replace")
    return None


def _proc_folders() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _parents() -> Iterator[tuple[int, int]]:
    for entry in _proc_folders():
        try:
            line = (entry / "stat").read_text()
        except OSError:
            continue
        yield int(entry.name), int(line.rpartition(")")[2].split()[1])
