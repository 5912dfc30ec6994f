"""Between torch's tensors and ours, which are a type word, a shape and bytes."""

from typing import TYPE_CHECKING

from tridentserve.domain.tensors import ITEM_BYTES, Tensor

if TYPE_CHECKING:
    import torch


def from_torch(tensor: "torch.Tensor") -> Tensor:
    """The bytes of a tensor, wherever it is; they are shared where it is on the CPU already.

    Raises:
        ValueError: a type that does not travel.
    """
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in ITEM_BYTES:
        raise ValueError(f"tensors of {dtype} do not travel")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return Tensor(dtype=dtype, shape=tuple(tensor.shape), data=flat.view(torch.uint8).numpy().data)


def to_torch(tensor: Tensor, device: str) -> "torch.Tensor":
    """A torch tensor of the same bytes; they are shared on the CPU where they may be written."""
    import torch

    dtype: torch.dtype = getattr(torch, tensor.dtype)
    if not tensor.data.nbytes:  # torch refuses to look at empty memory
        return torch.empty(tensor.shape, dtype=dtype, device=device)
    # torch knows no read-only memory, and would let a model write into what others read.
    data = bytearray(tensor.data) if tensor.data.readonly else tensor.data
    return torch.frombuffer(data, dtype=dtype).reshape(tensor.shape).to(device)
