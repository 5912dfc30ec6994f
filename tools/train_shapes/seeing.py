"""What a picture shows, found by plain image analysis: its background and the things on it.

1. The background is the median color: no scene covers half of its picture.
2. A pixel is a mixture of the background and one of the `COLORS`. Seen from the background each
   color lies in a direction of its own, so the direction says which one it is and the distance
   how much of it; half of it makes the pixel part of a thing. A soft edge keeps its direction,
   where the nearest color of the palette would turn it into a ring of a third color.
3. Connected pixels of one color are a thing, unless no disc of some size fits in: then they are
   a speck, or the seam where two colors touch, and go to the thing next to them, if there is one.
4. Its form is the one whose ideal picture, of the same area and centroid, overlaps with it most.

It knows no caption, so it cannot see what it hopes for. It takes blur, noise and shifted colors,
and says None where a background, color or form is like none that it knows.

Surprise: things of one color that touch are seen as one, and a square on its corner is taken for
a circle, which it is more like than it is like an upright square.

Lengths are in sides of the picture (of a square one of the same area), y points down.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL.Image import Image
from skimage.filters import gaussian
from skimage.measure import label
from skimage.morphology import isotropic_erosion
from skimage.segmentation import expand_labels

from train_shapes.render import AREAS, BACKGROUNDS, COLORS, RADII, Floats, Pixels, coverage
from train_shapes.scenes import Background, Color, Form, Size

Labels = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LEAST_BACKGROUND = 0.7
"""Share of the picture; three large circles leave 0.81."""
_FARTHEST_BACKGROUND = 60.0
_FARTHEST_COLOR = 90.0
"""In levels of RGB: what is farther from all that a caption can name has no name."""
_SMOOTHING = 0.008
"""Blur (sigma) against noise; without it a noisy thing falls apart into several."""
_LEAST_SHARE = 0.5
"""Of a color in a pixel, to be part of a thing."""
_LEAST_DISC = 0.036
"""Radius that makes a thing: a small triangle holds 0.056, a seam is one or two pixels wide."""
_FRINGE = 0.04
"""How far around a thing its soft edge is looked for."""
_SOFTNESS = (0.0, 0.012, 0.024)
"""Blurs (sigma) that a form is compared with: a soft square is more like a soft square than like
any circle, but more like a sharp circle than like a sharp square."""
_LEAST_OVERLAP = 0.78
"""Intersection over union, below which a form has no name. A circle has 0.83 with a square and 0.7
with a triangle, an ellipse of 7 to 5 has 0.81 with a circle."""
_LARGE_FROM = (RADII[Size.SMALL] * RADII[Size.LARGE]) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenThing:
    """One thing, as far as it can be told."""

    color: Color | None
    form: Form | None
    x: float
    y: float
    """Centroid."""
    radius: float
    """As in `Placed.radius`; of a circle of the same area, where there is no form."""

    @property
    def size(self) -> Size:
        """The class that the radius belongs to."""
        return Size.LARGE if self.radius >= _LARGE_FROM else Size.SMALL

    def __str__(self) -> str:
        """As in "large red circle at (0.25, 0.50)"."""
        color, form = self.color or "odd-colored", self.form or "blob"
        return f"{self.size} {color} {form} at ({self.x:.2f}, {self.y:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that was found."""

    background: Background | None
    things: tuple[SeenThing, ...]
    """From left to right."""

    def __str__(self) -> str:
        """A list for people."""
        things = ", ".join(map(str, self.things)) or "nothing"
        return f"{things}; {self.background or 'no clear'} background"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outline:
    """Where a thing is, [height, width] each."""

    core: Mask
    """Surely part of it."""
    reach: Mask
    """All that can be part of it, its soft edge included."""


