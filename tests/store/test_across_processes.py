"""Stores between processes, some of which are killed in the middle of it."""

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from tridentserve.store.redis import LEASE_S

if TYPE_CHECKING:
    from tests.store.conftest import Peer, RedisServer

MIB = 1 << 20
StartPeer = Callable[..., "Peer"]


def checksum(seed: int, size_bytes: int) -> int:
    return zlib.crc32(Random(seed).randbytes(size_bytes))


def slot_files(directory: Path) -> list[Path]:
    return [path for path in directory.glob("owner-*/*") if path.name != "lease"]


@pytest.fixture(params=["shm", "redis"])
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Arguments with which two peers find each other."""
    if request.param == "shm":
        return "shm", str(request.getfixturevalue("shm_directory"))
    server: RedisServer = request.getfixturevalue("redis_server")
    return "redis", server.url


def test_what_one_process_puts_another_reads(place: tuple[str, str], start_peer: StartPeer) -> None:
    producer, consumer = start_peer(*place), start_peer(*place)
    refs = [producer.tell("put", [seed, 5 * MIB + seed]) for seed in range(4)]

    assert [consumer.tell("get", ref) for ref in refs] == [
        checksum(seed, 5 * MIB + seed) for seed in range(4)
    ]
    for ref in refs:
        producer.tell("delete", ref)
    assert consumer.tell("get", refs[0]) == "TensorMissingError"


def test_a_reader_cannot_delete(place: tuple[str, str], start_peer: StartPeer) -> None:
    producer, consumer = start_peer(*place), start_peer(*place)
    ref = producer.tell("put", [1, MIB])
    consumer.tell("delete", ref)

    assert consumer.tell("get", ref) == checksum(1, MIB)


def test_a_slot_or_key_used_again_does_not_answer_to_the_old_reference(
    place: tuple[str, str], start_peer: StartPeer
) -> None:
    producer, consumer = start_peer(*place), start_peer(*place)
    old = producer.tell("put", [1, MIB])
    assert consumer.tell("get", old) == checksum(1, MIB)
    producer.tell("delete", old)
    new = producer.tell("put", [2, MIB])

    assert consumer.tell("get", old) == "TensorMissingError"
    assert consumer.tell("get", new) == checksum(2, MIB)


def test_a_process_that_ends_leaves_nothing(place: tuple[str, str], start_peer: StartPeer) -> None:
    producer, consumer = start_peer(*place), start_peer(*place)
    ref = producer.tell("put", [1, MIB])
    producer.end()

    assert consumer.tell("get", ref) == "TensorMissingError"


def test_a_dead_producers_files_are_reaped_by_whoever_sees_the_lease_free(
    shm_directory: Path, start_peer: StartPeer
) -> None:
    producer, consumer = (start_peer("shm", str(shm_directory)) for _ in range(2))
    ref = producer.tell("put", [1, MIB])
    producer.kill()
    # Until somebody reaps, the set is still there for those who need it.
    assert consumer.tell("get", ref) == checksum(1, MIB)
    consumer.tell("reap", time.time())

    assert consumer.tell("get", ref) == "TensorMissingError"
    assert slot_files(shm_directory) == []


def test_a_producer_killed_in_the_middle_of_a_put_leaves_nothing(
    shm_directory: Path, start_peer: StartPeer
) -> None:
    producer, consumer = (start_peer("shm", str(shm_directory)) for _ in range(2))
    assert producer.tell("put-half", [1, MIB]) == "half"
    assert len(slot_files(shm_directory)) == 1
    producer.kill()
    consumer.tell("reap", time.time())

    assert slot_files(shm_directory) == []


def test_a_new_worker_reaps_the_dead_when_it_starts(
    shm_directory: Path, start_peer: StartPeer
) -> None:
    producer = start_peer("shm", str(shm_directory))
    producer.tell("put", [1, MIB])
    producer.kill()
    start_peer("shm", str(shm_directory)).tell("reap", 0)

    assert slot_files(shm_directory) == []


def test_a_consumer_killed_in_the_middle_of_a_get_does_not_hold_the_slot(
    shm_directory: Path, start_peer: StartPeer
) -> None:
    producer, consumer = (start_peer("shm", str(shm_directory)) for _ in range(2))
    first = producer.tell("put", [1, MIB])
    assert consumer.tell("get-half", first) == "half"
    producer.tell("delete", first)
    # While it is read, another slot is taken; after the reader's death, the same one again.
    second = producer.tell("put", [2, MIB])
    consumer.kill()
    third = producer.tell("put", [3, MIB])

    assert second["key"].split("/")[1] != first["key"].split("/")[1]
    assert third["key"].split("/")[1] == first["key"].split("/")[1]


def test_chunks_of_a_producer_killed_in_the_middle_of_a_put_expire(
    redis_server: "RedisServer", start_peer: StartPeer
) -> None:
    producer = start_peer("redis", redis_server.url)
    assert producer.tell("put-half", [1, 4 * MIB]) == "half"
    producer.kill()
    names = redis_server.keys()
    with redis_server.client() as client:
        left_ms = [client.pttl(name) for name in names]
        client.flushall()

    assert len(left_ms) == 2
    # Nobody prolongs the lease: whatever the set's own time is, the server ends them by then.
    assert all(0 < left <= LEASE_S * 1000 for left in left_ms)


def test_a_consumer_killed_in_the_middle_of_a_get_changes_nothing(
    place: tuple[str, str], start_peer: StartPeer
) -> None:
    producer, victim, consumer = (start_peer(*place) for _ in range(3))
    ref = producer.tell("put", [1, 3 * MIB])
    assert victim.tell("get-half", ref) == "half"
    victim.kill()

    assert consumer.tell("get", ref) == checksum(1, 3 * MIB)


def test_redis_stopped_restarted_and_full_between_processes(
    redis_server: "RedisServer", start_peer: StartPeer
) -> None:
    producer, consumer = (start_peer("redis", redis_server.url) for _ in range(2))
    lost = producer.tell("put", [1, MIB])
    redis_server.stop()
    assert consumer.tell("get", lost) == "UnavailableError"
    assert producer.tell("put", [2, MIB]) == "UnavailableError"
    redis_server.start()
    redis_server.set("maxmemory", "16mb")
    assert consumer.tell("get", lost) == "TensorMissingError"
    kept = producer.tell("put", [3, 4 * MIB])
    assert producer.tell("put", [4, 24 * MIB]) == "ExhaustedError"

    assert consumer.tell("get", kept) == checksum(3, 4 * MIB)
    producer.tell("delete", kept)
    assert redis_server.keys() == []
