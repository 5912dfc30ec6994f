"""What every store promises, run against each of them."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.tensors import Tensor, TensorInfo, TensorRef
from tridentserve.errors import (
    ExhaustedError,
    TensorCorruptedError,
    TensorMissingError,
    TensorUnavailableError,
    UnavailableError,
)
from tridentserve.store.base import TensorStore
from tridentserve.store.memory import MemoryStore
from tridentserve.store.redis import RedisStore
from tridentserve.store.shm import SharedMemoryStore

if TYPE_CHECKING:
    from tests.store.conftest import RedisServer

MIB = 1 << 20
CAPACITY_BYTES = 16 * MIB
Open = Callable[[], TensorStore]


@pytest.fixture(params=["memory", "shm", "redis"])
def open_store(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens stores of 16 MB; what a second one is to the first depends on the kind."""
    opened: list[TensorStore] = []

    def remember(store: TensorStore) -> TensorStore:
        opened.append(store)
        return store

    if request.param == "memory":
        yield lambda: remember(MemoryStore(capacity_bytes=CAPACITY_BYTES))
    elif request.param == "shm":
        directory: Path = request.getfixturevalue("shm_directory")
        yield lambda: remember(SharedMemoryStore(directory, capacity_bytes=CAPACITY_BYTES))
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        with server.client() as client:
            used = int(client.info("memory")["used_memory"])
        server.set("maxmemory", str(used + CAPACITY_BYTES))
        yield lambda: remember(RedisStore(server.url, prefix="test", timeout_s=10))
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Open) -> TensorStore:
    return open_store()


def tensors(size_bytes: int = 3 * MIB + 17, seed: int = 1) -> dict[str, Tensor]:
    random = Random(seed)
    return {
        "latents": Tensor(
            dtype="uint8", shape=(size_bytes,), data=memoryview(random.randbytes(size_bytes))
        ),
        "pooled": Tensor(dtype="bfloat16", shape=(2, 3), data=memoryview(random.randbytes(12))),
        "empty": Tensor(dtype="float32", shape=(0, 4), data=memoryview(b"")),
        "scalar": Tensor(dtype="int64", shape=(), data=memoryview(random.randbytes(8))),
    }


def test_a_set_comes_back_as_it_was_put(store: TensorStore) -> None:
    put = tensors()
    ref = store.put(put, ttl_s=60, now=1000)
    found = store.get(ref)

    assert list(found) == list(put)
    assert dict(found) == put
    assert (ref.store, ref.domain, ref.expires_s) == (store.name, store.domain, 1060)
    assert [info.name for info in ref.tensors] == list(put)
    assert ref.size_bytes >= sum(tensor.data.nbytes for tensor in put.values())


@pytest.mark.parametrize("size_bytes", [0, 1, MIB - 256, MIB, MIB + 1, 5 * MIB])
def test_every_size_comes_back(store: TensorStore, size_bytes: int) -> None:
    put = tensors(size_bytes)

    assert dict(store.get(store.put(put, ttl_s=60, now=0))) == put


def test_an_empty_set_comes_back(store: TensorStore) -> None:
    assert dict(store.get(store.put({}, ttl_s=60, now=0))) == {}


def test_sets_do_not_mix(store: TensorStore) -> None:
    refs = [store.put(tensors(100_000, seed), ttl_s=60, now=0) for seed in range(20)]

    assert [dict(store.get(ref)) for ref in refs] == [tensors(100_000, seed) for seed in range(20)]


def test_the_producers_memory_may_change_after_put(store: TensorStore) -> None:
    data = bytearray(100_000)
    ref = store.put(
        {"a": Tensor(dtype="uint8", shape=(100_000,), data=memoryview(data))}, ttl_s=60, now=0
    )
    data[:] = b"\1" * 100_000

    assert not any(store.get(ref)["a"].data)


def test_what_was_read_stays_whatever_happens_to_the_store(store: TensorStore) -> None:
    found = store.get(store.put(tensors(seed=1), ttl_s=60, now=0))
    ref = store.put(tensors(seed=1), ttl_s=60, now=0)
    again = store.get(ref)
    store.delete(ref)
    for seed in range(2, 6):
        store.delete(store.put(tensors(seed=seed), ttl_s=60, now=0))
    store.close()

    assert dict(found) == dict(again) == tensors(seed=1)


def test_what_was_read_belongs_to_the_reader(store: TensorStore) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    store.get(ref)["latents"].data[:10] = bytes(10)

    assert dict(store.get(ref)) == tensors()


def test_a_deleted_set_is_missing_and_deleting_it_again_is_no_error(store: TensorStore) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    other = store.put(tensors(seed=2), ttl_s=60, now=0)
    store.delete(ref)
    store.delete(ref)

    with pytest.raises(TensorMissingError):
        store.get(ref)
    assert dict(store.get(other)) == tensors(seed=2)


