"""Between torch's tensors and ours no bit is lost, and nobody else's memory is written."""

import zlib
from collections.abc import Callable

import pytest

from tridentserve.domain.tensors import ITEM_BYTES, Tensor
from tridentserve.errors import InvalidFieldError
from tridentserve.families import bridging, pictures

pytestmark = pytest.mark.models


@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3, 4)])
def test_every_type_and_shape_comes_back(dtype: str, shape: tuple[int, ...]) -> None:
    import torch

    tensor = (torch.rand(shape) * 100).to(getattr(torch, dtype))
    ours = bridging.from_torch(tensor)
    back = bridging.to_torch(ours, "cpu")

    assert (ours.dtype, ours.shape) == (dtype, shape)
    assert back.dtype is tensor.dtype
    assert torch.equal(back, tensor)


@pytest.mark.parametrize("look", [lambda t: t.T, lambda t: t[1:, ::2], lambda t: t.expand(3, 4, 5)])
def test_views_are_written_out_in_order(look: Callable[..., object]) -> None:
    import torch

    tensor = look(torch.arange(20.0).reshape(4, 5))
    assert isinstance(tensor, torch.Tensor)

    assert torch.equal(bridging.to_torch(bridging.from_torch(tensor), "cpu"), tensor)


def test_memory_that_may_not_be_written_is_copied() -> None:
    data = bytes(8)
    tensor = bridging.to_torch(Tensor(dtype="float32", shape=(2,), data=memoryview(data)), "cpu")
    tensor += 1

    assert data == bytes(8)


def test_a_tensor_that_needs_a_gradient_travels_without() -> None:
    import torch

    assert bridging.from_torch(torch.ones(2, requires_grad=True)).shape == (2,)


def test_a_type_that_does_not_travel_is_refused() -> None:
    import torch

    with pytest.raises(ValueError, match="complex64 do not travel"):
        bridging.from_torch(torch.ones(1, dtype=torch.complex64))


def test_a_png_holds_the_pixels_and_nothing_that_changes() -> None:
    from PIL import Image

    image = Image.effect_noise((40, 30), 50).convert("RGB")
    image.info["comment"] = "not to be written"
    file = pictures.encode_png(image)
    kinds, position = [], 8
    while position < len(file):
        length = int.from_bytes(file[position : position + 4])
        body = file[position + 4 : position + 8 + length]
        kinds.append(body[:4])
        assert zlib.crc32(body) == int.from_bytes(file[position + 8 + length :][:4])
        position += 12 + length

    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
    assert pictures.encode_png(image.copy()) == file


@pytest.mark.parametrize("mime_type", ["", "image/png"])
def test_png_is_written_where_nothing_else_is_asked(mime_type: str) -> None:
    pictures.check_format(mime_type)


@pytest.mark.parametrize("mime_type", ["png", "image/jpeg", "IMAGE/PNG", "video/mp4"])
def test_other_formats_are_refused(mime_type: str) -> None:
    with pytest.raises(InvalidFieldError, match="use image/png"):
        pictures.check_format(mime_type)
