"""Redis away, full, restarted, set up or tampered with: an error of ours, and no wrong set."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import (
    ExhaustedError,
    InvalidFieldError,
    TensorCorruptedError,
    TensorMissingError,
    UnavailableError,
)
from tridentserve.store.redis import CHUNK_BYTES, LEASE_S, RedisStore
from tridentserve_local.testing import eventually

if TYPE_CHECKING:
    from tests.store.conftest import RedisServer

MIB = 1 << 20


@pytest.fixture
def store(redis_server: "RedisServer") -> Iterator[RedisStore]:
    store = RedisStore(redis_server.url, prefix="test", timeout_s=5)
    yield store
    store.close()


def tensors(size_bytes: int = 3 * MIB, seed: int = 1) -> dict[str, Tensor]:
    data = memoryview(Random(seed).randbytes(size_bytes))
    return {"data": Tensor(dtype="uint8", shape=(size_bytes,), data=data)}


def chunk_names(ref: TensorRef) -> list[str]:
    count = -(-ref.size_bytes // CHUNK_BYTES)
    return [f"test:{ref.key}:{number}" for number in range(count)]


@pytest.mark.parametrize("ttl_s", [2.0, 3600.0])
def test_what_a_killed_owner_leaves_is_gone_after_the_lease_at_the_latest(
    store: RedisStore, redis_server: "RedisServer", ttl_s: float
) -> None:
    ref = store.put(tensors(), ttl_s=ttl_s, now=0)
    with redis_server.client() as client:
        left_ms = [client.pttl(name) for name in chunk_names(ref)]

    assert len(left_ms) == 4
    assert all(0 < left <= min(ttl_s, LEASE_S) * 1000 for left in left_ms)


def test_an_owner_that_lives_keeps_its_keys_until_their_own_expiry(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    ref = store.put(tensors(), ttl_s=3600, now=0)
    with redis_server.client() as client:

        def left_s(after_reap_at: float) -> list[float]:
            for name in chunk_names(ref):
                client.pexpire(name, 10_000)  # as if a part of the lease were over
            store.reap(now=after_reap_at)
            return [client.pttl(name) / 1000 for name in chunk_names(ref)]

        assert min(left_s(100.0)) > 15
        assert max(left_s(3595.0)) <= 5
        # A clock that was set back must not stop it.
        assert min(left_s(50.0)) > 15


def test_keys_carry_the_prefix(store: RedisStore, redis_server: "RedisServer") -> None:
    ref = store.put(tensors(), ttl_s=30, now=0)

    assert sorted(redis_server.keys()) == sorted(name.encode() for name in chunk_names(ref))


def test_an_orphan_is_discarded_whole_by_whoever_knows_its_reference(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    orphan, other = (store.put(tensors(seed=seed), ttl_s=30, now=0) for seed in (1, 2))
    reader = RedisStore(redis_server.url, prefix="test")
    reader.delete(orphan)
    assert reader.get(orphan)

    for _ in range(2):
        reader.discard(orphan)
    reader.discard(replace(other, store="shm"))
    reader.discard(replace(other, size_bytes=1 << 60))

    assert sorted(redis_server.keys()) == sorted(name.encode() for name in chunk_names(other))
    reader.close()


@pytest.mark.parametrize("number", range(4))
def test_a_chunk_that_is_gone_makes_the_set_missing(
    store: RedisStore, redis_server: "RedisServer", number: int
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    with redis_server.client() as client:
        client.delete(chunk_names(ref)[number])

    with pytest.raises(TensorMissingError):
        store.get(ref)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("change", ["flip", "shorten", "lengthen", "empty"])
def test_a_changed_chunk_is_noticed(
    store: RedisStore, redis_server: "RedisServer", number: int, change: str
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    name = chunk_names(ref)[number]
    with redis_server.client() as client:
        data = bytearray(client.get(name))
        match change:
            case "flip":
                data[len(data) // 2] ^= 1
            case "shorten":
                del data[-1]
            case "lengthen":
                data += b"\0"
            case "empty":
                data.clear()
        client.set(name, bytes(data), ex=60)

    with pytest.raises(TensorCorruptedError):
        store.get(ref)


def test_chunks_in_another_order_are_noticed(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    first, second, *_ = chunk_names(ref)
    with redis_server.client() as client:
        client.rename(first, "test:aside")
        client.rename(second, first)
        client.rename("test:aside", second)

    with pytest.raises(TensorCorruptedError):
        store.get(ref)


@pytest.mark.parametrize("checksum", [None, 0, 1 << 31])
def test_a_reference_with_another_checksum_is_refused(
    store: RedisStore, checksum: int | None
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)

    with pytest.raises(TensorCorruptedError):
        store.get(replace(ref, checksum=checksum))


def test_a_full_server_is_exhausted_and_keeps_nothing_of_the_refused_set(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    kept = store.put(tensors(), ttl_s=60, now=0)
    before = sorted(redis_server.keys())
    redis_server.set("maxmemory", "16mb")

    with pytest.raises(ExhaustedError):
        store.put(tensors(32 * MIB), ttl_s=60, now=0)
    assert sorted(redis_server.keys()) == before
    assert dict(store.get(kept)) == tensors()


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_a_server_that_would_drop_tensors_is_refused(
    store: RedisStore, redis_server: "RedisServer", policy: str
) -> None:
    redis_server.set("maxmemory-policy", policy)
    redis_server.set("maxmemory", "64mb")

    with pytest.raises(UnavailableError, match=f"{policy}.*set it to noeviction"):
        store.put(tensors(), ttl_s=60, now=0)
    assert redis_server.keys() == []
    redis_server.set("maxmemory-policy", "noeviction")
    store.put(tensors(), ttl_s=60, now=0)


def test_a_server_whose_state_may_not_be_asked_is_used(redis_server: "RedisServer") -> None:
    with redis_server.client() as client:
        client.acl_setuser(
            "worker", enabled=True, nopass=True, keys="*", commands=["+@all", "-info"]
        )
    store = RedisStore(f"redis://worker:x@127.0.0.1:{redis_server.port}/0", prefix="test")

    assert dict(store.get(store.put(tensors(), ttl_s=60, now=0))) == tensors()
    store.close()


def test_a_server_that_refuses_is_unavailable(redis_server: "RedisServer") -> None:
    with redis_server.client() as client:
        client.acl_setuser(
            "reader", enabled=True, nopass=True, keys="*", commands=["+@all", "-set"]
        )
    store = RedisStore(f"redis://reader:x@127.0.0.1:{redis_server.port}/0", prefix="test")

    with pytest.raises(UnavailableError, match="refuses"):
        store.put(tensors(), ttl_s=60, now=0)
    store.close()


def test_a_server_that_is_not_there_is_unavailable_and_may_come_later(
    redis_server: "RedisServer",
) -> None:
    redis_server.stop()
    store = RedisStore(redis_server.url, prefix="test", timeout_s=5)

    with pytest.raises(UnavailableError, match="cannot be reached"):
        store.put(tensors(), ttl_s=60, now=0)
    redis_server.start()
    assert dict(store.get(store.put(tensors(), ttl_s=60, now=0))) == tensors()
    store.close()


def test_after_a_restart_old_sets_are_missing_and_new_ones_work_at_once(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    redis_server.stop()
    with pytest.raises(UnavailableError):
        store.get(ref)
    redis_server.start()

    with pytest.raises(TensorMissingError):
        store.get(ref)
    store.delete(ref)
    assert dict(store.get(store.put(tensors(seed=2), ttl_s=60, now=0))) == tensors(seed=2)


def test_a_restart_between_two_calls_is_not_noticed(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    store.put(tensors(), ttl_s=60, now=0)
    redis_server.stop()
    redis_server.start()

    store.put(tensors(), ttl_s=60, now=0)


def test_what_could_not_be_deleted_is_deleted_once_the_server_is_back(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-unlink")
        with pytest.raises(UnavailableError, match="refuses"):
            store.delete(ref)
        assert len(redis_server.keys()) == 4
        client.execute_command("ACL", "SETUSER", "default", "+unlink")
    store.reap(now=1)

    assert redis_server.keys() == []


def test_leases_are_prolonged_while_the_server_refuses_to_delete(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    kept, doomed = (store.put(tensors(seed=seed), ttl_s=3600, now=0) for seed in (1, 2))
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-unlink")
        with pytest.raises(UnavailableError, match="refuses"):
            store.delete(doomed)
        for name in chunk_names(kept):
            client.pexpire(name, 10_000)  # as if a part of the lease were over
        store.reap(now=100)
        left_s = [client.pttl(name) / 1000 for name in chunk_names(kept)]
        client.execute_command("ACL", "SETUSER", "default", "+unlink")

    assert min(left_s) > 15


def test_a_server_that_hangs_is_unavailable_after_the_timeout(
    store: RedisStore, redis_server: "RedisServer"
) -> None:
    ref = store.put(tensors(), ttl_s=60, now=0)
    hasty = RedisStore(redis_server.url, prefix="test", timeout_s=0.2)

    def is_connected() -> bool:
        with suppress(UnavailableError):
            hasty.delete(hasty.put(tensors(1), ttl_s=60, now=0))
            return True
        return False

    eventually(is_connected, what="a connection on which to send")
    with redis_server.frozen():
        # First, while there is the connection; and little, so that all of it is on its way.
        with pytest.raises(UnavailableError, match="cannot be reached"):
            hasty.put(tensors(1), ttl_s=60, now=0)
        with pytest.raises(UnavailableError, match="cannot be reached"):
            hasty.get(ref)

    assert dict(store.get(ref)) == tensors()
    # What was on its way is written after all, and deleted, as no reference to it exists.
    eventually(lambda: len(redis_server.keys()) > 4, what="what was on its way")

    def is_deleted() -> bool:
        hasty.reap(now=1)
        return len(redis_server.keys()) == 4

    eventually(is_deleted, what="the end of what was written")
    hasty.close()


def test_reap_keeps_going_while_the_server_is_away(redis_server: "RedisServer") -> None:
    store = RedisStore(redis_server.url, prefix="test", timeout_s=5)
    store.put(tensors(), ttl_s=60, now=0)
    redis_server.stop()
    with pytest.raises(UnavailableError):
        store.put(tensors(), ttl_s=60, now=0)

    store.reap(now=1)
    store.reap(now=100)
    store.close()


def test_a_url_that_is_none_is_refused_without_quoting_its_password() -> None:
    with pytest.raises(InvalidFieldError) as caught:
        RedisStore("redis://:Xk3v/9aQ==@redis.data:6379/0")

    assert caught.value.field == "TRIDENTSERVE_REDIS_URL"
    assert "Xk3v" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:6379", "http://localhost"),
        *("redis://localhost?foo=1", "redis://localhost?protocol=9"),
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidFieldError, match="write redis://"):
        RedisStore(url)