def test_a_reference_does_not_lead_to_a_later_set(store: TensorStore) -> None:
    old = store.put(tensors(seed=1), ttl_s=60, now=0)
    store.delete(old)
    store.put(tensors(seed=2), ttl_s=60, now=0)

    with pytest.raises(TensorMissingError):
        store.get(old)
    store.delete(old)


def test_deleting_by_an_old_reference_leaves_later_sets_alone(store: TensorStore) -> None:
    old = store.put(tensors(seed=1), ttl_s=60, now=0)
    store.delete(old)
    new = store.put(tensors(seed=2), ttl_s=60, now=0)
    store.delete(old)

    assert dict(store.get(new)) == tensors(seed=2)


def fill(store: TensorStore) -> list[TensorRef]:
    """Put sets with seeds 0, 1, 2, … until no more fits."""
    refs = []
    for seed in range(20):
        try:
            refs.append(store.put(tensors(seed=seed), ttl_s=60, now=0))
        except ExhaustedError:
            return refs
    raise AssertionError("the store has no bound")


def test_a_full_store_refuses_and_keeps_what_it_has(store: TensorStore) -> None:
    refs = fill(store)

    assert len(refs) >= 3
    assert [dict(store.get(ref)) for ref in refs] == [
        tensors(seed=seed) for seed in range(len(refs))
    ]


def test_a_full_store_takes_more_once_something_is_deleted(store: TensorStore) -> None:
    store.delete(fill(store)[0])

    assert dict(store.get(store.put(tensors(seed=9), ttl_s=60, now=0))) == tensors(seed=9)


def test_space_is_found_again_for_other_sizes(store: TensorStore) -> None:
    for size_bytes in (100_000, 1_000_000, 3_000_000, 6 * MIB, 200_000, 5 * MIB):
        for ref in [store.put(tensors(size_bytes), ttl_s=60, now=0) for _ in range(2)]:
            store.delete(ref)


def test_a_set_larger_than_the_store_is_refused(store: TensorStore) -> None:
    with pytest.raises(ExhaustedError):
        store.put(tensors(2 * CAPACITY_BYTES), ttl_s=60, now=0)

    assert dict(store.get(store.put(tensors(), ttl_s=60, now=0))) == tensors()


def test_references_from_elsewhere_are_missing(store: TensorStore) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    strangers = [
        replace(ref, store="cuda"),
        replace(ref, key="../../../etc/passwd"),
        replace(ref, key=""),
        replace(ref, key=ref.key + "0"),
        replace(ref, key=ref.key[::-1]),
        replace(ref, key="0" * 32 + "/0/1"),
    ]
    if store.domain:
        strangers.append(replace(ref, domain=MemoryDomain("another")))
        strangers.append(replace(ref, domain=None))

    for stranger in strangers:
        with pytest.raises(TensorMissingError):
            store.get(stranger)
        store.delete(stranger)
    assert dict(store.get(ref)) == tensors()


def test_a_reference_that_promises_otherwise_is_refused(store: TensorStore) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    liars = [
        replace(ref, tensors=ref.tensors[1:]),
        replace(ref, tensors=(TensorInfo(name="x", dtype="uint8", shape=(1,)), *ref.tensors[1:])),
    ]
    if store.name != "memory":  # it knows the size itself
        liars += [replace(ref, size_bytes=size) for size in (0, 1, -1, 1 << 20, 1 << 62)]
    for liar in liars:
        with pytest.raises(TensorUnavailableError):
            store.get(liar)


def test_a_set_that_is_promised_with_other_types_is_corrupted(store: TensorStore) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    info = replace(ref.tensors[0], dtype="int8")

    with pytest.raises(TensorCorruptedError):
        store.get(replace(ref, tensors=(info, *ref.tensors[1:])))


def test_closing_deletes_and_refuses(open_store: Open) -> None:
    store = open_store()
    ref = store.put(tensors(), ttl_s=60, now=0)
    store.close()
    store.close()

    with pytest.raises(UnavailableError):
        store.put(tensors(), ttl_s=60, now=0)
    with pytest.raises(UnavailableError):
        store.get(ref)
    store.delete(ref)
    store.reap(now=0)


def test_threads_may_use_one_store_at_the_same_time(store: TensorStore) -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for number in range(15):
                put = tensors(200_000 + 1000 * number, seed * 100 + number)
                ref = store.put(put, ttl_s=60, now=0)
                assert dict(store.get(ref)) == put
                store.delete(ref)
        except BaseException as error:  # noqa: BLE001 a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
