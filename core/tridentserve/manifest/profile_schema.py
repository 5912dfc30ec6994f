"""What a profile file may contain: tables with source and unit, and every assumption by name.

The model of the file only; `profile_files` reads it and `profile_samples` makes samples of it.
Nothing unknown is let through, so a misspelt assumption cannot be swept without effect. No number
is beyond `LARGEST`: whoever multiplies some of them would end in an overflow, and some who do read
the files of others.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage

LARGEST = 1e12
"""Of anything: more seconds, bytes or pixels than there are."""

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


def _numbers(value: object) -> Iterator[int | float]:
    match value:
        case int() | float():
            yield value
        case tuple():
            for item in value:
                yield from _numbers(item)
        case dict():
            yield from _numbers((*value.keys(), *value.values()))


ShapeText = Annotated[Shape, BeforeValidator(_parse_shape)]
Text = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _stay_in_bounds(cls, value: object) -> object:
        if any(abs(number) > LARGEST for number in _numbers(value)):
            raise ValueError(f"no number may be more than {LARGEST:g}")
        return value


class Figure(_Part):
    """One number with its unit and where it comes from."""

    value: Annotated[float, Field(ge=0)]
    unit: Text
    source: Text


class Seconds(Figure):
    """A time; 0 where it is assumed away."""

    unit: Literal["s"]


class Duration(Figure):
    """A time that cannot be 0."""

    value: PositiveFloat
    unit: Literal["s"]


class Gigabytes(Figure):
    """10^9 bytes."""

    unit: Literal["GB"]


class PerToken(Figure):
    """Memory of one token of the sequence."""

    unit: Literal["kB/token"]


class Factor(Figure):
    """How many times as long something takes."""

    value: Annotated[float, Field(ge=1)]
    unit: Literal["1"]


class Switch(Figure):
    """1 for yes, 0 for no: a number like every other assumption, so that it can be swept."""

    value: Literal[0, 1]
    unit: Literal["bool"]


class Bandwidth(Figure):
    """10^9 bytes a second."""

    value: PositiveFloat
    unit: Literal["GB/s"]


class Latency(Figure):
    """A millionth of a second."""

    unit: Literal["us"]


class Steps(Figure):
    """Denoising steps of a usual request."""

    value: PositiveInt
    unit: Literal["steps"]


class Assumptions(_Part):
    """Figures that nobody published. Every one can be swept by its name."""

    encode_s: Duration
    encode_peak_gb: Gigabytes
    encode_weights_gb: Gigabytes
    diffuse_fixed_s: Seconds
    diffuse_peak_kb_per_token: PerToken
    diffuse_weights_gb: Gigabytes
    decode_s: Duration
    """At the reference shape, in the mode that `Decode.seconds_of` names."""
    decode_peak_gb: Gigabytes
    """Untiled, at the reference shape."""
    decode_tiled: Switch
    decode_tiled_factor: Factor
    decode_tiled_peak_gb: Gigabytes
    """Of one tile and the picture, whatever the shape."""
    decode_weights_gb: Gigabytes
    first_shape_s: Seconds
    batch_growth: Factor
    """Time of a doubled batch over the time before, up to the best batch."""
    link_gb_per_s: Bandwidth
    link_latency_us: Latency
    interference_diffuse_decode: Factor
    interference_encode: Factor


class Row(_Part):
    """Seconds of one step of a shape, one figure a degree."""

    shape: ShapeText
    seconds: tuple[PositiveFloat, ...]


class Repair(_Part):
    """A figure to take instead of an evident error of the source."""

    shape: ShapeText
    degree: PositiveInt
    seconds: PositiveFloat
    reason: Text


class DiffuseTable(_Part):
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


class Decode(_Part):
    """How decode's assumptions are to be read."""

    source: Text
    reference: ShapeText
    seconds_of: Literal["tiled", "untiled"]


class Device(_Part):
    """What the table was measured on."""

    name: Text
    unit: Literal["GB"]
    memory: PositiveFloat
    usable: PositiveFloat
    source: Text


class ArchitectureBlock(_Part):
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


class BestBatch(_Part):
    """Batch size that still pays by number of pixels."""

    unit: Literal["requests by pixels"]
    source: Text
    batches: dict[PositiveInt, PositiveInt]


class MeasuredRow(_Part):
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


class Measured(_Part):
    """Rows beside the published table; units are in the names of their fields."""

    source: Text
    rows: tuple[MeasuredRow, ...]


class SaturationBlock(_Part):
    """The share of a device beyond which a stage gets no faster."""

    source: Text
    compute_percent: PositiveInt
    bandwidth_percent: Annotated[int, Field(ge=0)]


class ProfileFile(_Part):
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
