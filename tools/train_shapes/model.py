"""The components of the model: the Stable Diffusion 3 family's own classes, very small.

No third text encoder, and a VAE of three levels: a latent is 4 pixels a side and a token of the
transformer 8. Loading and saving is diffusers' own: `pipeline` puts the components together and
`save_pretrained` writes them.
"""

from typing import Any

from train_shapes import tokenizer
from train_shapes.scenes import WORDS
from train_shapes.settings import ModelSettings, TextSettings

_PATCH = 2


def text_encoder(settings: ModelSettings, text: TextSettings) -> Any:
    """A CLIP text encoder for the tokenizer of `build_tokenizer`."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    words = build_tokenizer(settings)
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=text.width,
            intermediate_size=4 * text.width,
            projection_dim=text.width,
            num_hidden_layers=text.layers,
            num_attention_heads=text.heads,
            max_position_embeddings=settings.max_tokens,
            # Pooling looks for the end token, and would find a wrong one.
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )


def build_tokenizer(settings: ModelSettings) -> Any:
    """The tokenizer of both text encoders."""
    return tokenizer.build(WORDS, settings.max_tokens)


def vae(settings: ModelSettings, *, scaling: float = 1.0, shift: float = 0.0) -> Any:
    """An `AutoencoderKL` without attention, which takes pictures of any size alike."""
    from diffusers import AutoencoderKL

    levels = len(settings.vae_channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.vae_channels,
        layers_per_block=1,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.vae_groups,
        sample_size=settings.largest_side,
        scaling_factor=scaling,
        shift_factor=shift,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def transformer(settings: ModelSettings) -> Any:
    """The MMDiT; its default picture is the largest."""
    from diffusers import SD3Transformer2DModel

    sample = settings.largest_side // settings.scale
    return SD3Transformer2DModel(
        sample_size=sample,
        patch_size=_PATCH,
        in_channels=settings.latent_channels,
        out_channels=settings.latent_channels,
        num_layers=settings.layers,
        attention_head_dim=settings.head_width,
        num_attention_heads=settings.heads,
        joint_attention_dim=settings.text_width,
        caption_projection_dim=settings.heads * settings.head_width,
        pooled_projection_dim=settings.text_width,
        pos_embed_max_size=sample // _PATCH,
        qk_norm="rms_norm",
    )


def scheduler(settings: ModelSettings) -> Any:
    """Euler steps through the flow, with the noise schedule of training."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=settings.shift)


def pipeline(settings: ModelSettings, *, vae: Any, texts: tuple[Any, Any], denoiser: Any) -> Any:
    """The whole model as the pipeline of diffusers."""
    from diffusers import StableDiffusion3Pipeline

    return StableDiffusion3Pipeline(
        scheduler=scheduler(settings),
        vae=vae,
        transformer=denoiser,
        text_encoder=texts[0],
        tokenizer=build_tokenizer(settings),
        text_encoder_2=texts[1],
        tokenizer_2=build_tokenizer(settings),
        text_encoder_3=None,
        tokenizer_3=None,
    )
