"""Captions can be read back, and what is held out is a fair tenth that training never meets."""

import random
from dataclasses import replace
from itertools import islice, product
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train_shapes.scenes import (
    WORDS,
    Background,
    Color,
    Form,
    Relation,
    Scene,
    Size,
    Thing,
    draw,
    held_out_scenes,
    is_held_out,
    parse,
    training_scenes,
)

RED_CIRCLE = Thing(Form.CIRCLE, Color.RED)
BLUE_SQUARE = Thing(Form.SQUARE, Color.BLUE)
ORANGE_TRIANGLE = Thing(Form.TRIANGLE, Color.ORANGE)

things = st.builds(
    Thing, st.sampled_from(Form), st.sampled_from(Color), st.none() | st.sampled_from(Size)
)


@st.composite
def scenes(build: st.DrawFn) -> Scene:
    some = build(
        st.lists(things, min_size=1, max_size=3, unique_by=lambda thing: (thing.color, thing.form))
    )
    return Scene(
        tuple(some),
        build(st.sampled_from(Relation)) if len(some) > 1 else None,
        build(st.none() | st.sampled_from(Background)),
    )


@given(scenes())
def test_every_caption_reads_back_as_its_scene(scene: Scene) -> None:
    assert parse(scene.caption) == scene


@given(scenes())
def test_every_word_of_a_caption_is_in_the_vocabulary(scene: Scene) -> None:
    assert set(scene.caption.split()) <= set(WORDS)


def test_the_vocabulary_has_no_word_twice_and_none_for_nothing() -> None:
    said = {word for seed in range(500) for word in draw(random.Random(seed)).caption.split()}

    assert len(WORDS) == len(set(WORDS))
    assert said == set(WORDS)


def test_a_caption_is_english() -> None:
    scene = Scene(
        (replace(RED_CIRCLE, size=Size.LARGE), ORANGE_TRIANGLE, BLUE_SQUARE),
        Relation.LEFT_OF,
        Background.WHITE,
    )

    assert scene.caption == (
        "a large red circle left of an orange triangle left of a blue square on a white background"
    )


@pytest.mark.parametrize(
    ("caption", "complaint"),
    [
        ("a rod circle", r"'rod' \(word 2\).*red, green"),
        ("a red cube", r"'cube' \(word 3\).*circle, square"),
        ("two red circles", r"'two' \(word 1\)"),
        ("a red circle beside a blue square", r"'beside' \(word 4\)"),
        ("a red circle on a pink background", r"'pink' \(word 6\).*white"),
        ("a red circle on a white background today", r"'today' \(word 8\)"),
        ("a red circle above a blue square below a green circle", r"'below' \(word 8\)"),
        ("a red circle above", "ends where"),
        ("", "ends where"),
        ("a red circle above a red circle", "same color and form"),
    ],
)
def test_what_cannot_be_read_is_named(caption: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(caption)


def test_a_fourth_thing_is_refused() -> None:
    four = " above ".join(f"a {color} circle" for color in ("red", "green", "blue", "yellow"))

    with pytest.raises(ValueError, match="'above'"):
        parse(four)


@pytest.mark.parametrize(
    ("some", "relation"),
    [
        ((), None),
        ((RED_CIRCLE,), Relation.ABOVE),
        ((RED_CIRCLE, BLUE_SQUARE), None),
        ((RED_CIRCLE, replace(RED_CIRCLE, size=Size.SMALL)), Relation.ABOVE),
    ],
)
def test_impossible_scenes_cannot_be_made(
    some: tuple[Thing, ...], relation: Relation | None
) -> None:
    with pytest.raises(ValueError, match=r"things|relation"):
        Scene(some, relation)


def test_drawn_scenes_are_as_varied_as_promised() -> None:
    rng = random.Random(1)
    drawn = [draw(rng) for _ in range(4000)]

    assert [mean(len(scene.things) == count for scene in drawn) for count in (1, 2, 3)] == (
        pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    )
    assert mean(scene.background is not None for scene in drawn) == pytest.approx(0.75, abs=0.03)
    assert mean(thing.size is not None for scene in drawn for thing in scene.things) == (
        pytest.approx(0.6, abs=0.03)
    )


def test_a_tenth_of_all_pairs_is_held_out_in_every_relation() -> None:
    kinds = [Thing(form, color) for form, color in product(Form, Color)]
    for relation in Relation:
        shares = mean(
            is_held_out(Scene((a, b), relation)) for a, b in product(kinds, kinds) if a != b
        )
        assert shares == pytest.approx(0.1, abs=0.04)


def test_a_tenth_of_all_single_things_is_held_out() -> None:
    singles = [
        Scene((Thing(form, color, size),), None, background)
        for form, color, size, background in product(
            Form, Color, (None, *Size), (None, *Background)
        )
    ]

    assert mean(map(is_held_out, singles)) == pytest.approx(0.1, abs=0.04)


@given(scenes().filter(lambda scene: len(scene.things) > 1))
def test_the_same_arrangement_in_other_words_is_held_out_alike(scene: Scene) -> None:
    opposite = {
        Relation.LEFT_OF: Relation.RIGHT_OF,
        Relation.RIGHT_OF: Relation.LEFT_OF,
        Relation.ABOVE: Relation.BELOW,
        Relation.BELOW: Relation.ABOVE,
    }
    assert scene.relation is not None
    other = Scene(scene.things[::-1], opposite[scene.relation], None)

    assert is_held_out(scene) == is_held_out(other)


@given(scenes().filter(lambda scene: len(scene.things) == 3))
def test_one_pair_that_is_held_out_holds_out_all_three(scene: Scene) -> None:
    pairs = (Scene(scene.things[:2], scene.relation), Scene(scene.things[1:], scene.relation))

    assert is_held_out(scene) == any(map(is_held_out, pairs))


def test_what_is_held_out_never_changes() -> None:
    """A model in use was trained against this choice: another one would make its test a lie."""
    reserved = [
        f"{color} {form} {relation}"
        for relation, color, form in product(Relation, Color, Form)
        if (color, form) != (Color.RED, Form.CIRCLE)
        and is_held_out(Scene((Thing(form, color), RED_CIRCLE), relation))
    ]

    assert reserved == [
        "red triangle left of",
        "purple circle right of",
        "red square above",
        "blue circle below",
        "blue triangle below",
    ]


def test_training_never_meets_what_is_held_out() -> None:
    seen = list(islice(training_scenes(random.Random(2)), 2000))

    assert not any(map(is_held_out, seen))
    assert not set(seen) & set(held_out_scenes(3, 200))


def test_held_out_scenes_are_distinct_held_out_and_the_same_for_a_seed() -> None:
    scenes = held_out_scenes(5, 200)

    assert len(set(scenes)) == 200
    assert all(map(is_held_out, scenes))
    assert scenes == held_out_scenes(5, 200)
    assert scenes != held_out_scenes(6, 200)
