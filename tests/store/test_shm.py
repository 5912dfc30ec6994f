"""What shared memory promises beyond the contract."""

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from tridentserve.domain.tensors import Tensor
from tridentserve.errors import (
    ExhaustedError,
    TensorCorruptedError,
    TensorMissingError,
    UnavailableError,
)
from tridentserve.store import slots
from tridentserve.store.shm import SharedMemoryStore

MIB = 1 << 20


@pytest.fixture
def store(shm_directory: Path) -> Iterator[SharedMemoryStore]:
    store = SharedMemoryStore(shm_directory, capacity_bytes=16 * MIB)
    yield store
    store.close()


def tensors(size_bytes: int = MIB, seed: int = 1) -> dict[str, Tensor]:
    data = memoryview(Random(seed).randbytes(size_bytes))
    return {"data": Tensor(dtype="uint8", shape=(size_bytes,), data=data)}


def slot_files(directory: Path) -> list[Path]:
    return [path for path in directory.glob("owner-*/*") if path.name != "lease"]


def test_an_expired_set_is_missing_once_its_owner_reaps(store: SharedMemoryStore) -> None:
    short = store.put(tensors(), ttl_s=10, now=1000)
    long = store.put(tensors(), ttl_s=100, now=1000)
    store.reap(now=1009)
    store.get(short)
    store.reap(now=1010)

    with pytest.raises(TensorMissingError):
        store.get(short)
    store.get(long)
    store.delete(short)


def test_expired_sets_make_room_for_new_ones(store: SharedMemoryStore) -> None:
    large = tensors(9 * MIB)
    for now in range(0, 1000, 10):
        store.put(large, ttl_s=10, now=now)


def test_a_slot_is_used_again_instead_of_a_new_file(
    store: SharedMemoryStore, shm_directory: Path
) -> None:
    for seed in range(10):
        ref = store.put(tensors(seed=seed), ttl_s=60, now=0)
        store.get(ref)
        store.delete(ref)

    assert len(slot_files(shm_directory)) == 1


def test_small_sets_leave_the_slots_of_large_ones_alone(
    store: SharedMemoryStore, shm_directory: Path
) -> None:
    store.delete(store.put(tensors(8 * MIB), ttl_s=60, now=0))
    store.put(tensors(1000), ttl_s=60, now=0)

    assert len(slot_files(shm_directory)) == 2


def test_files_never_exceed_the_bound(store: SharedMemoryStore, shm_directory: Path) -> None:
    random = Random(7)
    sets = [tensors(1000), tensors(MIB), tensors(5 * MIB)]
    held = []
    for _ in range(300):
        try:
            held.append(store.put(random.choice(sets), ttl_s=60, now=0))
        except ExhaustedError:
            store.delete(held.pop(random.randrange(len(held))))
        assert sum(path.stat().st_size for path in slot_files(shm_directory)) <= 16 * MIB


def test_a_slot_that_is_read_is_not_written(store: SharedMemoryStore) -> None:
    reading, written = threading.Event(), threading.Event()
    check = slots._check

    def slowly(view: memoryview, generation: int, size_bytes: int) -> None:
        check(view, generation, size_bytes)
        reading.set()
        written.wait()

    ref = store.put(tensors(seed=1), ttl_s=60, now=0)
    found: list[bool] = []
    with patch("tridentserve.store.slots._check", slowly):
        reader = threading.Thread(
            target=lambda: found.append(dict(store.get(ref)) == tensors(seed=1))
        )
        reader.start()
        reading.wait()
        store.delete(ref)
        second = store.put(tensors(seed=2), ttl_s=60, now=0)
        written.set()
        reader.join()

    assert found == [True]
    assert second.key.split("/")[1] != ref.key.split("/")[1]
    assert dict(store.get(second)) == tensors(seed=2)


def test_a_slot_that_is_being_written_is_not_read(store: SharedMemoryStore) -> None:
    old = store.put(tensors(seed=1), ttl_s=60, now=0)
    store.delete(old)
    label = slots.Slot.label
    seen: list[type[BaseException]] = []

    def look(slot: slots.Slot, generation: int, size_bytes: int) -> None:
        try:
            store.get(old)
        except TensorMissingError as error:
            seen.append(type(error))
        label(slot, generation, size_bytes)

    with patch("tridentserve.store.slots.Slot.label", look):
        new = store.put(tensors(seed=2), ttl_s=60, now=0)

    assert seen == [TensorMissingError]
    assert new.key.split("/")[:2] == old.key.split("/")[:2]


def test_a_put_that_fails_half_way_gives_its_slot_back(
    store: SharedMemoryStore, shm_directory: Path
) -> None:
    broken = tensors()
    broken["data"].data.release()
    for _ in range(20):
        with pytest.raises(ValueError, match="released"):
            store.put(broken, ttl_s=60, now=0)
    ref = store.put(tensors(), ttl_s=60, now=0)

    assert len(slot_files(shm_directory)) == 1
    assert dict(store.get(ref)) == tensors()


