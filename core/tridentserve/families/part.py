"""One stage of one model, ready to run: what every family has in common.

| stage | takes | gives |
| --- | --- | --- |
| encode | prompts | embeddings, one row a request |
| diffuse | embeddings | `latents`, one row a picture |
| decode | `latents` | PNG files, one a picture |

Random numbers come from one CPU generator a picture: picture i of a request is drawn from seed + i,
so it is the picture that a request of its own would have got with that seed, but for the last bits
in which a batch differs from single runs.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from tridentserve.domain.model import ModelInfo
from tridentserve.domain.stages import Stage
from tridentserve.domain.tensors import Tensor
from tridentserve.domain.work import Generation
from tridentserve.errors import InvalidFieldError, StageFailedError
from tridentserve.families import bridging, loading, pictures
from tridentserve.families.advice import advised
from tridentserve.families.digest import content_digest
from tridentserve.families.folder import ModelFolder, open_folder
from tridentserve.families.loading import LoadOptions
from tridentserve.families.protocol import Draws, Family
from tridentserve.families.registry import family_of

if TYPE_CHECKING:
    import torch

LATENTS = "latents"
_SEEDS = 1 << 64
Progress = Callable[[int, int], None]


def describe(folder: ModelFolder, family: Family) -> ModelInfo:
    """What a model is; the same from every stage.

    Raises:
        InvalidFieldError: the folder is not a whole model.
    """
    defaults = advised(folder, family.defaults(folder))
    info = ModelInfo(
        family=family.name,
        digest=content_digest(folder.path),
        default_shape=defaults.shape,
        default_steps=defaults.steps,
        default_guidance=defaults.guidance,
        size_multiple=defaults.size_multiple,
        negative_prompt=family.negative_prompt,
    )
    _check_defaults(family, folder, info)
    return info


def _check_defaults(family: Family, folder: ModelFolder, info: ModelInfo) -> None:
    """Refuse them here, and not with every request that leaves its size to the model."""
    usual = Generation(
        prompt="",
        negative_prompt="",
        shape=info.default_shape,
        steps=info.default_steps,
        guidance=info.default_guidance,
        seed=0,
        count=1,
        output_format=pictures.PNG,
    )
    try:
        check(family, folder, info, usual)
    except InvalidFieldError as error:
        raise InvalidFieldError(f"defaults: {error.field}", error.problem) from None


class Part:
    """A loaded stage. One thread at a time; after any error it can be used again."""

    def __init__(self, path: Path, stage: Stage, options: LoadOptions) -> None:
        """Load it, which takes from milliseconds to minutes.

        Raises:
            InvalidFieldError: the folder cannot be served, and what would have to change.
        """
        self._folder = open_folder(path)
        self._family = family_of(self._folder)
        self._device = options.device
        self.stage = stage
        self.info = describe(self._folder, self._family)
        loading.configure_torch(options)
        self._pipeline = loading.load_pipeline(self._family, self._folder, stage, options)

    def encode(self, generations: Sequence[Generation]) -> list[dict[str, Tensor]]:
        """Embeddings of each; all have the same guidance.

        Raises:
            InvalidFieldError: a request that this model cannot draw.
        """
        import torch

        self._check(generations)
        with torch.no_grad():
            embeddings = self._family.encode(self._pipeline, generations)
        return [
            {name: bridging.from_torch(rows[i : i + 1]) for name, rows in embeddings.items()}
            for i in range(len(generations))
        ]

    def diffuse(
        self,
        generations: Sequence[Generation],
        inputs: Sequence[Mapping[str, Tensor]],
        progress: Progress,
    ) -> list[dict[str, Tensor]]:
        """Latents of each; all have the same shape, steps and guidance.

        What `progress` raises ends the call.

        Raises:
            InvalidFieldError: a request that this model cannot draw.
            StageFailedError: the inputs are not what encode hands off.
        """
        import torch

        self._check(generations)
        first = generations[0]
        counts = [generation.count for generation in generations]
        if len({(g.shape, g.steps, g.guidance) for g in generations}) > 1:
            raise StageFailedError("a batch was given different shapes, steps or guidance")
        _require(inputs, self._family.embeddings(first.guidance))

        def on_step(
            _: object, step: int, __: object, tensors: "dict[str, torch.Tensor]"
        ) -> "dict[str, torch.Tensor]":
            progress(step + 1, first.steps)
            return tensors

        latents = self._family.diffuse(
            self._pipeline,
            self._join(inputs, counts),
            Draws(
                height=first.shape.height,
                width=first.shape.width,
                steps=first.steps,
                guidance=first.guidance,
                generators=_generators(generations),
                on_step=on_step,
            ),
        )
        return [{LATENTS: bridging.from_torch(rows)} for rows in torch.split(latents, counts)]

    def decode(
        self, generations: Sequence[Generation], inputs: Sequence[Mapping[str, Tensor]]
    ) -> list[tuple[bytes, ...]]:
        """PNG files of each; all have the same shape.

        Raises:
            InvalidFieldError: a request that this model cannot draw.
            StageFailedError: the inputs are not what diffuse hands off, or they or the pictures
                hold no numbers.
        """
        import torch

        self._check(generations)
        _require(inputs, {LATENTS})
        latents = self._join(inputs, [1] * len(inputs))[LATENTS]
        if latents.shape[0] != sum(generation.count for generation in generations):
            raise StageFailedError(f"{latents.shape[0]} latents came for another number of images")
        _require_numbers(latents)
        with torch.no_grad():
            image = self._family.decode(self._pipeline, latents, generations[0].shape)
        # A VAE that overflows in float16 would otherwise deliver a black picture.
        _require_numbers(image)
        images = self._pipeline.image_processor.postprocess(image, output_type="pil")
        files = iter([pictures.encode_png(image) for image in images])
        return [tuple(next(files) for _ in range(generation.count)) for generation in generations]

    def check_device(self) -> None:
        """Compute something small.

        Raises:
            RuntimeError: of torch, where the device is lost or in an error that does not go away.
        """
        import torch

        torch.ones(1, device=self._device).sum().item()

    def _check(self, generations: Sequence[Generation]) -> None:
        for generation in generations:
            check(self._family, self._folder, self.info, generation)

    def _join(
        self, inputs: Sequence[Mapping[str, Tensor]], repeats: Sequence[int]
    ) -> "dict[str, torch.Tensor]":
        """Rows of all requests under each name, each request's as often as told."""
        import torch

        return {
            name: torch.cat(
                [
                    bridging.to_torch(given[name], self._device).repeat_interleave(times, dim=0)
                    for given, times in zip(inputs, repeats, strict=True)
                ]
            )
            for name in inputs[0]
        }


