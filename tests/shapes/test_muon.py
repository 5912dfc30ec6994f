"""Muon of many matrices at once is the Muon that PyTorch has, which takes one after the other."""

import copy
from typing import Any

import pytest

from train_shapes.muon import Muon, orthogonal


@pytest.mark.models
def test_steps_are_those_of_torch() -> None:
    import torch

    torch.manual_seed(0)
    shapes = [(16, 16), (48, 16), (16, 48), (16, 16), (48, 16)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = copy.deepcopy(ours)
    muon = Muon(ours, weight_decay=0.1)
    torchs: Any = torch.optim.Muon(theirs, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")

    for rate in (0.1, 0.05, 0.01):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape)
            other.grad = mine.grad.clone()
        torchs.param_groups[0]["lr"] = rate
        muon.step(rate)
        torchs.step()

    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0.0, atol=1e-3)


@pytest.mark.models
@pytest.mark.parametrize("shape", [(3, 40, 10), (3, 10, 40)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    import torch

    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(100 * torch.randn(shape)).float())

    assert values.min() > 0.6
    assert values.max() < 1.3
