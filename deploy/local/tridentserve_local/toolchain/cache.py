"""A folder of finished things, each built once under a key of what it was built from.

A thing is built aside and renamed into place, so whoever finds it finds all of it: a build that is
killed half way leaves a folder that nobody looks at, and the next build of that thing removes it.
Two builds of one thing at once are one build and one wait.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_LOCK_POLL_S = 0.1


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's cache of TridentServe: $TRIDENTSERVE_CACHE, else below $XDG_CACHE_HOME or ~."""
    if chosen := environment.get("TRIDENTSERVE_CACHE"):
        return Path(chosen)
    if shared := environment.get("XDG_CACHE_HOME"):
        return Path(shared, "tridentserve")
    return Path.home() / ".cache" / "tridentserve"


def find(root: Path, name: str, key: str) -> Path | None:
    """The folder of `name` at `key`, if it has been built."""
    done = root / f"{name}-{key}"
    return done if done.is_dir() else None


def entry(
    root: Path,
    name: str,
    key: str,
    build: Callable[[Path], None],
    *,
    waiting: Callable[[], None] = lambda: None,
) -> Path:
    """The folder of `name` at `key`, filled by `build(folder)` if it is not there yet.

    `build` gets an empty folder that is renamed afterwards, so it must not write its path into
    what it makes. `waiting` is called once if another process is building the same thing. What
    `build` raises passes through, and leaves nothing behind.
    """
    if found := find(root, name, key):
        return found
    with _locked(root / "locks" / f"{name}-{key}", waiting):
        if found := find(root, name, key):
            return found
        _remove_leftovers(root / "building", f"{name}-{key}.")
        aside = Path(tempfile.mkdtemp(prefix=f"{name}-{key}.", dir=root / "building"))
        aside.chmod(0o755)  # mkdtemp's 0700 is for secrets
        try:
            build(aside)
            return aside.rename(root / f"{name}-{key}")
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _remove_leftovers(building: Path, prefix: str) -> None:
    """Remove what killed builds of this thing left; its lock is held, so none is running."""
    building.mkdir(parents=True, exist_ok=True)
    for leftover in building.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock, which the kernel drops when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    waiting()
                    told = True
                time.sleep(_LOCK_POLL_S)
        yield
