"""What a model family is: the few things in which one kind of pipeline differs from another.

A family is one module with an object `FAMILY`, registered among the entry points
`tridentserve.families`. It says which components each stage loads, and makes the three calls that
diffusers' own pipeline makes inside of one, with the same arguments, so that the bytes are the
same. Everything else (loading, batches, threads, hand-off, pictures) is common and lies in
`tridentserve.families.part`.

Nothing here imports torch: families do, inside of functions, so that listing them is cheap.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.work import Generation
from tridentserve.families.folder import ModelFolder

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from torch import Generator, Tensor

OnStep = Callable[[object, int, object, dict[str, "Tensor"]], dict[str, "Tensor"]]
"""diffusers' `callback_on_step_end(pipeline, step, timestep, tensors)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a request gets that leaves a value out, as the model's configuration has it."""

    shape: Shape
    steps: int
    guidance: float
    size_multiple: int
    """Height and width must be multiples of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What one call of diffuse draws besides its embeddings: equal for all its pictures."""

    height: int
    width: int
    steps: int
    guidance: float
    generators: "list[Generator]"
    """On the CPU, one a picture, whatever device the model is on."""
    on_step: OnStep


class Family(Protocol):
    """One kind of pipeline. `pipeline` is diffusers' object with one stage's components only."""

    @property
    def name(self) -> str:
        """Short name for people and for `ModelInfo`."""
        ...

    @property
    def class_name(self) -> str:
        """Class in diffusers, and `_class_name` of the model folders that it serves."""
        ...

    @property
    def components(self) -> Mapping[Stage, tuple[str, ...]]:
        """What each stage loads; everything else is left out."""
        ...

    @property
    def optional(self) -> frozenset[str]:
        """Components that a model folder may lack, those of one stage only all together."""
        ...

    @property
    def negative_prompt(self) -> bool:
        """Whether it has one."""
        ...

    def defaults(self, folder: ModelFolder) -> Defaults:
        """Read from the JSON files alone, so that every stage says the same."""
        ...

    def check(self, folder: ModelFolder, generation: Generation) -> None:
        """Refuse what this family cannot do beyond what all families cannot.

        Raises:
            InvalidFieldError: names the field.
        """
        ...

    def prepare(self, pipeline: "DiffusionPipeline", stage: Stage, folder: ModelFolder) -> None:
        """Hand in what the pipeline would have read from components that were left out."""
        ...

    def embeddings(self, guidance: float) -> frozenset[str]:
        """Names of what encode hands off for a request of that guidance."""
        ...

    def encode(
        self, pipeline: "DiffusionPipeline", generations: Sequence[Generation]
    ) -> "dict[str, Tensor]":
        """Those embeddings, named as the pipeline's call names them, one row a generation."""
        ...

    def diffuse(
        self, pipeline: "DiffusionPipeline", embeddings: "dict[str, Tensor]", draws: Draws
    ) -> "Tensor":
        """Latents, one row a picture; `embeddings` have as many rows."""
        ...

    def decode(self, pipeline: "DiffusionPipeline", latents: "Tensor", shape: Shape) -> "Tensor":
        """What the VAE makes of them, one picture a row; the image processor does the rest."""
        ...

    def build(self, folder: Path, *, size: str, variant: str) -> None:
        """Save a random model made of the real classes; the caller has seeded torch.

        Raises:
            InvalidFieldError: no such size or variant.
        """
        ...
