"""What a profile file may contain: tables with source and unit, and every assumption by name.

The model of the file only; `profile_files` reads it and `profile_samples` makes samples of it.
Nothing unknown is let through, so a misspelt assumption cannot be swept without effect.
"""

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.manifest.profile_figures import Assumptions, Part, Steps, Text

RAW = "raw"
"""The variant of a table without its repairs."""

_LONGEST_SIDE = 100_000
"""Of a shape, in pixels or frames."""


def _parse_shape(text: object) -> object:
    if not isinstance(text, str):
        return text
    sides = text.split("x")
    if len(sides) != 3 or not all(side.isdecimal() and int(side) for side in sides):
        raise ValueError("should be height x width x frames, for example 768x1360x81")
    if any(len(side) > len(str(_LONGEST_SIDE)) or int(side) > _LONGEST_SIDE for side in sides):
        raise ValueError(f"no side may be more than {_LONGEST_SIDE}")
    height, width, frames = map(int, sides)
    return Shape(height=height, width=width, frames=frames)


ShapeText = Annotated[Shape, BeforeValidator(_parse_shape)]


class Row(Part):
    """Seconds of one step of a shape, one figure a degree."""

    shape: ShapeText
    seconds: tuple[PositiveFloat, ...]


class Repair(Part):
    """A figure to take instead of an evident error of the source."""

    shape: ShapeText
    degree: PositiveInt
    seconds: PositiveFloat
    reason: Text


class DiffuseTable(Part):
    """The published table, raw, and named sets of repairs."""

    unit: Literal["s/step"]
    source: Text
    degrees: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    repairs: dict[str, tuple[Repair, ...]]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        shapes = [row.shape for row in self.rows]
        if len(set(shapes)) < len(shapes) or len(set(self.degrees)) < len(self.degrees):
            raise ValueError("a shape or a degree stands twice")
        if self.degrees[0] != 1:
            raise ValueError("degrees must begin with 1")
        if any(len(row.seconds) != len(self.degrees) for row in self.rows):
            raise ValueError("every row needs one figure a degree")
        repairs = [repair for some in self.repairs.values() for repair in some]
        if any(one.shape not in shapes or one.degree not in self.degrees for one in repairs):
            raise ValueError("a repair names a shape or a degree that the table lacks")
        if RAW in self.repairs:
            raise ValueError(f"{RAW!r} is the table without repairs")
        return self


class Decode(Part):
    """How decode's assumptions are to be read."""

    source: Text
    reference: ShapeText
    seconds_of: Literal["tiled", "untiled"]


class Device(Part):
    """What the table was measured on."""

    name: Text
    unit: Literal["GB"]
    memory: PositiveFloat
    usable: PositiveFloat
    source: Text


class ArchitectureBlock(Part):
    """Numbers of the model's public configuration; see `domain.architecture`."""

    source: Text
    latent_side_px: PositiveInt
    latent_frames: PositiveInt
    latent_channels: PositiveInt
    patch: PositiveInt
    patch_frames: PositiveInt
    text_tokens: Annotated[int, Field(ge=0)]
    text_width: PositiveInt
    layers: PositiveInt
    width: PositiveInt


class BestBatch(Part):
    """Batch size that still pays by number of pixels."""

    unit: Literal["requests by pixels"]
    source: Text
    batches: dict[PositiveInt, PositiveInt]


class MeasuredRow(Part):
    """One measured kind of call; takes the place of what assumptions say of the same kind."""

    stage: Stage
    shape: ShapeText
    fixed_s: Annotated[float, Field(ge=0)]
    step_s: Annotated[float, Field(ge=0)] = 0.0
    fraction_percent: PositiveInt = 100
    batch: PositiveInt = 1
    cfg: PositiveInt = 1
    ulysses: PositiveInt = 1
    ring: PositiveInt = 1
    vae_tiles: PositiveInt = 1
    tiled: bool | None = None
    """Decode on one device: in use only where it agrees with the assumption `decode_tiled`."""
    peak_bytes: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _take_time(self) -> Self:
        if self.fixed_s + self.step_s <= 0:
            raise ValueError("a call takes time: fixed_s or step_s must be more than 0")
        if (self.tiled is None) == (self.stage is Stage.DECODE):
            raise ValueError("tiled belongs to decode, and to it alone")
        return self


class Measured(Part):
    """Rows beside the published table; units are in the names of their fields."""

    source: Text
    rows: tuple[MeasuredRow, ...]


class SaturationBlock(Part):
    """The share of a device beyond which a stage gets no faster."""

    source: Text
    compute_percent: PositiveInt
    bandwidth_percent: Annotated[int, Field(ge=0)]


class ProfileFile(Part):
    """One pipeline."""

    format: Literal[1]
    name: Text
    title: Text
    source: Text
    guided: bool
    steps: Steps
    device: Device
    architecture: ArchitectureBlock
    diffuse: DiffuseTable
    decode: Decode
    best_batch: BestBatch | None = None
    measured: Measured | None = None
    saturation: dict[Stage, SaturationBlock] = Field(default_factory=dict)
    assumptions: Assumptions
