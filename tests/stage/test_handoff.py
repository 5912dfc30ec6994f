"""Stores that are away, full or frozen: what is tried again and for how long, and who waits."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import repeat

import pytest
from prometheus_client import CollectorRegistry

from tridentserve.domain.ids import MemoryDomain, PipelineName, PoolName, SegmentId
from tridentserve.domain.stages import Stage
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import (
    ExhaustedError,
    TensorCorruptedError,
    TensorMissingError,
    TridentServeError,
    UnavailableError,
)
from tridentserve.stage import patience
from tridentserve.stage.handoff import Handoff
from tridentserve.stage.patience import PATIENCE_S, Patience
from tridentserve.stage.references import References
from tridentserve.store.base import TensorStore
from tridentserve.store.memory import MemoryStore
from tridentserve.store.opening import Stores
from tridentserve.telemetry.metrics import WorkerMetrics

TENSORS = {"a": Tensor(dtype="uint8", shape=(3,), data=memoryview(b"fox"))}


class MoodyStore(MemoryStore):
    """A network store whose next calls fail as told."""

    def __init__(self) -> None:
        """Begin as one that works."""
        super().__init__(name="redis", network=True)
        self._failures: Iterator[Exception] = iter(())
        self.calls = 0

    def fail(self, failures: Iterable[Exception]) -> None:
        """Raise these, one a call."""
        self._failures, self.calls = iter(failures), 0

    def put(self, tensors: Mapping[str, Tensor], *, ttl_s: float, now: float) -> TensorRef:
        """See `TensorStore.put`."""
        self._fail()
        return super().put(tensors, ttl_s=ttl_s, now=now)

    def get(self, ref: TensorRef) -> Mapping[str, Tensor]:
        """See `TensorStore.get`."""
        self._fail()
        return super().get(ref)

    def _fail(self) -> None:
        self.calls += 1
        if (failure := next(self._failures, None)) is not None:
            raise failure


class FrozenStore(MemoryStore):
    """A network store that answers nobody before it is thawed."""

    def __init__(self) -> None:
        """Begin frozen."""
        super().__init__(name="redis", network=True)
        self.thawed = threading.Event()
        self.waiting = threading.Semaphore(0)

    def put(self, tensors: Mapping[str, Tensor], *, ttl_s: float, now: float) -> TensorRef:
        """See `TensorStore.put`."""
        self.waiting.release()
        assert self.thawed.wait(60)
        return super().put(tensors, ttl_s=ttl_s, now=now)


class Time:
    """A clock that pauses alone move."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now_s, self.pauses = 0.0, list[float]()

    async def sleep(self, seconds: float, given_up: asyncio.Event) -> None:
        """See `patience.Sleep`."""
        self.pauses.append(seconds)
        self.now_s += seconds


class Side:
    """A worker's stores in a time of their own."""

    def __init__(self, *, local: TensorStore | None, network: TensorStore | None) -> None:
        """Put them together."""
        self.time = Time()
        self.handoff = Handoff(
            stores=Stores(local=local, network=network),
            references=References(),
            metrics=WorkerMetrics(
                CollectorRegistry(), PipelineName("team/flux"), PoolName("pool"), [Stage.ENCODE]
            ),
            ttl_s=60.0,
            now=lambda: 0.0,
            patience=Patience(clock=lambda: self.time.now_s, sleep=self.time.sleep),
        )

    async def put(self, reader: MemoryDomain | None = None) -> TensorRef:
        """Put for a reader."""
        return await self.handoff.put(
            Stage.ENCODE,
            SegmentId("r1/encode/1"),
            TENSORS,
            reader=reader,
            ttl_s=0.0,
            given_up=asyncio.Event(),
        )

    async def fetch(self, ref: TensorRef) -> bytes:
        """Read it."""
        found = await self.handoff.fetch(Stage.ENCODE, ref, given_up=asyncio.Event())
        return bytes(found["a"].data)


@asynccontextmanager
async def _side(
    *, local: TensorStore | None = None, network: TensorStore | None = None
) -> AsyncIterator[Side]:
    side = Side(local=local, network=network)
    try:
        yield side
    finally:
        await side.handoff.close()


def _away() -> Exception:
    return UnavailableError("connection refused")


def _full() -> Exception:
    return ExhaustedError("Redis is full")


