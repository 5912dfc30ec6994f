"""The tokenizer: a word of the language is one token, and a caption is never cut off."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train_shapes import text, tokenizer
from train_shapes.model import build_tokenizer
from train_shapes.scenes import WORDS, Background, Color, Form, Relation, Scene, Size, Thing
from train_shapes.settings import SHAPES

pytestmark = pytest.mark.models
_WORDS = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=8), max_size=12)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_of_the_language_is_one_token(word: str) -> None:
    assert build_tokenizer(SHAPES.model).tokenize(word) == [f"{word}</w>"]


@given(_WORDS)
def test_whatever_the_words_each_is_one_token(words: list[str]) -> None:
    built = tokenizer.build(words, 16)

    assert [built.tokenize(word) for word in words] == [[f"{word}</w>"] for word in words]


def test_the_longest_caption_fits() -> None:
    things = tuple(Thing(Form.CIRCLE, color, Size.LARGE) for color in tuple(Color)[:3])
    longest = Scene(things, Relation.LEFT_OF, Background.GRAY).caption
    ids = build_tokenizer(SHAPES.model)(longest).input_ids

    assert len(ids) == len(longest.split()) + 2 <= SHAPES.model.max_tokens


def test_other_words_fall_apart_and_other_signs_become_unknown() -> None:
    built = build_tokenizer(SHAPES.model)

    assert built.tokenize("zebra") == ["z", "e", "b", "r", "a</w>"]
    assert built.tokenize("é") == [tokenizer.UNKNOWN] * 2


def test_too_long_a_caption_is_cut_and_still_ends() -> None:
    built = build_tokenizer(SHAPES.model)
    ids = text.tokenize(built, ["a red circle " * 20, ""])

    assert ids.shape == (2, SHAPES.model.max_tokens)
    assert ids[0, -1] == built.eos_token_id
    assert ids[1, :2].tolist() == [built.bos_token_id, built.eos_token_id]
