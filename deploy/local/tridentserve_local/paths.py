"""How a path of a container becomes a path of this host. Pure.

A process has no mount namespace of its own here (that takes rights an ordinary user lacks), so a
volume lies wherever the node put it, and whatever names its mount path is rewritten: environment
values, command, arguments, working directory, probe commands. A program that has a mount path
compiled in is out of reach, which is why components find every path in a variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_BEFORE = r"(?:(?<![\w./~-])|(?<=://))"
_AFTER = r"(?=$|[/:;,=&?#\s'\"()\]}])"


def rewrite(text: str, mounts: Mapping[str, Path]) -> str:
    """`text` with every mount path in it replaced by where the volume lies.

    The longest mount path wins, a path is only matched whole (`/models` is not in `/models2` nor in
    `/var/models`), and nothing is replaced twice.

    >>> rewrite("--model=/m/flux --also=/m2 file:///m", {"/m": Path("/pod/v/m")})
    '--model=/pod/v/m/flux --also=/m2 file:///pod/v/m'
    """
    targets = {path.rstrip("/"): str(target) for path, target in mounts.items() if path != "/"}
    if not targets:
        return text
    longest_first = sorted(targets, key=len, reverse=True)
    pattern = _BEFORE + "(" + "|".join(re.escape(p) for p in longest_first) + ")" + _AFTER
    return re.sub(pattern, lambda match: targets[match[1]], text)


def working_directory(wanted: str, mounts: Mapping[str, Path], private: Path) -> Path:
    """Where a container starts: inside a volume if it says so, else in its private folder.

    A working directory outside of every volume belongs to an image that is not there, so it too is
    a folder below the private one.
    """
    if not wanted:
        return private
    moved = rewrite(wanted, mounts)
    return Path(moved) if moved != wanted else private / wanted.lstrip("/")
