"""Trains the VAE: pictures to latents and back, so sharp that a form keeps its corners.

The loss is the plain distance of the pixels, absolute and squared, and that of their differences to
the neighbours: without it, a small blur at every edge costs next to nothing. Pixels of things weigh
more: they are few, and their colors came last. A little of the
Kullback-Leibler divergence keeps latents near zero, and the noise that comes with it makes the
decoder patient with latents that a denoiser got slightly wrong.

Left to itself the encoder keeps apart what the decoder must tell apart, by however little: green
and blue on black were a sixth as far apart as black and white, and a denoiser mixed them up. So the
first three channels are asked to be the picture itself, at a fourth of its size.
"""

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from train_shapes import data, model
from train_shapes.schedule import learning_rate
from train_shapes.settings import COLOR_CHANNELS, Recipe, VaeSettings
from train_shapes.workers import Worker

if TYPE_CHECKING:
    from torch import Tensor


class VaeTask:
    """See `loop.Task`."""

    name = "vae"

    def __init__(self, recipe: Recipe, worker: Worker) -> None:
        """Start from random weights."""
        import torch

        torch.manual_seed(recipe.seed)
        self._recipe, self._worker = recipe, worker
        self.steps = recipe.vae.steps
        # Convolutions on the CPU are faster with a pixel's channels side by side.
        self.vae = model.vae(recipe.model).to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.AdamW(self.vae.parameters(), fused=True, weight_decay=0.0)

    def step(self, number: int) -> dict[str, float]:
        """One batch, of which each worker takes its share."""
        import torch

        settings = self._recipe.vae
        rng = random.Random(f"vae {self._recipe.seed} {number}")
        batch = data.choose(settings.batches, rng)
        rng = random.Random(f"{rng.random()} {self._worker.rank}")
        _, pictures = data.draw(max(1, batch.count // self._worker.count), batch.side, rng)
        pictures = pictures.to(memory_format=torch.channels_last)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(
                number,
                peak=settings.learning_rate,
                warmup_steps=settings.warmup_steps,
                steps=settings.steps,
            )
        latents = self.vae.encode(pictures).latent_dist
        noise = torch.Generator().manual_seed(rng.getrandbits(63))
        drawn = self.vae.decode(latents.sample(generator=noise)).sample
        error = drawn - pictures
        pixels = (_weights(pictures, settings) * (error.abs() + error.square())).mean()
        divergence = latents.kl().mean() / latents.mean[0].numel()
        colors = _colors(latents.mean, pictures)
        loss = (
            pixels
            + settings.edge_weight * _edges(error)
            + settings.color_weight * colors
            + settings.kl_weight * divergence
        )
        self._optimizer.zero_grad()
        loss.backward()
        self._worker.average_gradients(self.vae.parameters())
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self._optimizer.step()
        return {
            "loss": loss.item(),
            "pixels": pixels.item(),
            "colors": colors.item(),
            "divergence": divergence.item(),
        }

    def state(self) -> Mapping[str, Any]:
        """Weights and the optimizer's memory."""
        return {"vae": self.vae.state_dict(), "optimizer": self._optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """The reverse."""
        self.vae.load_state_dict(state["vae"])
        self._optimizer.load_state_dict(state["optimizer"])


def _weights(pictures: "Tensor", settings: VaeSettings) -> "Tensor":
    """More for things than for the background, of which there is ten times as much."""
    return 1 + settings.thing_weight * data.things(pictures)


def _colors(latents: "Tensor", pictures: "Tensor") -> "Tensor":
    """How far the first channels of the latents are from the colors of what they stand for."""
    import torch

    scale = pictures.shape[-1] // latents.shape[-1]
    colors = torch.nn.functional.avg_pool2d(pictures, scale)
    return (latents[:, :COLOR_CHANNELS] - colors).square().mean()


def _edges(error: "Tensor") -> "Tensor":
    """How far the differences between neighbours are off."""
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