@pytest.mark.parametrize("failure", [_away, _full])
async def test_a_put_is_tried_until_the_store_is_back_with_growing_pauses(
    failure: Callable[[], Exception],
) -> None:
    store = MoodyStore()
    async with _side(network=store) as side:
        store.fail(failure() for _ in range(4))
        ref = await side.put()

        assert await side.fetch(ref) == b"fox"
        assert side.time.pauses == sorted(set(side.time.pauses))
        assert len(side.time.pauses) == 4


async def test_a_fetch_is_tried_until_the_store_is_back() -> None:
    store = MoodyStore()
    async with _side(network=store) as side:
        ref = await side.put()
        store.fail([_away(), _away()])

        assert await side.fetch(ref) == b"fox"
        assert store.calls == 3


@pytest.mark.parametrize(
    ("failure", "reason"), [(_away, "STORE_UNREACHABLE"), (_full, "STORE_FULL")]
)
async def test_what_does_not_end_within_its_patience_is_told_as_it_is(
    failure: Callable[[], Exception], reason: str
) -> None:
    store = MoodyStore()
    async with _side(network=store) as side:
        store.fail(repeat(failure()))
        with pytest.raises((ExhaustedError, UnavailableError)) as caught:
            await side.put()
        store.fail(())

    assert isinstance(caught.value, (ExhaustedError, UnavailableError))
    assert caught.value.reason == reason
    assert PATIENCE_S - max(side.time.pauses) < side.time.now_s <= PATIENCE_S


@pytest.mark.parametrize("failure", [TensorMissingError("gone"), TensorCorruptedError("torn")])
async def test_what_is_gone_or_corrupted_is_asked_for_once(failure: TridentServeError) -> None:
    store = MoodyStore()
    async with _side(network=store) as side:
        ref = await side.put()
        store.fail([failure])
        with pytest.raises(type(failure)):
            await side.fetch(ref)

    assert store.calls == 1


async def test_a_network_store_that_is_not_configured_is_not_waited_for() -> None:
    async with _side(local=MemoryStore(name="shm")) as side:
        with pytest.raises(UnavailableError) as caught:
            await side.put()

    assert caught.value.reason == "STORE_UNREACHABLE"
    assert side.time.pauses == []


async def test_a_store_that_takes_all_patience_to_fail_once_is_not_asked_again() -> None:
    store = MoodyStore()
    async with _side(network=store) as side:

        def failures() -> Iterator[Exception]:
            side.time.now_s += PATIENCE_S
            yield _away()

        store.fail(failures())
        with pytest.raises(UnavailableError):
            await side.put()

    assert store.calls == 1


async def test_a_full_shared_memory_falls_back_to_the_network() -> None:
    local = MemoryStore(name="shm", capacity_bytes=100)
    async with _side(local=local, network=MemoryStore(name="redis", network=True)) as side:
        used = [await side.put(local.domain) for _ in range(4)]

        assert [ref.store for ref in used] == ["shm", "redis", "redis", "redis"]
        assert {await side.fetch(ref) for ref in used} == {b"fox"}

    assert side.time.pauses == []


async def test_a_full_shared_memory_without_a_network_is_waited_for() -> None:
    local = MemoryStore(name="shm", capacity_bytes=1)
    async with _side(local=local) as side:
        with pytest.raises(ExhaustedError):
            await side.put(local.domain)

    assert side.time.pauses


async def test_a_pause_ends_at_once_when_it_is_given_up() -> None:
    given_up = asyncio.Event()
    given_up.set()

    async with asyncio.timeout(20):
        await patience.sleep(3600.0, given_up)


@pytest.mark.parametrize("full", [False, True])
async def test_hops_by_shared_memory_do_not_wait_behind_a_frozen_network_store(full: bool) -> None:
    local, network = MemoryStore(name="shm", capacity_bytes=100), FrozenStore()
    async with _side(local=local, network=network) as side:
        ref = await side.put(local.domain)
        reader = local.domain if full else None
        frozen = [asyncio.ensure_future(side.put(reader)) for _ in range(8)]
        try:
            for _ in range(4):
                assert await asyncio.to_thread(network.waiting.acquire, timeout=20)
            async with asyncio.timeout(20):
                assert await side.fetch(ref) == b"fox"
                await side.handoff.release([ref])
                assert await side.fetch(await side.put(local.domain)) == b"fox"
        finally:
            network.thawed.set()
            await asyncio.gather(*frozen)

    assert ref.store == "shm"
    assert local.used_bytes == 0
