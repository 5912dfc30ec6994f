"""Which weights learn how: Muon for the matrices inside blocks and layers, AdamW for all others.

Tables of embeddings, first and last layers and modulations are not what Muon is made for.
"""

from typing import Any

from train_shapes.muon import Muon

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
        self._muon = Muon(inner, weight_decay=weight_decay)
        groups: list[dict[str, Any]] = [
            {"params": others, "weight_decay": weight_decay},
            {"params": sharpness, "weight_decay": 0.0},
        ]
        self._adam = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)

    def step(self, learning_rate: float) -> None:
        """Change the weights."""
        self._muon.step(learning_rate)
        of_others, of_sharpness = self._adam.param_groups
        of_others["lr"], of_sharpness["lr"] = learning_rate, learning_rate * _FASTER
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """The memory of both."""
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse."""
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adam"])
