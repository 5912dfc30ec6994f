"""Blocks come back when nobody looks at them any more, and not before."""

import gc

import pytest

from tridentserve.store.buffers import BufferPool

MIB = 1 << 20


def test_a_block_comes_back_with_its_last_view() -> None:
    pool = BufferPool()
    block = pool.take(3 * MIB)
    part = block[10:20].cast("B")
    del block
    gc.collect()
    assert pool.idle_bytes() == 0
    del part
    gc.collect()

    assert pool.idle_bytes() == 4 * MIB


def test_blocks_in_use_never_overlap() -> None:
    pool = BufferPool()
    blocks = [pool.take(MIB) for _ in range(6)]
    for number, block in enumerate(blocks):
        block[:] = bytes([number]) * MIB

    assert [set(block) for block in blocks] == [{number} for number in range(6)]


def test_a_block_is_used_again() -> None:
    pool = BufferPool()
    block = pool.take(MIB)
    block[:4] = b"mark"
    del block

    assert bytes(pool.take(MIB - 5)[:4]) == b"mark"


@pytest.mark.parametrize("size_bytes", [0, 1, 65_535, 65_536, 65_537, MIB, MIB + 1])
def test_a_block_is_writable_and_as_long_as_asked(size_bytes: int) -> None:
    block = BufferPool().take(size_bytes)

    assert (block.nbytes, block.format, block.readonly) == (size_bytes, "B", False)


def test_little_is_kept() -> None:
    pool = BufferPool()
    blocks = [pool.take(MIB) for _ in range(10)]
    del blocks
    gc.collect()

    assert pool.idle_bytes() <= 2 * MIB
