"""Makes the latents of a trained VAE what a flow wants: spread like noise, and colors above all.

A flow learns first what is spread widest. What the VAE spreads widest is an accident of its
training, so each channel gets the spread that it should have: the colors twice that of the rest. A
factor on a channel is one on the encoder's last layer and its inverse on the decoder's first, so
the pictures stay the same. Mean and spread of all channels together go to the configuration, as the
pipeline expects it.
"""

import random
from typing import TYPE_CHECKING, Any

from train_shapes import data, latents, model
from train_shapes.settings import COLOR_CHANNELS, ModelSettings

if TYPE_CHECKING:
    from torch import Tensor

_MEASURED = 256
_OF_COLORS = 2.0
"""Spread of the channels of colors, others being 1."""


def finished(settings: ModelSettings, vae: Any, *, seed: int) -> Any:
    """The same VAE with balanced channels and a scaling, not to be trained any more."""
    import torch

    parts = _measure(settings, vae, seed)
    wanted = torch.ones(settings.latent_channels)
    wanted[:COLOR_CHANNELS] = _OF_COLORS
    factors = wanted / torch.stack([part.std(dim=(0, 2, 3)) for part in parts]).mean(dim=0)
    balanced = model.vae(settings)
    balanced.load_state_dict(vae.state_dict())
    _multiply(balanced, factors)

    parts = [part * factors[:, None, None] for part in parts]
    scaled = model.vae(
        settings,
        scaling=len(parts) / sum(float(part.std()) for part in parts),
        shift=sum(float(part.mean()) for part in parts) / len(parts),
    )
    scaled.load_state_dict(balanced.state_dict())
    return scaled.requires_grad_(False).eval().to(memory_format=torch.channels_last)


def _measure(settings: ModelSettings, vae: Any, seed: int) -> "list[Tensor]":
    """Latents of some pictures, of the middle and of the largest size."""
    return [
        latents.encode(vae, data.draw(_MEASURED, side, random.Random(f"scaling {seed} {side}"))[1])
        for side in (settings.largest_side // 2, settings.largest_side)
    ]


def _multiply(vae: Any, factors: "Tensor") -> None:
    """Multiply the channels of all latents."""
    import torch

    channels = len(factors)
    last, first = vae.encoder.conv_out, vae.decoder.conv_in
    with torch.no_grad():
        last.weight[:channels] *= factors[:, None, None, None]
        last.bias[:channels] *= factors
        # The other half are logarithms of variances.
        last.bias[channels:] += 2 * factors.log()
        first.weight /= factors[None, :, None, None]
