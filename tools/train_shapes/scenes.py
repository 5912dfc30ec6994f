"""What a caption can say: one to three coloured forms, where they stand, on which background.

The whole language of the model `shapes`. It is small enough that a caption can be read back
without doubt, so that a picture can be judged against it, and large enough (some millions of
captions) that a model cannot have seen them all:

    caption = thing [relation thing [relation thing]] ["on" "a" background "background"]
    thing   = "a" [size] color form

    >>> parse("a large red circle above an orange square on a white background").relation
    <Relation.ABOVE: 'above'>

It draws nothing and knows no coordinates: that is `render`. A relation holds between each thing
and the next, so a caption of three things names the same relation twice.

Surprise: `is_held_out` looks at which two things stand in which relation, not at the wording. Size
and background of neighbours do not count, and "a left of b" is "b right of a". Of three things it
looks at neighbours alone: one in ten of those scenes that training draws has a reserved pair as its
outer two, so what is held out is captions, not all pictures that show such a pair.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import pairwise, product
from typing import TypeVar


class Form(StrEnum):
    """What a thing is."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"


class Color(StrEnum):
    """Color of a thing; never one of a background."""

    RED = "red"
    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    PURPLE = "purple"
    ORANGE = "orange"


class Background(StrEnum):
    """Color of all that is not a thing."""

    WHITE = "white"
    BLACK = "black"
    GRAY = "gray"


class Size(StrEnum):
    """How large a thing is."""

    SMALL = "small"
    LARGE = "large"


class Relation(StrEnum):
    """Where a thing stands, seen from the next one of the caption."""

    LEFT_OF = "left of"
    RIGHT_OF = "right of"
    ABOVE = "above"
    BELOW = "below"


_MOST_THINGS = 3
_SIZE_SHARE = 0.6
_BACKGROUND_SHARE = 0.75
_COUNT_WEIGHTS = (0.25, 0.5, 0.25)
"""Shares of scenes with one, two and three things."""
_HELD_OUT_PERCENT = 10
_KINDS = tuple(product(Color, Form))
_OPPOSITE = {Relation.RIGHT_OF: Relation.LEFT_OF, Relation.BELOW: Relation.ABOVE}

WORDS: tuple[str, ...] = (
    *("a", "an", "on", "background"),
    *dict.fromkeys(word for relation in Relation for word in relation.split()),
    *(str(word) for words in (Size, Color, Form, Background) for word in words),
)
"""Every word that a caption can contain, each once, in an order that never changes."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One form of a scene."""

    form: Form
    color: Color
    size: Size | None = None
    """None: the caption leaves it open."""

    @property
    def phrase(self) -> str:
        """As in a caption, like "an orange circle"."""
        words = [word for word in (self.size, self.color, self.form) if word is not None]
        return " ".join(["an" if words[0][0] in "aeiou" else "a", *words])


@dataclass(frozen=True, slots=True)
class Scene:
    """What a caption says.

    Raises:
        ValueError: not one to three things, two of them with equal color and form (nobody could
            tell which is which), or a relation where there is nothing to relate, or none.
    """

    things: tuple[Thing, ...]
    """In the order of the caption."""
    relation: Relation | None = None
    """Between each thing and the next; None for one thing."""
    background: Background | None = None
    """None: the caption leaves it open."""

    def __post_init__(self) -> None:
        """Refuse what no picture could show without doubt."""
        count = len(self.things)
        if not 1 <= count <= _MOST_THINGS:
            raise ValueError(f"things: 1 to {_MOST_THINGS} make a scene, not {count}")
        if len({(thing.color, thing.form) for thing in self.things}) < count:
            raise ValueError("things: two have the same color and form")
        if (self.relation is None) != (count == 1):
            raise ValueError("relation: two or three things have one, a single thing has none")

    @property
    def caption(self) -> str:
        """The scene in words; `parse` reads it back."""
        things = f" {self.relation} ".join(thing.phrase for thing in self.things)
        return things if self.background is None else f"{things} on a {self.background} background"


_Word = TypeVar("_Word", bound=StrEnum)


