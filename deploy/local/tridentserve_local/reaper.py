"""A process above the supervisor that outlives it just long enough to end all it started.

Linux can kill a child when its parent dies (PR_SET_PDEATHSIG), but only a direct one: a container's
own children would stay, and hold ports and memory. So the process that is started first forks the
supervisor and stays above it as a *subreaper*: whatever loses its parent anywhere below becomes its
child. When the supervisor is gone, however it went, the reaper kills its children until there are
none; grandchildren turn into children as their parents die, also those in sessions of their own, so
nothing escapes.

If the reaper itself is killed, the supervisor is told by its own PR_SET_PDEATHSIG and shuts down
in order. If both are killed in the same instant, direct children die by theirs, and the next `up`
or `down` finds the rest by the mark in their environment.

The reaper imports little and does nothing else: what does nothing does not crash.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def run_guarded(run: Callable[[], int], clean_up: Callable[[], None]) -> int:
    """Runs `run` in a child process and leaves no process of it behind; its exit code.

    `clean_up` is called at the very end, when all processes are gone.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have died before the line above: then nobody will send that signal.
        os._exit(_guarded(run) if os.getppid() == parent else 1)
    _let_go()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _send(child, signal.SIGTERM))
    code = _wait_for(child)
    kill_descendants()
    clean_up()
    return code


def kill_descendants() -> None:
    """Kills and collects every child of this process, and theirs, until none is left."""
    while True:
        for pid in _children():
            _send(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _guarded(run: Callable[[], int]) -> int:
    """What `os._exit` needs around a main function: flushed streams, and a code for every end."""
    try:
        return run()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - the end of a process: it is told, and there is no above
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _wait_for(child: int) -> int:
    """Collects orphans until the child has ended; its exit code."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _children() -> list[int]:
    me = os.getpid()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/stat") as stream:
                if int(stream.read().rpartition(")")[2].split()[1]) == me:
                    found.append(int(entry))
    return found


def _let_go() -> None:
    """Drops the standard streams: whoever reads the supervisor's output must see it end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)
    os.close(nothing)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
