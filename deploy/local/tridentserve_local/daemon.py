"""The lock of a cluster, what a crashed one left, and the lines that a starting one prints."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress

from .folders import Folders
from .processes import kill_marked


def lock(folders: Folders) -> int | None:
    """Takes the lock until this process and all its forks have ended; None if it is held."""
    handle = os.open(folders.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def runs(folders: Folders) -> bool:
    """Whether a cluster holds the lock now."""
    if not folders.lock.exists():
        return False
    handle = lock(folders)
    if handle is None:
        return True
    os.close(handle)
    return False


def clean_remains(folders: Folders) -> int:
    """Kills and removes what a cluster left that ended without order; how many it killed.

    Only for whoever holds the lock, or has seen that nobody does.
    """
    killed = kill_marked(folders.mark)
    folders.remove_memory()
    for entry in folders.state.glob("*"):
        if entry not in (folders.lock, folders.startup_log):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
    return killed


def say(line: Mapping[str, object]) -> None:
    """A line for whoever waits for the cluster; if nobody does, nothing."""
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
