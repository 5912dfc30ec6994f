"""Shared memory that is full: who gives back what, and when."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from tridentserve.domain.tensors import Tensor
from tridentserve.errors import ExhaustedError
from tridentserve.store.shm import SharedMemoryStore

MIB = 1 << 20


@pytest.fixture
def stores(shm_directory: Path) -> Iterator[list[SharedMemoryStore]]:
    """Two workers of a node, whose own bounds are out of reach of its 6 MiB."""
    stores = [SharedMemoryStore(shm_directory, capacity_bytes=64 * MIB) for _ in range(2)]
    allocate = os.posix_fallocate

    def limited(descriptor: int, offset: int, length: int) -> None:
        if used_bytes(shm_directory) + length > 6 * MIB:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(descriptor, offset, length)

    with patch("os.posix_fallocate", limited):
        yield stores
    for store in stores:
        store.close()


def used_bytes(directory: Path) -> int:
    """As a tmpfs counts: a removed file still takes its room as long as somebody has it mapped."""
    used = sum(path.stat().st_size for path in slot_files(directory))
    for line in Path("/proc/self/maps").read_text().splitlines():
        if str(directory) in line and line.endswith("(deleted)"):
            start, end = line.split()[0].split("-")
            used += int(end, 16) - int(start, 16)
    return used


def slot_files(directory: Path) -> list[Path]:
    return [path for path in directory.glob("owner-*/*") if path.name != "lease"]


def tensors(size_bytes: int = MIB, seed: int = 1) -> dict[str, Tensor]:
    data = memoryview(Random(seed).randbytes(size_bytes))
    return {"data": Tensor(dtype="uint8", shape=(size_bytes,), data=data)}


def burst(store: SharedMemoryStore, sets: int) -> None:
    """Hold so many sets of 1 MiB at once, read each, and delete all."""
    refs = [store.put(tensors(seed=seed), ttl_s=60, now=0) for seed in range(sets)]
    for ref in refs:
        store.get(ref)
        store.delete(ref)


def test_a_full_file_system_gets_room_from_the_idle_slots_of_who_asks(
    stores: list[SharedMemoryStore],
) -> None:
    store, _ = stores
    burst(store, 4)
    held = store.put(tensors(seed=7), ttl_s=60, now=0)
    large = store.put(tensors(3 * MIB), ttl_s=60, now=0)

    assert dict(store.get(held)) == tensors(seed=7)
    assert dict(store.get(large)) == tensors(3 * MIB)


def test_what_is_in_use_is_not_dropped_for_a_full_file_system(
    stores: list[SharedMemoryStore],
) -> None:
    store, _ = stores
    refs = [store.put(tensors(seed=seed), ttl_s=60, now=0) for seed in range(4)]

    with pytest.raises(ExhaustedError, match="No space left on device"):
        store.put(tensors(3 * MIB), ttl_s=60, now=0)
    assert [dict(store.get(ref)) for ref in refs] == [tensors(seed=seed) for seed in range(4)]


def test_slots_idle_since_the_reap_before_make_room_for_other_workers(
    stores: list[SharedMemoryStore],
) -> None:
    store, other = stores
    burst(store, 4)
    store.reap(now=0)
    with pytest.raises(ExhaustedError):
        other.put(tensors(), ttl_s=60, now=0)
    store.reap(now=0)

    other.put(tensors(), ttl_s=60, now=0)


def test_a_slot_in_steady_use_outlives_reaps_and_what_a_burst_left_does_not(
    stores: list[SharedMemoryStore], shm_directory: Path
) -> None:
    store, _ = stores
    burst(store, 4)
    store.reap(now=0)
    left = []
    for _ in range(3):
        for _ in range(5):
            burst(store, 1)
        store.reap(now=0)
        left.append(slot_files(shm_directory))

    assert len(left[0]) == 1
    assert left == [left[0]] * 3
