"""Who uses a shared directory: its domain, and a folder for each producer that dies with it.

    <directory>/domain             a UUID: who reads the same one shares memory
    <directory>/owner-<id>/lease   locked (flock) as long as the producer lives
    <directory>/owner-<id>/<n>     its slots, see `tridentserve.store.slots`

A producer that is killed cannot clean up, but the kernel drops its lock; whoever sees the lock free
removes the folder. There is no clock and no heartbeat in this, so a producer that was merely
stopped for a while keeps its files. The lock works between containers that share the directory,
whatever their process namespaces, on any file system of one machine; it does not work on NFS.

A folder is born as `new-<id>` and renamed once its lease is held: before that, a reaper may take it
for a dead one's, and its maker starts again.
"""

import fcntl
import os
import re
import uuid
from contextlib import suppress
from pathlib import Path

from tridentserve.domain.ids import MemoryDomain
from tridentserve.errors import UnavailableError

_LEASE = "lease"
_FOLDER = re.compile(r"(?:owner|new)-[0-9a-f]{32}")
_ATTEMPTS = 10


def read_domain(directory: Path) -> MemoryDomain:
    """The domain of a directory; the first who asks names it.

    Raises:
        UnavailableError: the directory cannot be used, or its domain file holds something else.
    """
    path = directory / "domain"
    try:
        descriptor = _open_domain(path)
    except OSError as error:
        raise UnavailableError(
            f"{directory} cannot be used as shared memory: {error.strerror}"
        ) from error
    try:
        # Everybody looks under the lock, so nobody sees a file that is named but not yet filled.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        text = os.pread(descriptor, 64, 0).decode(errors="replace")
        if not text:
            text = str(uuid.uuid4())
            os.pwrite(descriptor, text.encode(), 0)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        os.close(descriptor)
    try:
        return MemoryDomain(str(uuid.UUID(text.strip())))
    except ValueError:
        raise UnavailableError(
            f"{path} holds no UUID; delete it while no worker runs there"
        ) from None


def _open_domain(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except PermissionError:  # another user's, already named: reading is enough
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


class Owner:
    """A producer's folder, held by its lease until `close`."""

    def __init__(self, directory: Path) -> None:
        """Make the folder.

        Raises:
            UnavailableError: the directory cannot be written.
        """
        self.id = uuid.uuid4().hex
        self.folder = directory / f"owner-{self.id}"
        try:
            self._lease = self._establish(directory)
        except OSError as error:
            raise UnavailableError(
                f"{directory} cannot be used as shared memory: {error.strerror}"
            ) from error

    def _establish(self, directory: Path) -> int:
        new = directory / f"new-{self.id}"
        for _ in range(_ATTEMPTS):
            new.mkdir(mode=0o755, exist_ok=True)
            try:
                lease = os.open(new / _LEASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                continue  # reaped between the two lines
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
                new.rename(self.folder)
                return lease
            except (BlockingIOError, FileNotFoundError):  # being reaped, or reaped
                os.close(lease)
        raise OSError(0, "its folders vanish as they are made")

    def close(self) -> None:
        """Remove the folder, then give the lease back."""
        if self._lease >= 0:
            _remove(self.folder)
            os.close(self._lease)
            self._lease = -1


def slot_path(directory: Path, owner_id: str, number: int) -> str:
    """Where a slot of some owner lies."""
    # A string: joining a Path costs as much as all system calls of a small read together.
    return f"{directory}/owner-{owner_id}/{number}"


def reap(directory: Path) -> int:
    """Remove the folders of dead owners; returns how many. What may not be removed is left."""
    reaped = 0
    try:
        with os.scandir(directory) as entries:
            folders = [Path(entry.path) for entry in entries if _FOLDER.fullmatch(entry.name)]
    except OSError:
        # No descriptor is left, or the directory is gone. Cleaning up after others can wait; it
        # must not fail the put that it is tried for, nor end a worker's regular tidying.
        return 0
    for folder in folders:
        with suppress(OSError):
            reaped += _reap_folder(folder)
    return reaped


def _reap_folder(folder: Path) -> int:
    try:
        lease = os.open(folder / _LEASE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Made or removed only by half. A folder with anything in it has a lease, so nothing of
        # value goes, and a maker that is overtaken by this starts again.
        folder.rmdir()
        return 1
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder)
    finally:
        os.close(lease)
    return 1


def _remove(folder: Path) -> None:
    """Remove a folder whose lease is held: the lease last, or a crash would leave files without."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.name != _LEASE:
                path.unlink(missing_ok=True)
        (folder / _LEASE).unlink(missing_ok=True)
        folder.rmdir()
