"""Pictures and captions for training, drawn when they are needed; every one follows from a seed."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from train_shapes.render import arrange, render_batch
from train_shapes.scenes import training_scenes
from train_shapes.settings import Batch

if TYPE_CHECKING:
    from torch import Tensor


def choose(batches: Sequence[Batch], rng: random.Random) -> Batch:
    """One of the kinds of batches, by weight."""
    return rng.choices(batches, weights=[batch.weight for batch in batches])[0]


def draw(count: int, side: int, rng: random.Random) -> tuple[list[str], "Tensor"]:
    """Captions, and their pictures as [count, 3, side, side] between -1 and 1."""
    import torch

    scenes = [scene for scene, _ in zip(training_scenes(rng), range(count), strict=False)]
    pixels = torch.from_numpy(render_batch([arrange(scene, rng) for scene in scenes], side))
    pictures = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    return [scene.caption for scene in scenes], pictures


def things(pictures: "Tensor") -> "Tensor":
    """1 where a picture shows some of a thing, else 0, [pictures, 1, height, width]."""
    # No thing reaches a corner.
    return (pictures != pictures[:, :, :1, :1]).any(dim=1, keepdim=True).float()
