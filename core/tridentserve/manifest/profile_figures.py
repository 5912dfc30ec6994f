"""Numbers of a profile file, each with its unit and source, and the assumptions made of them.

No number is beyond `LARGEST`: whoever multiplies some of them would end in an overflow, and some
who do read the files of others.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

LARGEST = 1e12
"""Of anything: more seconds, bytes or pixels than there are."""

Text = Annotated[str, Field(min_length=1)]


def _numbers(value: object) -> Iterator[int | float]:
    match value:
        case int() | float():
            yield value
        case tuple():
            for item in value:
                yield from _numbers(item)
        case dict():
            yield from _numbers((*value.keys(), *value.values()))


class Part(BaseModel):
    """A block of the file: nothing unknown is let through, no number beyond `LARGEST`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _stay_in_bounds(cls, value: object) -> object:
        if any(abs(number) > LARGEST for number in _numbers(value)):
            raise ValueError(f"no number may be more than {LARGEST:g}")
        return value


class Figure(Part):
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


class Assumptions(Part):
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