def check(family: Family, folder: ModelFolder, info: ModelInfo, generation: Generation) -> None:
    """Refuse what a model cannot draw.

    Raises:
        InvalidFieldError: names the field.
    """
    shape = generation.shape
    for field, side in (("height", shape.height), ("width", shape.width)):
        if side < 1 or side % info.size_multiple:
            raise InvalidFieldError(field, f"{side} is not a multiple of {info.size_multiple}")
    if shape.frames != 1:
        raise InvalidFieldError("frames", f"{shape.frames}; this model draws single pictures")
    for field, value in (("steps", generation.steps), ("count", generation.count)):
        if value < 1:
            raise InvalidFieldError(field, f"{value} is less than 1")
    if generation.negative_prompt and not family.negative_prompt:
        raise InvalidFieldError("negative_prompt", f"{family.name} has none; leave it out")
    pictures.check_format(generation.output_format)
    family.check(folder, generation)


def _require(inputs: Sequence[Mapping[str, Tensor]], names: Set[str]) -> None:
    for given in inputs:
        if set(given) != names:
            raise StageFailedError(f"{sorted(given)} came in, where {sorted(names)} are needed")


def _require_numbers(tensor: "torch.Tensor") -> None:
    import torch

    if not bool(torch.isfinite(tensor).all()):
        raise StageFailedError("the model drew no numbers; try another dtype")


def _generators(generations: Sequence[Generation]) -> "list[torch.Generator]":
    import torch

    return [
        torch.Generator("cpu").manual_seed((generation.seed + number) % _SEEDS)
        for generation in generations
        for number in range(generation.count)
    ]
