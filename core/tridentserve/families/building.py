"""Random components of the real classes, small enough for tests: no weights, no downloads.

`tiny` is for tests: milliseconds a call, under 2 MB. `small` is for measuring what serving adds: a
picture of 512 x 512 in 15 steps takes about ten seconds on one core. Pictures are noise, of course,
but the arithmetic of shapes is that of the real models: VAE factor 8, 16 latent channels, patches
of 2.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tridentserve.errors import InvalidFieldError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
    from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

LATENT_CHANNELS = 16
_LETTERS = tuple(chr(code) for code in range(33, 127))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large a random model is."""

    sample: int
    """Latents a side of the default picture."""
    text_width: int
    text_layers: int
    layers: int
    heads: int
    head_width: int
    vae_channels: tuple[int, int, int, int]
    vae_groups: int


_SIZES = {
    "tiny": Sizes(
        sample=8,
        text_width=64,
        text_layers=2,
        layers=2,
        heads=2,
        head_width=16,
        vae_channels=(8, 8, 16, 16),
        vae_groups=4,
    ),
    "small": Sizes(
        sample=64,
        text_width=256,
        text_layers=4,
        layers=4,
        heads=6,
        head_width=64,
        vae_channels=(16, 32, 32, 64),
        vae_groups=8,
    ),
}
SIZE_NAMES = tuple(_SIZES)


def sizes(name: str) -> Sizes:
    """The sizes of that name.

    Raises:
        InvalidFieldError: there are none.
    """
    if name not in _SIZES:
        raise InvalidFieldError("size", f"{name!r} is unknown; use {' or '.join(_SIZES)}")
    return _SIZES[name]


def clip_tokenizer() -> "CLIPTokenizer":
    """One token a letter."""
    from transformers import CLIPTokenizer

    tokens = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def clip(sizes: Sizes, width: int, *, projected: bool) -> "CLIPTextModel":
    """A CLIP text encoder for that tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    end = 2 * len(_LETTERS) + 1
    config = CLIPTextConfig(
        vocab_size=end + 1,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=max(1, width // 64),
        # Pooling looks for the end token, and would find a wrong one.
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5(sizes: Sizes) -> "tuple[T5EncoderModel, T5TokenizerFast]":
    """A T5 encoder and its tokenizer."""
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    tokens = ["<pad>", "</s>", "<unk>", "▁", *_LETTERS]
    tokens += [f"<extra_id_{number}>" for number in range(99, -1, -1)]
    tokenizer = T5TokenizerFast(vocab=[(token, -1.0) for token in tokens])
    config = T5Config(
        vocab_size=len(tokens),
        d_model=sizes.text_width,
        d_ff=4 * sizes.text_width,
        d_kv=sizes.text_width // 4,
        num_heads=4,
        num_layers=sizes.text_layers,
        feed_forward_proj="gated-gelu",
    )
    return T5EncoderModel(config), tokenizer


def vae(sizes: Sizes) -> "AutoencoderKL":
    """A VAE of four levels, as SD3 and FLUX have it."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=sizes.vae_channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=sizes.vae_groups,
        sample_size=8 * sizes.sample,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def flow_scheduler(*, shift: float, dynamic: bool) -> "FlowMatchEulerDiscreteScheduler":
    """The scheduler of both families."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=shift, use_dynamic_shifting=dynamic)
