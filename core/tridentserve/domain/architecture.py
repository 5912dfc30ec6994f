"""What of a model's shape decides how its time and its tensors grow: tokens, width, latents.

It holds the numbers of a public model configuration and derives sizes from them; it measures
nothing. Counting tokens by volume would be wrong in two ways that show: text tokens do not shrink
with the picture, and the first frame of a video has a latent frame of its own.
"""

from dataclasses import dataclass

from tridentserve.domain.shapes import Shape

_BYTES_PER_VALUE = 2
"""Hand-offs are float16 or bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Numbers of a diffusion transformer and of the autoencoder around it."""

    latent_side_px: int = 8
    """Pixels of a side that one latent position stands for."""
    latent_frames: int = 1
    """Frames after the first that one latent frame stands for; 1 for pictures."""
    latent_channels: int = 16
    patch: int = 2
    """Latent positions of a side that one token covers."""
    patch_frames: int = 1
    """Latent frames that one token covers; a last incomplete group is filled up."""
    text_tokens: int = 0
    text_width: int = 4096
    layers: int = 1
    width: int = 1
    """Values of one token between layers."""

    def tokens(self, shape: Shape) -> int:
        """Length of the sequence of one forward pass, text included.

        >>> Architecture(latent_frames=4, patch_frames=2, text_tokens=226).tokens(
        ...     Shape(height=768, width=1360, frames=81))
        45106
        """
        side = self.latent_side_px * self.patch
        groups = -(-self._latent_frames(shape) // self.patch_frames)
        picture = max(1, shape.height // side) * max(1, shape.width // side)
        return self.text_tokens + picture * groups

    def embedding_bytes(self, branches: int) -> int:
        """Size of what encode hands to diffuse; `branches` prompts, the negative one included."""
        return self.text_tokens * self.text_width * _BYTES_PER_VALUE * branches

    def latent_bytes(self, shape: Shape) -> int:
        """Size of what diffuse hands to decode."""
        height, width = (side // self.latent_side_px for side in (shape.height, shape.width))
        values = self.latent_channels * self._latent_frames(shape) * height * width
        return values * _BYTES_PER_VALUE

    def _latent_frames(self, shape: Shape) -> int:
        return (shape.frames - 1) // self.latent_frames + 1
