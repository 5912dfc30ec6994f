"""Which weights learn how: Muon for the matrices inside blocks and layers, AdamW for all others.

Muon (Jordan et al., 2024) makes each step's update of a matrix orthogonal; scaled as Liu et al.
(Muon is Scalable for LLM Training, 2025) propose, it takes AdamW's learning rate. Tables of
embeddings, first and last layers and modulations are not what it is made for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_INNER = (".attn.", ".ff.", ".ff_context.", ".encoder.layers.")
_FASTER = 4.0
"""Learning rate of the scales of queries and keys, whose product is how sharp attention can get:
256 zero tokens leave little to the others unless it is sharp."""


class Optimizers:
    """Both, as one."""

    def __init__(self, net: Any, *, weight_decay: float) -> None:
        """Of all parameters of `net`, whose `transformer` has the blocks."""
        import torch

        inner: list[Any] = []
        sharpness: list[Any] = []
        others: list[Any] = []
        for name, parameter in net.named_parameters():
            if parameter.ndim == 2 and any(part in name for part in _INNER):
                inner.append(parameter)
            else:
                (sharpness if ".attn.norm_" in name else others).append(parameter)
        self._all: Sequence[Any] = (
            torch.optim.Muon(inner, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True),
            torch.optim.AdamW(sharpness, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
        )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self._all:
            optimizer.zero_grad()

    def step(self, learning_rate: float) -> None:
        """Change the weights."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * (_FASTER if optimizer is self._all[2] else 1)
            optimizer.step()

    def state_dict(self) -> list[Mapping[str, Any]]:
        """The memory of both."""
        return [optimizer.state_dict() for optimizer in self._all]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """The reverse."""
        for optimizer, state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(dict(state))
