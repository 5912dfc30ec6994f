"""What the fields of scenarios are made of: numbers in their bounds, names that must be known."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tridentserve.domain.shapes import Shape
from tridentserve.sim.deadlines import RULES

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]


def parse_shape(value: object) -> object:
    """`768x1360x81` is height, width and frames; frames may be left out."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})(?:x([1-9]\d{0,4}))?", value)
    if found is None:
        raise ValueError("must be HEIGHTxWIDTH or HEIGHTxWIDTHxFRAMES")
    height, width, frames = found.groups(default="1")
    return Shape(height=int(height), width=int(width), frames=int(frames))


def one_of(names: tuple[str, ...]) -> AfterValidator:
    """A name out of a list."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"no {value!r}; there are {', '.join(names)}")
        return value

    return AfterValidator(check)


def known_to(make: Callable[[str], object]) -> AfterValidator:
    """A name that a registry knows; its own error says which there are."""

    def check(value: str) -> str:
        make(value)
        return value

    return AfterValidator(check)


ShapeText = Annotated[Shape, BeforeValidator(parse_shape)]
RuleName = Annotated[str, one_of(tuple(RULES))]


class Part(BaseModel):
    """A part of a scenario: nothing unknown, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)
