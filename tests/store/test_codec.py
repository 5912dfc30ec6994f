"""The codec gives back what it took, and refuses everything else."""

import struct
from dataclasses import replace
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tridentserve.domain.tensors import ITEM_BYTES, Tensor, TensorInfo
from tridentserve.errors import TensorCorruptedError
from tridentserve.store import codec

PREFIX = struct.Struct("<8sIQ")


def tensor(dtype: str, shape: tuple[int, ...], fill: int = 7) -> Tensor:
    return Tensor(
        dtype=dtype,
        shape=shape,
        data=memoryview(bytes([fill]) * (prod(shape) * ITEM_BYTES[dtype])),
    )


def encoded(tensors: dict[str, Tensor]) -> tuple[bytearray, tuple[TensorInfo, ...]]:
    layout = codec.plan(tensors)
    data = bytearray(b"\xff" * layout.size_bytes)
    codec.write(layout, tensors, memoryview(data))
    return data, layout.infos


def with_header(header: bytes, payload: int = 0) -> memoryview:
    """A run of bytes that is right but for its header."""
    size = -(-(PREFIX.size + len(header)) // 64) * 64 + payload
    return memoryview((PREFIX.pack(b"TRDTNSR1", len(header), size) + header).ljust(size, b"\0"))


tensor_sets = st.dictionaries(
    st.text(max_size=12),
    st.builds(
        tensor,
        st.sampled_from(sorted(ITEM_BYTES)),
        st.lists(st.integers(0, 5), max_size=4).map(tuple),
        st.integers(0, 255),
    ),
    max_size=5,
)

SAMPLE = {"latents": tensor("bfloat16", (1, 4, 8)), "ids": tensor("int64", (3,), 1)}


@given(tensor_sets)
def test_what_was_written_is_read_in_order(tensors: dict[str, Tensor]) -> None:
    data, infos = encoded(tensors)
    found = codec.read(memoryview(data), infos)

    assert list(found) == list(tensors)
    assert found == tensors


@given(tensor_sets)
def test_pieces_are_what_is_written(tensors: dict[str, Tensor]) -> None:
    layout = codec.plan(tensors)

    assert b"".join(codec.pieces(layout, tensors)) == bytes(encoded(tensors)[0])


def test_tensors_lie_at_multiples_of_64_for_use_in_place() -> None:
    layout = codec.plan({"a": tensor("uint8", (1,)), "b": tensor("float64", (3,))})

    assert [offset % 64 for offset in layout.offsets] == [0, 0]


def test_reading_copies_nothing() -> None:
    data, infos = encoded(SAMPLE)
    found = codec.read(memoryview(data), infos)
    found["latents"].data[0] = 99

    assert codec.read(memoryview(data), infos)["latents"].data[0] == 99


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(TensorCorruptedError):
        codec.read(memoryview(noise), ())


@given(st.integers(0, len(encoded(SAMPLE)[0]) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    data, infos = encoded(SAMPLE)

    with pytest.raises(TensorCorruptedError):
        codec.read(memoryview(data)[:length], infos)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_lies_in_a_tensor(position: int, change: int) -> None:
    data, infos = encoded(SAMPLE)
    position %= len(data)
    data[position] ^= change
    layout = codec.plan(SAMPLE)
    in_a_tensor = any(
        offset <= position < offset + one.data.nbytes
        for offset, one in zip(layout.offsets, SAMPLE.values(), strict=True)
    )
    if in_a_tensor:
        assert codec.read(memoryview(data), infos) != SAMPLE
    else:
        with pytest.raises(TensorCorruptedError):
            codec.read(memoryview(data), infos)


def test_more_bytes_than_described_are_refused() -> None:
    data, infos = encoded(SAMPLE)

    with pytest.raises(TensorCorruptedError, match="promised"):
        codec.read(memoryview(data + b"\0"), infos)


@pytest.mark.parametrize(
    "infos",
    [
        [TensorInfo(name="a", dtype="complex64", shape=(1,))],
        [TensorInfo(name="a", dtype="", shape=(1,))],
        [TensorInfo(name="a", dtype="float32", shape=(-1,))],
        [TensorInfo(name="a", dtype="float32", shape=(0.5,))],  # type: ignore[arg-type]
        [TensorInfo(name="a", dtype="float32", shape=("1",))],  # type: ignore[arg-type]
        [TensorInfo(name="a", dtype="float32", shape=(1 << 60,))],
        [TensorInfo(name="a", dtype="float32", shape=(1 << 40, 1 << 40))],
        [TensorInfo(name="a", dtype="float32", shape=(0,))] * 2,
        [TensorInfo(name="a", dtype="float32", shape=(0,) * 17)],
        [TensorInfo(name=str(n), dtype="float32", shape=(0,)) for n in range(257)],
        [TensorInfo(name="a" * 70_000, dtype="float32", shape=(0,))],
    ],
)
def test_a_reference_that_makes_no_sense_is_refused(infos: list[TensorInfo]) -> None:
    with pytest.raises(TensorCorruptedError, match="the reference makes no sense"):
        codec.read(memoryview(bytes(64)), infos)


@pytest.mark.parametrize(
    "header",
    [
        b'[["a", "uint8", [0]]]',
        b'[["\\u0061","uint8",[0]]]',
        b'[["a","uint8",[0]]] ',
        b'[["a","uint8",[00]]]',
        b'[["a","uint8",[-0]]]',
        b'[["a","uint8",[NaN]]]',
        b'[["\xff","uint8",[0]]]',
        b"[" * 5000,
        b"",
    ],
)
def test_one_set_has_one_spelling(header: bytes) -> None:
    expected = (TensorInfo(name="a", dtype="uint8", shape=(0,)),)

    with pytest.raises(TensorCorruptedError):
        codec.read(with_header(header), expected)


def test_tensors_that_were_not_promised_are_refused() -> None:
    data, infos = encoded(SAMPLE)

    others = [infos[:1], infos[::-1], (infos[0], replace(infos[1], name="x"))]

    for expected in others:
        with pytest.raises(TensorCorruptedError, match="promised"):
            codec.read(memoryview(data), expected)


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({str(number): tensor("uint8", (0,)) for number in range(257)}, "257 tensors"),
        ({"a": tensor("uint8", (1,) * 17)}, "more than 16 dimensions"),
        ({"a" * 70_000: tensor("uint8", (0,))}, "the header takes more"),
    ],
    ids=["too many", "too many dimensions", "too long a name"],
)
def test_what_no_reader_would_take_is_not_written(tensors: dict[str, Tensor], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        codec.plan(tensors)
