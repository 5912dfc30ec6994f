"""Layouts keep what their scene says, and pictures show exactly their layout."""

import random
from itertools import combinations, islice, pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train_shapes.render import (
    AREAS,
    BACKGROUNDS,
    COLORS,
    RADII,
    Layout,
    Placed,
    arrange,
    render,
    render_batch,
)
from train_shapes.scenes import Background, Color, Form, Relation, Scene, Size, Thing, draw

ROOM = [
    Scene(tuple(Thing(form, color, Size.LARGE) for color in islice(Color, 3)), relation)
    for form, relation in product(Form, Relation)
]
"""Three large things of every form in a row: these have least room."""

layouts = st.integers(0, 2**32).map(
    lambda seed: arrange(draw(random.Random(seed)), random.Random(seed + 1))
)


def one(form: Form, size: Size = Size.LARGE, x: float = 0.5, y: float = 0.5) -> Layout:
    thing = Thing(form, Color.RED, size)
    return Layout(
        placed=(Placed(thing=thing, x=x, y=y, radius=RADII[size]),), background=Background.BLACK
    )


def along(relation: Relation, a: Placed, b: Placed) -> tuple[float, float]:
    """Distance from a to b in the named direction, and across it."""
    dx, dy = b.x - a.x, b.y - a.y
    return {
        Relation.LEFT_OF: (dx, dy),
        Relation.RIGHT_OF: (-dx, dy),
        Relation.ABOVE: (dy, dx),
        Relation.BELOW: (-dy, dx),
    }[relation]


@given(st.integers(0, 2**32))
def test_a_layout_keeps_all_that_its_scene_says(seed: int) -> None:
    scene = draw(random.Random(seed))
    layout = arrange(scene, random.Random(seed))

    assert scene.background in (None, layout.background)
    for asked, placed in zip(scene.things, layout.placed, strict=True):
        assert (placed.thing.form, placed.thing.color) == (asked.form, asked.color)
        assert placed.thing.size in tuple(Size)
        assert asked.size in (None, placed.thing.size)
        assert placed.radius == RADII[placed.thing.size or Size.SMALL]


@given(st.sampled_from(ROOM) | st.integers(0, 2**32).map(lambda s: draw(random.Random(s))))
def test_neighbours_stand_apart_along_their_relation_and_near_its_line(scene: Scene) -> None:
    for seed in range(10):
        placed = arrange(scene, random.Random(seed)).placed
        for a, b in pairwise(placed):
            assert scene.relation is not None
            distance, across = along(scene.relation, a, b)
            assert distance > 0.15
            assert abs(across) <= 0.5 * distance


@pytest.mark.parametrize("scene", ROOM, ids=lambda scene: scene.caption)
def test_even_three_large_things_lie_inside_and_apart(scene: Scene) -> None:
    side = 64
    for seed in range(20):
        layout = arrange(scene, random.Random(seed))
        ground = BACKGROUNDS[layout.background]
        alone = [
            (render(Layout(placed=(placed,), background=layout.background), side) != ground).any(2)
            for placed in layout.placed
        ]
        assert all(not (a & b).any() for a, b in combinations(alone, 2))
        for mask in alone:
            assert not np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).any()


def test_what_the_caption_leaves_open_varies() -> None:
    scene = Scene((Thing(Form.CIRCLE, Color.RED),))
    made = [arrange(scene, random.Random(seed)) for seed in range(50)]

    assert {layout.background for layout in made} == set(Background)
    assert {layout.placed[0].thing.size for layout in made} == set(Size)
    assert len({(layout.placed[0].x, layout.placed[0].y) for layout in made}) == 50


def test_a_layout_is_the_same_for_a_seed() -> None:
    scene = draw(random.Random(4))

    assert arrange(scene, random.Random(1)) == arrange(scene, random.Random(1))


def test_a_thing_without_size_cannot_be_placed() -> None:
    with pytest.raises(ValueError, match="size"):
        Placed(thing=Thing(Form.CIRCLE, Color.RED), x=0.5, y=0.5, radius=0.1)


@given(layouts)
def test_things_have_their_color_at_their_centre_and_all_else_is_background(
    layout: Layout,
) -> None:
    side = 64
    picture = render(layout, side)

    assert picture.shape == (side, side, 3)
    assert picture.dtype == np.uint8
    for placed in layout.placed:
        row, column = int(placed.y * side), int(placed.x * side)
        assert tuple(picture[row, column]) == COLORS[placed.thing.color]
    assert (picture == BACKGROUNDS[layout.background]).all(axis=2).mean() > 0.7


@pytest.mark.parametrize("size", Size)
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("side", [64, 96, 128])
def test_a_form_covers_its_area_around_its_centroid(form: Form, size: Size, side: int) -> None:
    x, y = 0.47, 0.52
    share = render(one(form, size, x, y), side)[..., 0] / COLORS[Color.RED][0]
    axis = (np.arange(side) + 0.5) / side

    assert share.mean() == pytest.approx(AREAS[form] * RADII[size] ** 2, rel=0.02)
    assert np.average(axis, weights=share.sum(axis=0)) == pytest.approx(x, abs=0.2 / side)
    assert np.average(axis, weights=share.sum(axis=1)) == pytest.approx(y, abs=0.2 / side)


def test_a_triangle_points_up() -> None:
    widths = (render(one(Form.TRIANGLE), 64)[..., 0] > 110).sum(axis=1)
    rows = widths[widths > 0]

    assert (np.diff(rows) >= 0).all()
    assert rows[-1] > 4 * rows[0]


def test_edges_are_soft_by_one_pixel() -> None:
    across = render(one(Form.CIRCLE), 64)[32, :, 0]

    assert ((across > 0) & (across < COLORS[Color.RED][0])).sum() <= 4
    assert len(np.unique(render(one(Form.CIRCLE), 64))) > 20


def test_a_picture_is_the_same_at_any_side_but_finer() -> None:
    layout = arrange(draw(random.Random(8)), random.Random(8))
    fine = render(layout, 128).astype(float).reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))

    assert np.abs(fine - render(layout, 64)).mean() < 1


def test_a_batch_is_its_pictures() -> None:
    rng = random.Random(5)
    some = [arrange(draw(rng), rng) for _ in range(5)]
    batch = render_batch(some, 64)

    assert batch.shape == (5, 64, 64, 3)
    for picture, layout in zip(batch, some, strict=True):
        np.testing.assert_array_equal(picture, render(layout, 64))


def test_no_two_colors_are_close() -> None:
    palette = [*COLORS.values(), *BACKGROUNDS.values()]

    assert (len(COLORS), len(BACKGROUNDS)) == (len(Color), len(Background))
    for a, b in combinations(palette, 2):
        assert np.linalg.norm(np.subtract(a, b)) > 95
