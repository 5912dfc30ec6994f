"""Addresses, GPUs and restarts: what is handed out, to whom, and when."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.errors import ExhaustedError
from tridentserve_local.addresses import AddressBlock, AddressPool
from tridentserve_local.backoff import Backoff, BackoffPolicy, should_restart
from tridentserve_local.devices import DevicePool, made_up_gpus


def test_every_owner_gets_an_address_of_its_own_and_keeps_it() -> None:
    pool = AddressPool("127.70")

    first, second = pool.allocate("a"), pool.allocate("b")

    assert first != second
    assert pool.allocate("a") == first
    assert {address.rsplit(".", 2)[0] for address in (first, second)} == {"127.70"}


def test_an_address_given_back_is_the_last_to_be_given_out_again() -> None:
    pool = AddressPool("127.70")
    first = pool.allocate("a")
    pool.release("a")

    others = {pool.allocate(f"b{i}") for i in range(1000)}

    assert first not in others


def test_all_addresses_can_be_given_out_and_not_one_more() -> None:
    pool = AddressPool("127.70")
    given_out = {pool.allocate(str(i)) for i in range(254 * 254)}

    with pytest.raises(ExhaustedError):
        pool.allocate("one more")

    assert len(given_out) == 254 * 254
    assert not any(address.startswith("127.70.0.") for address in given_out)  # those of nodes
    pool.release("7")
    assert pool.allocate("one more") in given_out


def test_releasing_what_one_does_not_have_is_nothing() -> None:
    pool = AddressPool("127.70")
    pool.release("nobody")

    assert pool.allocate("a") != pool.allocate("b")


def test_a_block_has_one_holder_at_a_time() -> None:
    octets = range(250, 252)
    first, second = AddressBlock.take(octets), AddressBlock.take(octets)
    try:
        assert {first.octet, second.octet} == {250, 251}
        with pytest.raises(ExhaustedError, match="all 2 blocks"):
            AddressBlock.take(octets)
        first.close()
        third = AddressBlock.take(octets)
        assert third.octet == first.octet
        third.close()
    finally:
        first.close()
        second.close()


def test_a_block_is_free_again_when_its_holder_is_killed() -> None:
    program = """
import sys, time
from tridentserve_local.addresses import AddressBlock
block = AddressBlock.take(range(252, 253)); print(block.octet, flush=True); time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"252\n"
        with pytest.raises(ExhaustedError):
            AddressBlock.take(range(252, 253))
        holder.kill()

    AddressBlock.take(range(252, 253)).close()


def test_node_addresses_are_bounded() -> None:
    block = AddressBlock.take(range(253, 254))
    try:
        assert block.host_address(0) == "127.253.0.1"
        with pytest.raises(ValueError, match="at most 250 nodes"):
            block.host_address(250)
    finally:
        block.close()


def test_made_up_gpus_stay_the_same_and_differ_between_nodes() -> None:
    first, second = made_up_gpus("c", "node-1", 8), made_up_gpus("c", "node-2", 8)

    assert first == made_up_gpus("c", "node-1", 8)
    assert len({*first, *second}) == 16
    assert all(gpu.startswith("GPU-") for gpu in first)


def test_too_few_gpus_take_none() -> None:
    pool = DevicePool(("g1", "g2"))
    pool.allocate("a", 1)

    with pytest.raises(ExhaustedError, match="2 GPUs wanted, 1 of 2 free"):
        pool.allocate("b", 2)

    assert pool.allocate("c", 1) == ("g2",)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=30))
def test_no_device_is_ever_held_twice(calls: list[tuple[str, int]]) -> None:
    pool = DevicePool(tuple(f"g{i}" for i in range(4)))
    held: dict[str, set[str]] = {}
    for holder, count in calls:
        if count == 0:
            pool.release(holder)
            held.pop(holder, None)
            continue
        try:
            held[holder] = set(pool.allocate(holder, count))
        except ExhaustedError:
            continue
        everything = [device for devices in held.values() for device in devices]
        assert len(everything) == len(set(everything)) <= 4
        assert dict(pool.holders()) == {d: h for h, devices in held.items() for d in devices}


def test_the_first_restart_is_at_once_and_the_next_wait_twice_as_long_each() -> None:
    backoff = Backoff(BackoffPolicy(initial_s=1, factor=2, limit_s=10, reset_after_s=60))

    assert [backoff.next_delay_s(0.1) for _ in range(7)] == [0, 1, 2, 4, 8, 10, 10]


def test_a_container_that_ran_for_long_starts_over() -> None:
    backoff = Backoff(BackoffPolicy(initial_s=1, reset_after_s=60))
    for _ in range(5):
        backoff.next_delay_s(0)

    assert backoff.next_delay_s(59.9) > 0
    assert backoff.next_delay_s(60) == 0
    assert backoff.next_delay_s(0) == 1


def test_a_thousand_crashes_wait_no_longer_than_the_limit() -> None:
    backoff = Backoff(BackoffPolicy())

    assert max(backoff.next_delay_s(0) for _ in range(1000)) == BackoffPolicy().limit_s


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 137, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_policy_decides_whether_a_container_runs_again(
    policy: str, code: int, expected: bool
) -> None:
    assert should_restart(policy, code) is expected
