"""What is drawn: height, width and frames, and the bounded label that stands for them."""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

# Sides and frame counts that labels round up to. Bounded on purpose: a label per shape that users
# can think of would make as many time series.
_SIDES_PX = (64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 4096)
_FRAMES = (1, 17, 33, 65, 129)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Shape:
    """Size of one picture or clip: pixels and frames."""

    height: int
    width: int
    frames: int = 1

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.height * self.width

    @property
    def volume(self) -> int:
        """Pixels of all frames."""
        return self.pixels * self.frames


def _round_up(value: float, steps: tuple[int, ...]) -> int:
    assert all(low < high for low, high in pairwise(steps))
    return next((step for step in steps if value <= step), steps[-1])


def shape_class(shape: Shape) -> str:
    """The one function that turns a shape into a label of at most 50 values.

    The side is that of a square of the same area, rounded up to a listed one.

    >>> shape_class(Shape(height=512, width=512))
    '512px'
    >>> shape_class(Shape(height=720, width=1280, frames=129))
    '1024px-129f'
    """
    side = _round_up(sqrt(shape.pixels), _SIDES_PX)
    frames = _round_up(shape.frames, _FRAMES)
    return f"{side}px" if frames == 1 else f"{side}px-{frames}f"
