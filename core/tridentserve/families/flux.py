"""FLUX.1: CLIP for a pooled embedding, T5 for the words, a transformer with distilled guidance.

Guidance is a number that the transformer is told (or, in schnell, is not), and no second forward:
there is no negative prompt. Latents travel packed, two by two, and are unpacked before the VAE.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.work import Generation
from tridentserve.errors import InvalidFieldError
from tridentserve.families import building
from tridentserve.families.folder import ModelFolder
from tridentserve.families.protocol import Defaults, Draws

if TYPE_CHECKING:
    from diffusers import FluxPipeline
    from torch import Tensor

WITHOUT_GUIDANCE = "schnell"
_PACKED = 2
"""Latents a side of what the transformer sees as one."""
_COMPONENTS: Mapping[Stage, tuple[str, ...]] = MappingProxyType(
    {
        Stage.ENCODE: ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"),
        Stage.DIFFUSE: ("transformer", "scheduler"),
        Stage.DECODE: ("vae",),
    }
)


class Flux:
    """See `Family`."""

    name = "flux"
    class_name = "FluxPipeline"
    components = _COMPONENTS
    optional: frozenset[str] = frozenset()
    negative_prompt = False

    def defaults(self, folder: ModelFolder) -> Defaults:
        """The VAE's size; schnell takes four steps and no guidance."""
        multiple = folder.vae_scale() * _PACKED
        side = max(multiple, folder.integer("vae", "sample_size") // multiple * multiple)
        guided = bool(folder.config("transformer").get("guidance_embeds"))
        return Defaults(
            shape=Shape(height=side, width=side),
            steps=28 if guided else 4,
            guidance=3.5 if guided else 0.0,
            size_multiple=multiple,
        )

    def check(self, folder: ModelFolder, generation: Generation) -> None:
        """Positions are computed, so any size goes."""

    def prepare(self, pipeline: "FluxPipeline", stage: Stage, folder: ModelFolder) -> None:
        """Hand in the scale of the VAE."""
        if stage is Stage.DIFFUSE:
            pipeline.vae_scale_factor = folder.vae_scale()

    def embeddings(self, guidance: float) -> frozenset[str]:
        """Of the prompt, whatever the guidance."""
        return frozenset({"prompt_embeds", "pooled_prompt_embeds"})

    def encode(
        self, pipeline: "FluxPipeline", generations: Sequence[Generation]
    ) -> "dict[str, Tensor]":
        """Embeddings of the prompts; positions of the words are zeros, made where they are used."""
        prompt, pooled, _ = pipeline.encode_prompt(
            prompt=[generation.prompt for generation in generations], device=pipeline.device
        )
        return {"prompt_embeds": prompt, "pooled_prompt_embeds": pooled}

    def diffuse(
        self, pipeline: "FluxPipeline", embeddings: "dict[str, Tensor]", draws: Draws
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

    def decode(self, pipeline: "FluxPipeline", latents: "Tensor", shape: Shape) -> "Tensor":
        """The last lines of the pipeline's call, but for the image processor's."""
        latents = _unpack(latents, shape, pipeline.vae_scale_factor)
        config = pipeline.vae.config
        latents = latents / config.scaling_factor + config.shift_factor
        image: Tensor = pipeline.vae.decode(latents, return_dict=False)[0]
        return image

    def build(self, folder: Path, *, size: str, variant: str) -> None:
        """A random model like dev; variant `schnell` is told no guidance."""
        if variant not in ("", WITHOUT_GUIDANCE):
            raise InvalidFieldError(
                "variant", f"{variant!r} is unknown; use {WITHOUT_GUIDANCE} or none"
            )
        from diffusers import FluxPipeline, FluxTransformer2DModel

        sizes = building.sizes(size)
        rotary = sizes.head_width // 4
        t5, t5_tokenizer = building.t5(sizes)
        FluxPipeline(
            scheduler=building.flow_scheduler(shift=3.0, dynamic=True),
            vae=building.vae(sizes),
            transformer=FluxTransformer2DModel(
                patch_size=1,
                in_channels=building.LATENT_CHANNELS * _PACKED**2,
                num_layers=sizes.layers // 2,
                num_single_layers=sizes.layers // 2,
                attention_head_dim=sizes.head_width,
                num_attention_heads=sizes.heads,
                joint_attention_dim=sizes.text_width,
                pooled_projection_dim=sizes.text_width,
                guidance_embeds=not variant,
                axes_dims_rope=(sizes.head_width - 2 * rotary, rotary, rotary),
            ),
            text_encoder=building.clip(sizes, sizes.text_width, projected=False),
            tokenizer=building.clip_tokenizer(),
            text_encoder_2=t5,
            tokenizer_2=t5_tokenizer,
        ).save_pretrained(folder)


def _unpack(latents: "Tensor", shape: Shape, vae_scale: int) -> "Tensor":
    """From one row of 4c numbers a patch to c x height x width, as the pipeline does."""
    rows, columns = (side // (vae_scale * _PACKED) for side in (shape.height, shape.width))
    count, _, channels = latents.shape
    channels //= _PACKED**2
    latents = latents.view(count, rows, columns, channels, _PACKED, _PACKED)
    return latents.permute(0, 3, 1, 4, 2, 5).reshape(
        count, channels, rows * _PACKED, columns * _PACKED
    )


FAMILY = Flux()