def test_a_full_file_system_is_an_answer_and_no_crash(
    store: SharedMemoryStore, shm_directory: Path
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch("os.posix_fallocate", side_effect=full), pytest.raises(ExhaustedError, match="room"):
        store.put(tensors(), ttl_s=60, now=0)
    assert slot_files(shm_directory) == []
    store.put(tensors(), ttl_s=60, now=0)


def test_a_process_without_descriptors_left_is_a_full_store_and_no_crash(
    store: SharedMemoryStore, shm_directory: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ref = store.put(tensors(), ttl_s=60, now=0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(ExhaustedError, match="Too many open files"):
            store.put(tensors(seed=2), ttl_s=60, now=0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert len(slot_files(shm_directory)) == 1
    assert dict(store.get(ref)) == tensors()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.ENOMEM])
@pytest.mark.parametrize("call", ["os.open", "tridentserve.store.slots.mmap.mmap"])
def test_a_readers_own_trouble_does_not_make_a_set_missing(
    shm_directory: Path, call: str, number: int
) -> None:
    producer = SharedMemoryStore(shm_directory, capacity_bytes=16 * MIB)
    consumer = SharedMemoryStore(shm_directory, capacity_bytes=16 * MIB)
    ref = producer.put(tensors(), ttl_s=60, now=0)

    trouble = OSError(number, os.strerror(number))
    with (
        patch(call, side_effect=trouble),
        pytest.raises(UnavailableError, match=os.strerror(number)),
    ):
        consumer.get(ref)
    assert dict(consumer.get(ref)) == tensors()
    consumer.close()
    producer.close()


def test_a_folder_of_an_owner_that_is_gone_makes_its_sets_missing(
    shm_directory: Path,
) -> None:
    producer = SharedMemoryStore(shm_directory, capacity_bytes=16 * MIB)
    consumer = SharedMemoryStore(shm_directory, capacity_bytes=16 * MIB)
    ref = producer.put(tensors(), ttl_s=60, now=0)
    producer.close()

    with pytest.raises(TensorMissingError, match="is gone"):
        consumer.get(ref)
    consumer.close()


@pytest.mark.parametrize("content", [b"", b"x", bytes(64), bytes(4096)])
def test_a_file_that_is_no_slot_is_refused(
    store: SharedMemoryStore, shm_directory: Path, content: bytes
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    (path,) = slot_files(shm_directory)
    path.unlink()
    path.write_bytes(content)

    with pytest.raises(TensorCorruptedError):
        store.get(ref)


def test_a_slot_shorter_than_it_says_is_refused(
    store: SharedMemoryStore, shm_directory: Path
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    (path,) = slot_files(shm_directory)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: MIB // 2])

    with pytest.raises(TensorCorruptedError):
        store.get(ref)


def test_a_link_out_of_the_directory_is_not_followed(
    store: SharedMemoryStore, shm_directory: Path
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    (path,) = slot_files(shm_directory)
    path.rename(shm_directory / "domain.elsewhere")
    path.symlink_to(shm_directory / "domain.elsewhere")

    with pytest.raises(TensorMissingError):
        store.get(ref)
    (shm_directory / "domain.elsewhere").unlink()


def test_pages_of_removed_files_are_not_kept_mapped(shm_directory: Path) -> None:
    producer = SharedMemoryStore(shm_directory, capacity_bytes=16 * MIB)
    consumer = SharedMemoryStore(shm_directory, capacity_bytes=16 * MIB)
    consumer.get(producer.put(tensors(), ttl_s=60, now=0))
    folder = f"owner-{producer._owner.id}"
    producer.close()
    consumer.reap(now=0)
    maps = Path("/proc/self/maps").read_text()

    assert folder not in maps
    consumer.close()


def test_a_reader_maps_a_bounded_number_of_files(shm_directory: Path) -> None:
    producer = SharedMemoryStore(shm_directory, capacity_bytes=256 * MIB)
    consumer = SharedMemoryStore(shm_directory, capacity_bytes=MIB)
    for ref in [producer.put(tensors(1000, seed), ttl_s=60, now=0) for seed in range(80)]:
        consumer.get(ref)

    assert len(consumer._reader._mappings) == slots._MAPPINGS_KEPT
    consumer.close()
    producer.close()


def test_descriptors_do_not_pile_up(store: SharedMemoryStore, shm_directory: Path) -> None:
    def use() -> int:
        ref = store.put(tensors(), ttl_s=60, now=0)
        store.get(ref)
        store.delete(ref)
        with pytest.raises(TensorMissingError):
            store.get(ref)
        return len(descriptors(shm_directory))

    first = use()

    assert first > 0
    assert [use() for _ in range(20)] == [first] * 20


def descriptors(directory: Path) -> list[str]:
    """Files below a directory that this process holds open; others come and go meanwhile."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(f"{directory}/")]


def test_a_directory_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be used as shared memory"):
        SharedMemoryStore(tmp_path / "nowhere", capacity_bytes=MIB)
