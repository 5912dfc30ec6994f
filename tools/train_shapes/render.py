"""Draws scenes: first where everything stands (`arrange`), then the pixels (`render`).

Forms are signed distance functions, and a pixel is covered by as much as its centre lies inside,
cut to one pixel of soft edge; so a layout looks alike at any side length.

It knows layouts only, and no captions: what a caption leaves open is decided in `arrange`, by the
`random.Random` that comes in. Lengths are in units of the picture's side, y points down.

Surprise: a thing's place is the centroid of its form, so a triangle reaches further up than down.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from train_shapes.scenes import Background, Color, Form, Relation, Scene, Size, Thing

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

COLORS: dict[Color, tuple[int, int, int]] = {
    Color.RED: (220, 20, 45),
    Color.GREEN: (20, 160, 75),
    Color.BLUE: (30, 85, 230),
    Color.YELLOW: (255, 225, 30),
    Color.PURPLE: (150, 30, 195),
    Color.ORANGE: (255, 125, 0),
}
BACKGROUNDS: dict[Background, tuple[int, int, int]] = {
    Background.WHITE: (255, 255, 255),
    Background.BLACK: (0, 0, 0),
    Background.GRAY: (132, 132, 132),
}
"""Red, green and blue, each 0 to 255; far from one another and from all `COLORS`."""

RADII: dict[Size, float] = {Size.SMALL: 0.092, Size.LARGE: 0.14}
"""Three large triangles in a row just fit; a small one is 12 of 64 pixels wide."""
HALF_SQUARE = 0.85
"""Half a square's side, in radii: its area is 0.92 of the circle's."""
TRIANGLE_REACH = 1.21
"""From a triangle's centroid to its corners, in radii: the largest that fits."""
AREAS: dict[Form, float] = {
    Form.CIRCLE: np.pi,
    Form.SQUARE: (2 * HALF_SQUARE) ** 2,
    Form.TRIANGLE: 3**1.5 / 4 * TRIANGLE_REACH**2,
}
"""In squared radii."""