class _Reader:
    """Takes a caption apart from left to right."""

    def __init__(self, caption: str) -> None:
        self._words = caption.lower().split()
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._words)

    def optional(self, choices: Iterable[_Word]) -> _Word | None:
        """The choice that comes next; or None, and then nothing is taken."""
        for choice in choices:
            words = choice.split()
            if self._words[self._at : self._at + len(words)] == words:
                self._at += len(words)
                return choice
        return None

    def required(self, choices: Iterable[_Word]) -> _Word:
        found = self.optional(choices)
        if found is None:
            raise self.unexpected(", ".join(choices))
        return found

    def literal(self, *words: str) -> None:
        if self.done or self._words[self._at] not in words:
            raise self.unexpected(" or ".join(words))
        self._at += 1

    def thing(self) -> Thing:
        self.literal("a", "an")
        size = self.optional(Size)
        color = self.required(Color)
        return Thing(form=self.required(Form), color=color, size=size)

    def background(self) -> Background:
        self.literal("on")
        self.literal("a", "an")
        background = self.required(Background)
        self.literal("background")
        return background

    def unexpected(self, wanted: str) -> ValueError:
        if self.done:
            return ValueError(f"caption: ends where this should come: {wanted}")
        word = self._words[self._at]
        return ValueError(
            f"caption: cannot read {word!r} (word {self._at + 1}) where this should come: {wanted}"
        )


def parse(caption: str) -> Scene:
    """Read a caption.

    Raises:
        ValueError: names the word that cannot be read, or says what makes the scene impossible.
    """
    reader = _Reader(caption)
    things = [reader.thing()]
    relation = reader.optional(Relation)
    if relation is not None:
        things.append(reader.thing())
        while len(things) < _MOST_THINGS and reader.optional((relation,)) is not None:
            things.append(reader.thing())
    background = None if reader.done else reader.background()
    if not reader.done:
        raise reader.unexpected("the end")
    return Scene(things=tuple(things), relation=relation, background=background)


def draw(rng: random.Random) -> Scene:
    """Draw any scene of the language, held out or not."""
    (count,) = rng.choices(range(1, _MOST_THINGS + 1), weights=_COUNT_WEIGHTS)
    things = tuple(
        Thing(form, color, _maybe(rng, Size, _SIZE_SHARE))
        for color, form in rng.sample(_KINDS, count)
    )
    relation = None if count == 1 else rng.choice(tuple(Relation))
    return Scene(things, relation, _maybe(rng, Background, _BACKGROUND_SHARE))


def _maybe(rng: random.Random, choices: type[_Word], share: float) -> _Word | None:
    return rng.choice(tuple(choices)) if rng.random() < share else None


def is_held_out(scene: Scene) -> bool:
    """Whether training must never see this scene, because a pair of neighbours is reserved.

    About one pair in ten is: which two things (color and form) in which relation. Of single
    things, one combination of size, color, form and background in ten. The choice is by hash, so
    it is the same everywhere and for ever.
    """
    return any(
        int.from_bytes(sha256(key.encode()).digest()[:4]) % 100 < _HELD_OUT_PERCENT
        for key in _combinations(scene)
    )


def _combinations(scene: Scene) -> Iterator[str]:
    relation = scene.relation
    if relation is None:
        yield f"{scene.things[0].phrase} on {scene.background}"
        return
    flipped = relation in _OPPOSITE
    for pair in pairwise(scene.things):
        first, second = reversed(pair) if flipped else pair
        yield (
            f"{first.color} {first.form} {_OPPOSITE.get(relation, relation)} "
            f"{second.color} {second.form}"
        )


def training_scenes(rng: random.Random) -> Iterator[Scene]:
    """Draw for ever; never a scene that is held out."""
    while True:
        scene = draw(rng)
        if not is_held_out(scene):
            yield scene


def held_out_scenes(seed: int, count: int) -> tuple[Scene, ...]:
    """Draw that many distinct scenes that training never sees; equal for equal arguments."""
    rng = random.Random(seed)
    found: dict[Scene, None] = {}
    while len(found) < count:
        scene = draw(rng)
        if is_held_out(scene):
            found[scene] = None
    return tuple(found)
