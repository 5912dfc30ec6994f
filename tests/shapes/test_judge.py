"""The judge passes what is right, even drawn badly, and fails exactly the part that is wrong."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, permutations, product
from math import isnan

import numpy as np
import pytest
from PIL import Image
from skimage.filters import gaussian

from train_shapes.judge import Verdict, judge, see, tally
from train_shapes.render import BACKGROUNDS, RADII, Layout, Pixels, Placed, arrange, render
from train_shapes.scenes import Background, Color, Form, Scene, Size, Thing, draw, parse
from train_shapes.tally import ALL, BACKGROUND, COLORS, COUNT, FORMS, RELATION, SIZES

SCENES = 320


def drawn(side: int, seed: int) -> list[tuple[Pixels, Scene]]:
    rng = random.Random(seed)
    scenes = [draw(rng) for _ in range(SCENES)]
    return [(render(arrange(scene, rng), side), scene) for scene in scenes]


def worn(picture: Pixels, blur_px: float, noise: float, shift: float, seed: int) -> Pixels:
    """A picture as a small model draws it: soft, noisy, and off in its colors.

    Args:
        picture: what it should have been.
        blur_px: sigma.
        noise: sigma, in levels of 255.
        shift: largest constant offset of each channel, in levels.
        seed: of noise and shift.
    """
    rng = np.random.default_rng(seed)
    soft = gaussian(picture.astype(float), blur_px, channel_axis=2)
    soft += rng.normal(0, noise, soft.shape) + rng.uniform(-shift, shift, 3)
    levels: Pixels = np.clip(soft, 0, 255).astype(np.uint8)
    return levels


def placed(form: Form, color: Color, size: Size, x: float, y: float) -> Placed:
    return Placed(thing=Thing(form, color, size), x=x, y=y, radius=RADII[size])


CAPTION = parse("a large red circle left of a small blue square on a white background")
CIRCLE = placed(Form.CIRCLE, Color.RED, Size.LARGE, 0.3, 0.48)
SQUARE = placed(Form.SQUARE, Color.BLUE, Size.SMALL, 0.72, 0.53)
GREEN = placed(Form.TRIANGLE, Color.GREEN, Size.SMALL, 0.5, 0.85)
GOOD = Layout(placed=(CIRCLE, SQUARE), background=Background.WHITE)


def colored(thing: Placed, color: Color) -> Placed:
    return replace(thing, thing=replace(thing.thing, color=color))


def formed(thing: Placed, form: Form) -> Placed:
    return replace(thing, thing=replace(thing.thing, form=form))


DEFECTS = {
    "none": (GOOD, ()),
    "other background": (replace(GOOD, background=Background.GRAY), ("background",)),
    "swapped colors": (
        replace(GOOD, placed=(colored(CIRCLE, Color.BLUE), colored(SQUARE, Color.RED))),
        ("colors",),
    ),
    "one other color": (replace(GOOD, placed=(colored(CIRCLE, Color.ORANGE), SQUARE)), ("colors",)),
    "one other form": (replace(GOOD, placed=(CIRCLE, formed(SQUARE, Form.TRIANGLE))), ("forms",)),
    "a circle for a square": (
        replace(GOOD, placed=(CIRCLE, formed(SQUARE, Form.CIRCLE))),
        ("forms",),
    ),
    "swapped sides": (
        replace(GOOD, placed=(replace(CIRCLE, x=0.72), replace(SQUARE, x=0.28))),
        ("relation",),
    ),
    "above, not left": (
        replace(GOOD, placed=(replace(CIRCLE, x=0.5, y=0.3), replace(SQUARE, x=0.55, y=0.7))),
        ("relation",),
    ),
    "one too large": (
        replace(GOOD, placed=(CIRCLE, replace(SQUARE, radius=RADII[Size.LARGE]))),
        ("sizes",),
    ),
    "one too many": (replace(GOOD, placed=(CIRCLE, SQUARE, GREEN)), ("count",)),
    "a second red circle": (
        replace(GOOD, placed=(CIRCLE, SQUARE, replace(CIRCLE, x=0.8, y=0.8))),
        ("count",),
    ),
}


@pytest.mark.parametrize("side", [64, 96, 128])
def test_what_is_drawn_right_holds_in_every_part(side: int) -> None:
    table = tally(judge(picture, scene) for picture, scene in drawn(side, seed=side))

    assert [rate.right for rate in table.rates] == [rate.asked for rate in table.rates]
    assert min(rate.asked for rate in table.rates) > SCENES / 2


@pytest.mark.parametrize("side", [64, 96, 128])
def test_blur_noise_and_shifted_colors_change_no_verdict(side: int) -> None:
    """The bound that is promised: sigma 0.7 pixels, noise of 8 levels, colors off by up to 12."""
    table = tally(
        judge(worn(picture, 0.7, 8, 12, seed), scene)
        for seed, (picture, scene) in enumerate(drawn(side, seed=side + 1))
    )

    assert [rate.right for rate in table.rates] == [rate.asked for rate in table.rates]


def test_half_as_much_again_still_costs_less_than_a_percent() -> None:
    table = tally(
        judge(worn(picture, 1.1, 12, 18, seed), scene)
        for seed, (picture, scene) in enumerate(drawn(64, seed=9))
    )

    assert all(table[part].percent >= 99 for part in (BACKGROUND, COUNT, COLORS, FORMS, RELATION))


def test_strong_noise_breaks_no_thing_apart() -> None:
    for seed, (picture, scene) in enumerate(drawn(128, seed=10)[:100]):
        assert judge(worn(picture, 0, 25, 0, seed), scene).count


@pytest.mark.parametrize("form", Form)
def test_small_soft_forms_of_64_pixels_are_told_apart_wherever_they_stand(form: Form) -> None:
    rng = random.Random(1)
    for seed in range(200):
        thing = placed(form, rng.choice(tuple(Color)), Size.SMALL, rng.uniform(0.2, 0.8), 0.5)
        layout = Layout(placed=(thing,), background=rng.choice(tuple(Background)))
        (seen,) = see(worn(render(layout, 64), 1.1, 10, 12, seed)).things
        assert (seen.form, seen.color, seen.size) == (form, thing.thing.color, Size.SMALL)


@pytest.mark.parametrize("wear", [(0.0, 0.0, 0.0), (0.7, 8.0, 12.0)], ids=["clean", "worn"])
@pytest.mark.parametrize("side", [64, 96, 128])
@pytest.mark.parametrize("defect", DEFECTS)
def test_a_single_defect_fails_exactly_its_part(
    defect: str, side: int, wear: tuple[float, float, float]
) -> None:
    layout, failures = DEFECTS[defect]
    verdict = judge(worn(render(layout, side), *wear, seed=1), CAPTION)

    assert verdict.failures == failures
    assert verdict.holds == (not failures)


def test_only_the_thing_with_the_defect_is_marked() -> None:
    layout, _ = DEFECTS["one other form"]

    assert judge(render(layout, 64), CAPTION).forms == (True, False)
    assert judge(render(DEFECTS["one other color"][0], 64), CAPTION).colors == (False, True)
    assert judge(render(DEFECTS["one too large"][0], 64), CAPTION).sizes == (True, False)


def test_a_missing_thing_has_no_color_no_form_no_size_and_no_place() -> None:
    verdict = judge(render(replace(GOOD, placed=(SQUARE,)), 64), CAPTION)

    assert verdict == Verdict(
        background=True,
        count=False,
        colors=(False, True),
        forms=(False, True),
        relation=False,
        sizes=(False, True),
    )


def test_of_three_things_each_neighbour_has_to_stand_right() -> None:
    scene = parse("a red circle left of a blue square left of a green triangle")
    row = [replace(thing, y=0.5) for thing in (CIRCLE, SQUARE, GREEN)]
    for xs in permutations([0.2, 0.5, 0.8]):
        things = tuple(replace(thing, x=x) for thing, x in zip(row, xs, strict=True))
        verdict = judge(render(replace(GOOD, placed=things), 64), scene)
        assert verdict.relation == (xs == (0.2, 0.5, 0.8))
        assert verdict.count
        assert all(verdict.colors + verdict.forms)


def test_what_the_caption_leaves_open_is_not_judged() -> None:
    verdict = judge(render(GOOD, 64), parse("a red circle left of a blue square"))

    assert (verdict.background, verdict.sizes) == (None, (None, None))
    assert verdict.holds

    alone = judge(render(replace(GOOD, placed=(CIRCLE,)), 64), parse("a red circle"))
    assert alone.relation is None
    assert alone.holds


def test_captions_of_other_pictures_hold_no_more_than_by_chance() -> None:
    pairs = drawn(64, seed=4)
    others = pairs[1:] + pairs[:1]
    table = tally(
        judge(picture, scene) for (picture, _), (_, scene) in zip(pairs, others, strict=True)
    )

    assert table[BACKGROUND].percent == pytest.approx(100 / 3, abs=8)
    assert table[COUNT].percent == pytest.approx(37.5, abs=8)
    assert table[COLORS].percent < 15
    assert table[FORMS].percent < 30
    assert table[RELATION].percent < 30
    assert table[ALL].percent < 2


@pytest.mark.parametrize("background", Background)
def test_things_of_two_colors_that_touch_are_two(background: Background) -> None:
    for left, right in product(Color, repeat=2):
        if left == right:
            continue
        # The square's edge lies on the circle's outline: 0.5 - 0.85 * 0.14 - 0.14.
        layout = Layout(
            placed=(
                placed(Form.CIRCLE, left, Size.LARGE, 0.243, 0.5),
                placed(Form.SQUARE, right, Size.LARGE, 0.5, 0.5),
            ),
            background=background,
        )
        for picture in (render(layout, 64), worn(render(layout, 64), 0.7, 8, 12, seed=3)):
            seen = see(picture).things
            assert [(thing.color, thing.form) for thing in seen] == [
                (left, Form.CIRCLE),
                (right, Form.SQUARE),
            ], f"{left} touches {right}"


def test_specks_are_no_things() -> None:
    picture = render(GOOD, 64)
    for row, column in ((5, 5), (50, 10), (60, 60), (10, 40)):
        picture[row : row + 2, column : column + 2] = (20, 160, 75)

    assert judge(picture, CAPTION).holds


def test_a_triangle_on_its_head_has_no_form_and_a_bar_neither() -> None:
    layout = Layout(placed=(GREEN,), background=Background.WHITE)
    bar = np.full((64, 64, 3), 255, np.uint8)
    bar[30:36, 10:40] = (20, 160, 75)

    assert [thing.form for thing in see(render(layout, 64)).things] == [Form.TRIANGLE]
    assert [thing.form for thing in see(render(layout, 64)[::-1]).things] == [None]
    assert [thing.form for thing in see(bar).things] == [None]


def test_a_brown_thing_is_a_thing_of_no_color() -> None:
    picture = render(GOOD, 64)
    picture[5:15, 45:55] = (90, 60, 40)
    seen = see(picture)

    assert len(seen.things) == 3
    assert {thing.color for thing in seen.things} == {Color.RED, Color.BLUE, None}
    assert judge(picture, CAPTION).failures == ("count",)


def _plain(levels: tuple[int, int, int]) -> Pixels:
    return np.full((64, 64, 3), levels, np.uint8)


def _noise() -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def _halves() -> Pixels:
    picture = _plain((255, 255, 255))
    picture[:, :31] = 0
    return picture


@pytest.mark.parametrize(
    "make",
    [
        lambda: _plain((255, 255, 255)),
        lambda: _plain((220, 20, 45)),
        lambda: _plain((0, 0, 0)),
        _noise,
        _halves,
    ],
    ids=["white", "red", "black", "noise", "halves"],
)
def test_no_picture_at_all_holds_nothing(make: Callable[[], Pixels]) -> None:
    verdict = judge(make(), CAPTION)

    assert {"count", "forms", "relation"} <= set(verdict.failures)
    assert not all(verdict.colors)


def test_a_background_that_is_none_of_the_three_or_two_at_once_has_no_name() -> None:
    assert see(_plain((220, 20, 45))).background is None
    assert see(_plain((60, 200, 190))).background is None
    assert see(_halves()).background is None
    for background, levels in BACKGROUNDS.items():
        assert see(_plain(levels)).background == background


def test_a_messy_picture_is_judged_by_its_largest_things() -> None:
    """Without a limit the ways to match would grow beyond all bounds."""
    picture = _plain((255, 255, 255))
    for row, column in product(range(3, 60, 9), repeat=2):
        picture[row : row + 6, column : column + 6] = (220, 20, 45)

    verdict = judge(picture, CAPTION)
    assert not verdict.count
    assert len(see(picture).things) == 49


def test_places_and_radii_are_those_of_the_layout() -> None:
    rng = random.Random(6)
    for _ in range(50):
        layout = arrange(draw(rng), rng)
        seen = see(render(layout, 96)).things
        asked = sorted(layout.placed, key=lambda thing: (thing.x, thing.y))
        for found, thing in zip(seen, asked, strict=True):
            assert (found.x, found.y) == pytest.approx((thing.x, thing.y), abs=0.003)
            assert found.radius == pytest.approx(thing.radius, rel=0.03)


def test_a_pillow_image_and_its_pixels_are_seen_alike() -> None:
    picture = render(GOOD, 64)

    assert see(Image.fromarray(picture)) == see(picture)


@pytest.mark.parametrize(
    "picture",
    [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3))],
    ids=["gray", "alpha", "floats"],
)
def test_what_is_no_picture_is_refused(picture: Pixels) -> None:
    with pytest.raises(ValueError, match="uint8"):
        judge(picture, CAPTION)


def test_verdicts_and_what_was_seen_can_be_read() -> None:
    verdicts = [judge(render(DEFECTS[name][0], 64), CAPTION) for name in ("none", "swapped sides")]

    assert list(map(str, verdicts)) == ["holds", "wrong: relation"]
    assert str(see(render(GOOD, 64))) == (
        "large red circle at (0.30, 0.48), small blue square at (0.72, 0.53); white background"
    )


def verdict(
    background: bool | None = True,
    colors: Sequence[bool] = (True,),
    sizes: Sequence[bool | None] = (None,),
) -> Verdict:
    return Verdict(
        background=background,
        count=True,
        colors=tuple(colors),
        forms=(True,) * len(colors),
        relation=None,
        sizes=tuple(sizes),
    )


def test_a_rate_counts_pictures_whose_caption_asks() -> None:
    table = tally(
        [
            verdict(),
            verdict(background=None, sizes=(True, None), colors=(True, False)),
            verdict(background=False, sizes=(True, False)),
        ]
    )
    counts = {rate.part: (rate.right, rate.asked) for rate in table.rates}

    assert counts == {
        BACKGROUND: (1, 2),
        COUNT: (3, 3),
        COLORS: (2, 3),
        FORMS: (3, 3),
        RELATION: (0, 0),
        SIZES: (1, 2),
        ALL: (1, 3),
    }
    assert table[COLORS].percent == pytest.approx(66.67, abs=0.01)


def test_a_part_that_nobody_asked_for_reaches_no_target() -> None:
    assert isnan(tally([verdict()])[RELATION].percent)


def test_a_table_is_markdown() -> None:
    lines = str(tally([verdict(), verdict(colors=(False,))])).splitlines()

    assert len({line.count("|") for line in lines}) == 1
    assert lines[4].split("|")[1:-1] == [f" {COLORS:<20} ", "     1 ", "    2 ", "  50.0 % "]


def test_no_two_colors_are_confused_on_any_background() -> None:
    """Every two colors differ to the judge on every background, at the small size."""
    for (a, b), background in product(combinations(Color, 2), Background):
        layout = Layout(
            placed=(
                placed(Form.CIRCLE, a, Size.SMALL, 0.3, 0.5),
                placed(Form.CIRCLE, b, Size.SMALL, 0.7, 0.5),
            ),
            background=background,
        )
        assert [thing.color for thing in see(worn(render(layout, 64), 1, 8, 20, 2)).things] == [
            a,
            b,
        ]
