"""Where a worker puts for a given reader, and where it reads a reference."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tridentserve.domain.ids import MemoryDomain
from tridentserve.domain.tensors import Tensor, TensorRef
from tridentserve.errors import InvalidFieldError, TensorMissingError, UnavailableError
from tridentserve.store.memory import MemoryStore
from tridentserve.store.opening import Stores, open_stores

OURS = MemoryDomain("ours")
TENSORS = {"a": Tensor(dtype="uint8", shape=(1000,), data=memoryview(bytes(range(250)) * 4))}


@pytest.fixture
def network() -> MemoryStore:
    return MemoryStore(name="redis", network=True)


@pytest.fixture
def stores(network: MemoryStore) -> Stores:
    local = MemoryStore(name="shm", domain=OURS, capacity_bytes=4000)
    return Stores(local=local, network=network)


def put(stores: Stores, reader: MemoryDomain | None = OURS) -> TensorRef:
    """Put where it is best for a reader."""
    return stores.targets(reader)[0].put(TENSORS, ttl_s=60, now=0)


@pytest.mark.parametrize(
    ("reader", "targets"),
    [(OURS, ["shm", "redis"]), (MemoryDomain("theirs"), ["redis"]), (None, ["redis"])],
)
def test_the_readers_domain_decides_where_a_set_goes(
    stores: Stores, reader: MemoryDomain | None, targets: list[str]
) -> None:
    assert [store.name for store in stores.targets(reader)] == targets
    assert dict(stores.get(put(stores, reader))) == TENSORS


@pytest.mark.parametrize("local", [None, MemoryStore(domain=OURS)])
def test_a_reader_that_cannot_be_reached_is_said_so(local: MemoryStore | None) -> None:
    stores = Stores(local=local, network=None)

    with pytest.raises(UnavailableError, match="set TRIDENTSERVE_REDIS_URL"):
        stores.targets(MemoryDomain("theirs"))


def test_no_domain_is_advertised_without_a_local_store(network: MemoryStore) -> None:
    assert Stores(local=None, network=network).domain is None
    assert Stores(local=None, network=network).names == ("redis",)


def test_a_store_that_this_worker_does_not_have_is_missing(stores: Stores) -> None:
    ref = put(stores)

    with pytest.raises(TensorMissingError):
        stores.get(replace(ref, store="cuda"))
    stores.delete(replace(ref, store="cuda"))


def test_an_export_is_readable_elsewhere_and_leaves_the_first_alone(
    stores: Stores, network: MemoryStore
) -> None:
    ref = put(stores)
    exported = stores.export(ref, "redis", ttl_s=60, now=0)

    assert exported.store == "redis"
    assert dict(network.get(exported)) == dict(stores.get(ref)) == TENSORS


def test_exporting_to_a_store_that_is_not_there_is_unavailable(stores: Stores) -> None:
    ref = put(stores)

    with pytest.raises(UnavailableError, match="no 'cuda' store"):
        stores.export(ref, "cuda", ttl_s=60, now=0)


def test_exporting_what_is_gone_is_missing(stores: Stores) -> None:
    ref = put(stores)
    stores.delete(ref)

    with pytest.raises(TensorMissingError):
        stores.export(ref, "redis", ttl_s=60, now=0)


def test_reaping_forgets_what_has_expired_in_every_store(stores: Stores) -> None:
    refs = [put(stores, reader) for reader in (OURS, None)]
    stores.reap(now=60)

    for ref in refs:
        with pytest.raises(TensorMissingError):
            stores.get(ref)


def test_closing_closes_every_store(stores: Stores, network: MemoryStore) -> None:
    put(stores, None)
    stores.close()

    assert network.used_bytes == 0


@pytest.fixture
def opened(shm_directory: Path) -> Iterator[Stores]:
    # Nothing listens there: a worker may start before Redis does.
    stores = open_stores(shm_dir=shm_directory, redis_url="redis://127.0.0.1:1/0")
    yield stores
    stores.close()


def test_settings_name_the_stores(opened: Stores) -> None:
    assert opened.names == ("shm", "redis")
    ref = put(opened, opened.domain)
    assert dict(opened.get(ref)) == TENSORS


def test_no_settings_open_nothing() -> None:
    stores = open_stores()

    assert (stores.names, stores.domain) == ((), None)
    stores.close()


def test_a_bad_setting_is_said_before_anything_is_opened(shm_directory: Path) -> None:
    with pytest.raises(InvalidFieldError):
        open_stores(shm_dir=shm_directory, redis_url="nonsense")
    with pytest.raises(UnavailableError):
        open_stores(shm_dir=shm_directory / "nowhere", redis_url="redis://127.0.0.1:1/0")
