"""How large the model is and how it is trained: every number of the recipe, and nothing else.

`SHAPES` is the model that ships; `MINIATURE` is the same code in seconds, for tests.
"""

from dataclasses import dataclass, field

COLOR_CHANNELS = 3
"""Channels of the latents, the first ones, that hold the picture's colors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSettings:
    """One of the two CLIP text encoders."""

    width: int
    layers: int
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Sizes of the components."""

    texts: tuple[TextSettings, TextSettings] = (
        TextSettings(width=128, layers=3, heads=2),
        TextSettings(width=64, layers=2, heads=2),
    )
    max_tokens: int = 24
    """Of a caption, start and end included; the longest caption has 22."""
    vae_channels: tuple[int, ...] = (16, 32, 48)
    vae_groups: int = 8
    latent_channels: int = 8
    layers: int = 5
    heads: int = 5
    head_width: int = 32
    largest_side: int = 128
    shift: float = 3.0
    """Of the scheduler that is saved."""
    usual_side: int = 64
    steps: int = 20
    guidance: float = 6.0
    """What the model folder advises for requests that leave it out."""

    @property
    def text_width(self) -> int:
        """Of the context: both encoders side by side."""
        return sum(text.width for text in self.texts)

    @property
    def scale(self) -> int:
        """Pixels a side of one latent."""
        return int(2 ** (len(self.vae_channels) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Pictures of one size a step."""

    side: int
    count: int
    weight: float
    """Share of the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeSettings:
    """Training of the VAE."""

    steps: int = 2600
    batches: tuple[Batch, ...] = (
        Batch(side=64, count=32, weight=0.8),
        Batch(side=96, count=14, weight=0.1),
        Batch(side=128, count=8, weight=0.1),
    )
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    kl_weight: float = 3e-4
    edge_weight: float = 0.5
    color_weight: float = 2.0
    """Of the latents' first channels being the picture's colors."""
    thing_weight: float = 7.0
    """Of a pixel that belongs to a thing, above that of the background's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """Training of the text encoders and the transformer."""

    steps: int = 12000
    batches: tuple[Batch, ...] = (
        Batch(side=64, count=128, weight=0.66),
        Batch(side=96, count=56, weight=0.17),
        Batch(side=128, count=32, weight=0.17),
    )
    """Of about as many pixels."""
    learning_rate: float = 1.2e-3
    warmup_steps: int = 150
    weight_decay: float = 0.01
    ema_decay: float = 0.998
    caption_dropout: float = 0.1
    thing_weight: float = 4.0
    """Of a latent pixel that holds a thing, above that of the background's, where noise is none;
    it falls as noise rises, which hides what is where."""
    steps_an_epoch: int = 100
    reuse: int = 4
    """How often a picture of an epoch's pool is drawn, with other noise each time."""
    compiled: bool = True
    """A third faster after some minutes of compiling, once; needs a C++ compiler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All of it."""

    model: ModelSettings = field(default_factory=ModelSettings)
    vae: VaeSettings = field(default_factory=VaeSettings)
    flow: FlowSettings = field(default_factory=FlowSettings)
    seed: int = 0


SHAPES = Recipe()
