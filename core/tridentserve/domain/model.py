"""What a model folder is, as a worker that reads it tells the router."""

from dataclasses import dataclass

from tridentserve.domain.ids import ContentDigest
from tridentserve.domain.shapes import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """Identity of a model, and what a request gets that leaves a value out."""

    family: str
    """`sd3` for one."""
    digest: ContentDigest
    """sha256 over paths, sizes, JSON files and safetensors headers of the whole folder."""
    default_shape: Shape
    default_steps: int
    default_guidance: float
    size_multiple: int
    """Height and width must be multiples of it."""
    negative_prompt: bool
    """False where the family has no negative prompt; giving one is refused then."""