def see(picture: Pixels | Image) -> Seen:
    """Say what a picture shows.

    Args:
        picture: RGB, [height, width, 3].

    Raises:
        ValueError: not of that shape, or not of bytes.
    """
    pixels = np.asarray(picture.convert("RGB") if isinstance(picture, Image) else picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"picture: {pixels.dtype}{list(pixels.shape)} is not uint8 [h, w, 3]")
    levels = pixels.astype(np.float64)
    ground = np.median(levels, axis=(0, 1))
    kinds = _kinds(gaussian(levels, _SMOOTHING * len(levels), channel_axis=2), ground)
    clean = np.mean(kinds == 0) >= _LEAST_BACKGROUND
    things = (_thing(levels, ground, outline) for outline in _outlines(kinds))
    return Seen(
        background=_nearest(ground, BACKGROUNDS, _FARTHEST_BACKGROUND) if clean else None,
        things=tuple(sorted(things, key=lambda thing: (thing.x, thing.y))),
    )


def _kinds(levels: Floats, ground: Floats) -> Labels:
    """Of each pixel the color that it is a mixture of, as its place in `COLORS` from 1; else 0."""
    rays = np.array(list(COLORS.values())) - ground
    lengths = np.maximum(np.linalg.norm(rays, axis=1), 1)  # 0 where a color is the background.
    along = (levels - ground) @ (rays.T / lengths)
    nearest = along.argmax(axis=2)
    share = along.max(axis=2) / lengths[nearest]
    return np.where(share >= _LEAST_SHARE, nearest + 1, 0)


def _outlines(kinds: Labels) -> Iterator[_Outline]:
    """Find the things, and leave out the specks."""
    side = kinds.size**0.5
    regions: Labels = label(kinds, connectivity=1)
    cores = np.zeros_like(regions)
    for region in np.flatnonzero(np.bincount(regions.flat) >= np.pi * (_LEAST_DISC * side) ** 2):
        # Padded, because a thing that the border cuts off ends there.
        inside = np.pad((regions == region) & (kinds > 0), 1)
        cores[isotropic_erosion(inside, _LEAST_DISC * side)[1:-1, 1:-1]] = region
    found = np.unique(cores[cores > 0])
    reach = expand_labels(np.where(np.isin(regions, found), regions, 0), _FRINGE * side)
    for region in found:
        yield _Outline(core=cores == region, reach=reach == region)


def _thing(levels: Floats, ground: Floats, outline: _Outline) -> SeenThing:
    color = np.median(levels[outline.core], axis=0)
    ray = color - ground
    share = np.clip((levels - ground) @ ray / max(float(ray @ ray), 1.0), 0, 1) * outline.reach
    height, width = share.shape
    side = share.size**0.5
    columns, rows = (np.arange(width) + 0.5) / side, (np.arange(height) + 0.5) / side
    x = float(np.average(columns, weights=share.sum(axis=0)))
    y = float(np.average(rows, weights=share.sum(axis=1)))
    form, radius = _form(share, columns - x, rows[:, None] - y)
    return SeenThing(
        color=_nearest(color, COLORS, _FARTHEST_COLOR), form=form, x=x, y=y, radius=radius
    )


def _form(share: Floats, dx: Floats, dy: Floats) -> tuple[Form | None, float]:
    """The form that overlaps most with what is there, and its radius."""
    side = share.size**0.5
    area = float(share.sum()) / share.size
    best, best_overlap, best_radius = None, _LEAST_OVERLAP, (area / AREAS[Form.CIRCLE]) ** 0.5
    for form, softness in product(Form, _SOFTNESS):
        radius = (area / AREAS[form]) ** 0.5
        ideal = gaussian(coverage(form, dx, dy, radius, side), softness * side)
        overlap = float(np.minimum(share, ideal).sum() / np.maximum(share, ideal).sum())
        if overlap > best_overlap:
            best, best_overlap, best_radius = form, overlap, radius
    return best, best_radius


_Name = TypeVar("_Name", bound=StrEnum)


def _nearest(
    color: Floats, palette: dict[_Name, tuple[int, int, int]], limit: float
) -> _Name | None:
    distances = {name: float(np.linalg.norm(color - levels)) for name, levels in palette.items()}
    name = min(distances, key=distances.__getitem__)
    return name if distances[name] <= limit else None