_MARGIN = 0.02
_GAP = 0.03
"""Least distance along the axis of the relation between the boxes around two neighbours."""
_JITTER = 0.25
"""Of the distance of two neighbours' centres: how far either may stand off the common line."""
_HALF_SQRT3 = 3**0.5 / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A thing at its place.

    Raises:
        ValueError: the thing has no size.
    """

    thing: Thing
    x: float
    y: float
    """Centroid, in sides of the picture; y points down."""
    radius: float
    """Of the circle; other forms are of like size."""

    def __post_init__(self) -> None:
        """Refuse what `render` could only guess at."""
        if self.thing.size is None:
            raise ValueError("thing: has no size, and so cannot be drawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that a picture shows; things of one layout are drawn in their order."""

    placed: tuple[Placed, ...]
    background: Background


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far a form reaches from its centroid, along one axis."""

    before: float
    after: float


def arrange(scene: Scene, rng: random.Random) -> Layout:
    """Decide what the caption leaves open: sizes, background, places.

    Neighbours stand clearly apart along the axis of their relation, less than half as much across
    it, and everything lies inside the picture.
    """
    things = [
        Thing(thing.form, thing.color, thing.size or rng.choice(tuple(Size)))
        for thing in scene.things
    ]
    vertical = scene.relation in (Relation.ABOVE, Relation.BELOW)
    if scene.relation in (Relation.RIGHT_OF, Relation.BELOW):
        things.reverse()
    along = _spread([_reach(thing, vertical) for thing in things], rng)
    distance = min((after - before for before, after in pairwise(along)), default=0.0)
    across = _line_up([_reach(thing, not vertical) for thing in things], distance * _JITTER, rng)
    xs, ys = (across, along) if vertical else (along, across)
    placed = [
        Placed(thing=thing, x=x, y=y, radius=_radius(thing))
        for thing, x, y in zip(things, xs, ys, strict=True)
    ]
    if scene.relation in (Relation.RIGHT_OF, Relation.BELOW):
        placed.reverse()
    background = scene.background or rng.choice(tuple(Background))
    return Layout(placed=tuple(placed), background=background)


def _radius(thing: Thing) -> float:
    assert thing.size is not None
    return RADII[thing.size]


def _reach(thing: Thing, vertical: bool) -> _Reach:
    radius = _radius(thing)
    match thing.form:
        case Form.CIRCLE:
            return _Reach(radius, radius)
        case Form.SQUARE:
            return _Reach(radius * HALF_SQUARE, radius * HALF_SQUARE)
        case Form.TRIANGLE:
            corner = radius * TRIANGLE_REACH
            half_base = corner * _HALF_SQRT3
            return _Reach(corner, corner / 2) if vertical else _Reach(half_base, half_base)


def _spread(reaches: Sequence[_Reach], rng: random.Random) -> list[float]:
    """Centres along the axis: what room is left goes before, between and after at random."""
    taken = sum(reach.before + reach.after for reach in reaches) + _GAP * (len(reaches) - 1)
    room = 1 - 2 * _MARGIN - taken
    shifts = sorted(rng.uniform(0, room) for _ in reaches)
    at, centres = _MARGIN, []
    for reach, shift in zip(reaches, shifts, strict=True):
        centres.append(at + reach.before + shift)
        at += reach.before + reach.after + _GAP
    return centres


def _line_up(reaches: Sequence[_Reach], jitter: float, rng: random.Random) -> list[float]:
    """Centres across the axis: on one line that all fit on, but for the jitter."""
    least = [_MARGIN + reach.before for reach in reaches]
    most = [1 - _MARGIN - reach.after for reach in reaches]
    line = rng.triangular(max(least), min(most))
    return [
        min(max(line + rng.uniform(-jitter, jitter), low), high)
        for low, high in zip(least, most, strict=True)
    ]


def render(layout: Layout, side: int) -> Pixels:
    """Draw one layout.

    Returns:
        RGB, [side, side, 3].
    """
    picture = np.empty((side, side, 3), np.float64)
    picture[:] = BACKGROUNDS[layout.background]
    for placed in layout.placed:
        _paint(picture, placed)
    return np.rint(picture).astype(np.uint8)


def render_batch(layouts: Sequence[Layout], side: int) -> Pixels:
    """Draw many layouts.

    Returns:
        RGB, [number of layouts, side, side, 3].
    """
    pictures = np.empty((len(layouts), side, side, 3), np.uint8)
    for picture, layout in zip(pictures, layouts, strict=True):
        picture[:] = render(layout, side)
    return pictures


def _paint(picture: Floats, placed: Placed) -> None:
    """Blend one thing over the picture, touching no pixels but those around it."""
    side = len(picture)
    reach = placed.radius * TRIANGLE_REACH + 1 / side
    rows, columns = (
        slice(max(0, int((centre - reach) * side)), int((centre + reach) * side) + 1)
        for centre in (placed.y, placed.x)
    )
    dx = (np.arange(side)[columns] + 0.5) / side - placed.x
    dy = (np.arange(side)[rows, None] + 0.5) / side - placed.y
    share = coverage(placed.thing.form, dx, dy, placed.radius, side)[..., None]
    window = picture[rows, columns]
    window += share * (np.array(COLORS[placed.thing.color]) - window)


def coverage(form: Form, dx: Floats, dy: Floats, radius: float, side: float) -> Floats:
    """How much of each pixel a form covers, 0 to 1.

    Args:
        form: what to draw.
        dx: from the form's centroid to each pixel's centre, in sides; broadcasts with `dy`.
        dy: likewise; down.
        radius: in sides.
        side: of the picture, in pixels.
    """
    share: Floats = np.clip(0.5 - _distance(form, dx, dy, radius) * side, 0, 1)
    return share


def _distance(form: Form, dx: Floats, dy: Floats, radius: float) -> Floats:
    """Signed distance to the outline, negative inside; exact but beyond corners."""
    match form:
        case Form.CIRCLE:
            return np.hypot(dx, dy) - radius
        case Form.SQUARE:
            return np.maximum(np.abs(dx), np.abs(dy)) - radius * HALF_SQUARE
        case Form.TRIANGLE:
            slope = _HALF_SQRT3 * np.abs(dx) - dy / 2
            return np.maximum(dy, slope) - radius * TRIANGLE_REACH / 2
