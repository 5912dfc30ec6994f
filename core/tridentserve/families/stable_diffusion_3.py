"""Stable Diffusion 3 and 3.5: two CLIP encoders, optionally T5, an MMDiT with real guidance.

Without T5 the pipeline puts zeros in its place whose width it asks of the transformer, and without
the VAE it assumes a scale of 8: a stage that has neither is handed both from the configurations.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.work import Generation
from tridentserve.errors import InvalidFieldError
from tridentserve.families import building
from tridentserve.families.folder import ModelFolder
from tridentserve.families.protocol import Defaults, Draws

if TYPE_CHECKING:
    from diffusers import StableDiffusion3Pipeline
    from torch import Tensor

WITHOUT_T5 = "without-t5"
_COMPONENTS: Mapping[Stage, tuple[str, ...]] = MappingProxyType(
    {
        Stage.ENCODE: (
            *("text_encoder", "text_encoder_2", "text_encoder_3"),
            *("tokenizer", "tokenizer_2", "tokenizer_3"),
        ),
        Stage.DIFFUSE: ("transformer", "scheduler"),
        Stage.DECODE: ("vae",),
    }
)


class StableDiffusion3:
    """See `Family`."""

    name = "sd3"
    class_name = "StableDiffusion3Pipeline"
    components = _COMPONENTS
    optional = frozenset({"text_encoder_3", "tokenizer_3"})
    negative_prompt = True

    def defaults(self, folder: ModelFolder) -> Defaults:
        """Size of the transformer's training; steps and guidance as in the pipeline's signature."""
        multiple = self._multiple(folder)
        side = folder.integer("transformer", "sample_size") * folder.vae_scale()
        side = max(multiple, side // multiple * multiple)
        return Defaults(
            shape=Shape(height=side, width=side), steps=28, guidance=7.0, size_multiple=multiple
        )

    def check(self, folder: ModelFolder, generation: Generation) -> None:
        """Refuse sides beyond the transformer's table of positions."""
        largest = folder.integer("transformer", "pos_embed_max_size") * self._multiple(folder)
        for field in ("height", "width"):
            if (side := getattr(generation.shape, field)) > largest:
                raise InvalidFieldError(field, f"{side} is more than this model's {largest}")

    def prepare(
        self, pipeline: "StableDiffusion3Pipeline", stage: Stage, folder: ModelFolder
    ) -> None:
        """Hand in the width of the zeros, or the scale of the VAE."""
        if stage is Stage.ENCODE and not folder.has("text_encoder_3"):
            width = folder.integer("transformer", "joint_attention_dim")
            pipeline.transformer = SimpleNamespace(
                config=SimpleNamespace(joint_attention_dim=width)
            )
        if stage is Stage.DIFFUSE:
            pipeline.vae_scale_factor = folder.vae_scale()

    def embeddings(self, guidance: float) -> frozenset[str]:
        """Of the prompt; of the negative one too where guidance needs it."""
        names = {"prompt_embeds", "pooled_prompt_embeds"}
        if guidance > 1:
            names |= {"negative_prompt_embeds", "negative_pooled_prompt_embeds"}
        return frozenset(names)

    def encode(
        self, pipeline: "StableDiffusion3Pipeline", generations: Sequence[Generation]
    ) -> "dict[str, Tensor]":
        """Embeddings of the prompts, and of the negative ones where guidance needs them."""
        guided = generations[0].guidance > 1
        prompt, negative, pooled, negative_pooled = pipeline.encode_prompt(
            prompt=[generation.prompt for generation in generations],
            prompt_2=None,
            prompt_3=None,
            negative_prompt=[generation.negative_prompt for generation in generations],
            do_classifier_free_guidance=guided,
            device=pipeline.device,
        )
        embeddings = {"prompt_embeds": prompt, "pooled_prompt_embeds": pooled}
        if guided:
            embeddings["negative_prompt_embeds"] = negative
            embeddings["negative_pooled_prompt_embeds"] = negative_pooled
        return embeddings

    def diffuse(
        self, pipeline: "StableDiffusion3Pipeline", embeddings: "dict[str, Tensor]", draws: Draws
    ) -> "Tensor":
        """The pipeline's own loop, ended before the VAE."""
        latents: Tensor = pipeline(
            **embeddings,
            height=draws.height,
            width=draws.width,
            num_inference_steps=draws.steps,
            guidance_scale=draws.guidance,
            generator=draws.generators,
            callback_on_step_end=draws.on_step,
            callback_on_step_end_tensor_inputs=[],
            output_type="latent",
        ).images
        return latents

    def decode(
        self, pipeline: "StableDiffusion3Pipeline", latents: "Tensor", shape: Shape
    ) -> "Tensor":
        """The last lines of the pipeline's call, but for the image processor's."""
        config = pipeline.vae.config
        latents = latents / config.scaling_factor + config.shift_factor
        image: Tensor = pipeline.vae.decode(latents, return_dict=False)[0]
        return image

    def build(self, folder: Path, *, size: str, variant: str) -> None:
        """A random model; variant `without-t5` has no third text encoder."""
        if variant not in ("", WITHOUT_T5):
            raise InvalidFieldError("variant", f"{variant!r} is unknown; use {WITHOUT_T5} or none")
        from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

        sizes = building.sizes(size)
        clip_width = sizes.text_width // 2
        clips = [building.clip(sizes, clip_width, projected=True) for _ in range(2)]
        t5, t5_tokenizer = (None, None) if variant else building.t5(sizes)
        StableDiffusion3Pipeline(
            scheduler=building.flow_scheduler(shift=3.0, dynamic=False),
            vae=building.vae(sizes),
            transformer=SD3Transformer2DModel(
                sample_size=sizes.sample,
                patch_size=2,
                in_channels=building.LATENT_CHANNELS,
                num_layers=sizes.layers,
                attention_head_dim=sizes.head_width,
                num_attention_heads=sizes.heads,
                joint_attention_dim=sizes.text_width,
                caption_projection_dim=sizes.heads * sizes.head_width,
                pooled_projection_dim=2 * clip_width,
                out_channels=building.LATENT_CHANNELS,
                pos_embed_max_size=64,
            ),
            text_encoder=clips[0],
            tokenizer=building.clip_tokenizer(),
            text_encoder_2=clips[1],
            tokenizer_2=building.clip_tokenizer(),
            text_encoder_3=t5,
            tokenizer_3=t5_tokenizer,
        ).save_pretrained(folder)

    def _multiple(self, folder: ModelFolder) -> int:
        return folder.vae_scale() * folder.integer("transformer", "patch_size")


FAMILY = StableDiffusion3()
