"""The contact sheet: where its tiles go, and that it shows each picture's own pixels."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tridentserve_local.demo.sheet import (
    CELL,
    COLUMNS,
    MARGIN,
    Tile,
    compose,
    factor,
    laid_out,
    wrapped,
)

COUNTS = st.lists(st.integers(min_value=1, max_value=6), min_size=1, max_size=13)
RED, BLUE = (255, 0, 0), (0, 0, 255)


@settings(deadline=None)
@given(COUNTS)
def test_tiles_neither_overlap_nor_leave_the_sheet(counts: list[int]) -> None:
    layout = laid_out(counts)

    assert len(layout.corners) == len(counts)
    for left, top in layout.corners:
        assert MARGIN <= left <= layout.width - CELL - MARGIN
        assert MARGIN <= top <= layout.height - CELL - MARGIN
    for (left, top), (next_left, next_top) in pairwise(layout.corners):
        assert next_left >= left + CELL + MARGIN or next_top >= top + CELL + MARGIN


@settings(deadline=None)
@given(COUNTS)
def test_a_longer_text_pushes_down_the_rows_below_it_and_no_others(counts: list[int]) -> None:
    before = laid_out(counts).corners
    longest = max(counts[:COLUMNS])

    after = laid_out([longest + 1, *counts[1:]]).corners

    assert after[:COLUMNS] == before[:COLUMNS]
    below = zip(before[COLUMNS:], after[COLUMNS:], strict=True)
    assert all(late > early for (_, early), (_, late) in below)


@settings(deadline=None)
@given(st.text(alphabet="ab ", max_size=60), st.integers(min_value=3, max_value=20))
def test_wrapping_loses_no_word_and_is_too_wide_only_for_a_word_that_is(
    text: str, width: int
) -> None:
    lines = wrapped(text, len, width=width)

    assert " ".join(lines).split() == text.split()
    assert all(len(line) <= width or " " not in line for line in lines)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (100, 128), (2000, 10)])
def test_pictures_are_enlarged_as_far_as_whole_factors_go(width: int, height: int) -> None:
    times = factor(width, height)

    assert times >= 1
    assert (times + 1) * max(width, height) > CELL


def test_the_sheet_shows_the_pixels_of_each_picture_and_text_under_it() -> None:
    pictures = [Image.new("RGB", (side, side), RED) for side in (64, 96, 128, 64, 128)]
    for picture in pictures:
        picture.putpixel((0, 0), BLUE)
    tiles = [Tile(picture=one, prompt="a red circle", note="64 x 64") for one in pictures]

    sheet = compose(tiles)

    layout = laid_out([2] * len(tiles))
    assert sheet.size == (layout.width, layout.height)
    for (left, top), picture in zip(layout.corners, pictures, strict=True):
        shown = sheet.crop((left, top, left + CELL, top + CELL))
        times = factor(*picture.size)
        assert shown.resize(picture.size, Image.Resampling.NEAREST).tobytes() == picture.tobytes()
        assert sorted(shown.getcolors() or []) == [
            (times**2, BLUE),
            (CELL**2 - times**2, RED),
        ]
        below = sheet.crop((left, top + CELL + 1, left + CELL, top + CELL + MARGIN))
        assert len(below.getcolors(CELL * MARGIN) or []) > 2


def test_a_picture_of_another_size_stands_in_the_middle_of_its_place() -> None:
    sheet = compose([Tile(picture=Image.new("RGB", (100, 50), RED), prompt="x", note="y")])

    place = sheet.crop((MARGIN, MARGIN, MARGIN + CELL, MARGIN + CELL))
    red = Image.eval(place.getchannel("G"), lambda value: 255 * (value == 0)).getbbox()

    assert red == ((CELL - 300) // 2, (CELL - 150) // 2, (CELL + 300) // 2, (CELL + 150) // 2)
