"""Latents of training pictures: encoded once, used a few times, then replaced.

Drawing and encoding a picture costs a fourth of a training step on it. So a pool holds what the
steps of one epoch need, each picture to be drawn a few times with other noise. A pool follows from
the seed, the worker and the number of the epoch alone.
"""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from train_shapes import data, text
from train_shapes.settings import Batch, FlowSettings

if TYPE_CHECKING:
    from torch import Generator, Tensor

_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Pool:
    """Of pictures of one size."""

    latents: "Tensor"
    """Scaled as the transformer gets them, [pictures, channels, height, width]."""
    ids: "Tensor"
    """Of their captions, [pictures, max tokens]."""
    things: "Tensor"
    """1 where a latent pixel holds some of a thing, else 0, [pictures, 1, height, width]."""

    def draw(self, count: int, generator: "Generator") -> tuple["Tensor", "Tensor", "Tensor"]:
        """Latents, caption ids and things of some pictures."""
        import torch

        chosen = torch.randint(len(self.ids), (count,), generator=generator)
        return self.latents[chosen], self.ids[chosen], self.things[chosen]


def encode(vae: Any, pictures: "Tensor") -> "Tensor":
    """Latents as the transformer gets them."""
    import torch

    with torch.no_grad():
        parts = [
            vae.encode(part.to(memory_format=torch.channels_last)).latent_dist.mean
            for part in pictures.tensor_split(tuple(range(_AT_ONCE, len(pictures), _AT_ONCE)))
        ]
    latents: Tensor = torch.cat(parts) - vae.config.shift_factor
    latents *= vae.config.scaling_factor
    return latents.contiguous()


def fill(
    settings: FlowSettings,
    vae: Any,
    tokenizer: Any,
    *,
    share: float,
    seed: str,
) -> dict[Batch, Pool]:
    """The pools of one epoch of a worker that takes `share` of each batch."""
    pools = {}
    for batch in settings.batches:
        steps = settings.steps_an_epoch * batch.weight / settings.reuse
        count = max(1, round(batch.count * share * steps))
        captions, pictures = data.draw(count, batch.side, random.Random(f"{seed} {batch.side}"))
        encoded = encode(vae, pictures)
        things = _shrunk(data.things(pictures), pictures.shape[-1] // encoded.shape[-1])
        pools[batch] = Pool(encoded, text.tokenize(tokenizer, captions), things)
    return pools


def _shrunk(things: "Tensor", scale: int) -> "Tensor":
    import torch

    return torch.nn.functional.max_pool2d(things, scale)
