"""The contact sheet: every picture, and under it what was asked for.

Where things go follows from sizes alone; pillow only measures text and paints. Pictures are
enlarged by whole factors and not smoothed, so the sheet shows their own pixels and no others.

Surprise: a picture whose sides do not divide `CELL` leaves a part of its place empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 384
"""Pixels a side of the place of a picture: a whole multiple of 64, 96 and 128."""
COLUMNS = 4
MARGIN = 32
_FONT, _LINE, _GAP = 28, 36, 12
"""Pixels: letters, line to line, picture to text. A page shows the sheet at half its width."""
_PAPER, _FRAME, _INK, _PALE = "#ffffff", "#d0d0d0", "#202020", "#707070"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One picture of the sheet."""

    picture: Image
    prompt: str
    note: str
    """A short line under the prompt, in paler ink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the tiles go."""

    width: int
    height: int
    corners: tuple[tuple[int, int], ...]
    """Left and top of each tile's place."""


def factor(width: int, height: int) -> int:
    """By how much a picture is enlarged; at least 1.

    >>> [factor(side, side) for side in (64, 96, 128, 100)]
    [6, 4, 3, 3]
    """
    return max(1, CELL // max(width, height))


def wrapped(text: str, measure: Callable[[str], float], *, width: int = CELL) -> tuple[str, ...]:
    """The text in lines no wider than `width`, broken between words.

    >>> wrapped("a red circle", len, width=7)
    ('a red', 'circle')
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and measure(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(lines)


def laid_out(line_counts: Sequence[int]) -> Layout:
    """Tiles row by row; a row is as high as the tile with the most lines of text needs.

    >>> laid_out([1, 3, 1, 1, 2]).corners[3:]
    ((1280, 32), (32, 568))
    """
    corners: list[tuple[int, int]] = []
    top = MARGIN
    for first in range(0, len(line_counts), COLUMNS):
        row = line_counts[first : first + COLUMNS]
        corners += [(MARGIN + column * (CELL + MARGIN), top) for column in range(len(row))]
        top += CELL + _GAP + _LINE * max(row) + MARGIN
    columns = min(COLUMNS, len(line_counts))
    return Layout(width=MARGIN + columns * (CELL + MARGIN), height=top, corners=tuple(corners))


def compose(tiles: Sequence[Tile]) -> Image:
    """The sheet, as a picture."""
    from PIL import Image, ImageDraw, ImageFont  # beside torch, in the extra that the stages need

    font = ImageFont.load_default(_FONT)
    texts = [(*wrapped(tile.prompt, font.getlength), tile.note) for tile in tiles]
    layout = laid_out([len(lines) for lines in texts])
    sheet = Image.new("RGB", (layout.width, layout.height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for tile, lines, (left, top) in zip(tiles, texts, layout.corners, strict=True):
        times = factor(*tile.picture.size)
        size = (tile.picture.width * times, tile.picture.height * times)
        shown = tile.picture.resize(size, Image.Resampling.NEAREST)
        x, y = left + (CELL - shown.width) // 2, top + (CELL - shown.height) // 2
        # Or a picture on white would have no edge.
        pen.rectangle((x - 1, y - 1, x + shown.width, y + shown.height), outline=_FRAME)
        sheet.paste(shown, (x, y))
        for number, line in enumerate(lines, start=1):
            ink = _INK if number < len(lines) else _PALE
            pen.text((left, top + CELL + _GAP + _LINE * (number - 1)), line, ink, font)
    return sheet
