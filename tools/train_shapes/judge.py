"""Whether a picture shows what its caption says, part by part.

`see` says what is in the picture without knowing the caption; only then is that compared here.
Which thing of the picture is which of the caption follows from color and form, both counting
alike. Where that leaves a choice, the one counts under which most of the rest holds: a picture is
judged by the reading that is kindest to it.

What counts as holding:

| part | holds if |
| --- | --- |
| background | it is the one named |
| count | there are as many things as in the caption, no more and no fewer |
| color, form, size | each thing of the caption has one in the picture that has it |
| relation | between each thing and the next the named direction is the main one, and clear |

It overlooks what `see` does: patches that have not the area of a disc with a radius of 0.036 sides
or no room for it, and what is less than half its color over the background. Ten dots with a radius
of 0.033 beside the one thing asked for pass, and so does a second form at 45 % opacity.

A thing that is missing has no color, form or size and stands nowhere, so all of these fail with
it. A thing too many fails the count alone. What the caption leaves open is None and fails nothing.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, permutations

from PIL.Image import Image

from train_shapes.render import Pixels
from train_shapes.scenes import Relation, Scene, Thing
from train_shapes.seeing import Seen, SeenThing, see
from train_shapes.tally import Table, tally
from train_shapes.verdict import Verdict

__all__ = ["Seen", "SeenThing", "Table", "Verdict", "compare", "judge", "see", "tally"]

_CLEAR = 0.04
"""Least distance of two centres along the named direction, in sides of the picture."""
_MOST_LOOKED_AT = 6
"""Things of a picture that are compared, the largest: beyond it is a mess, and slow to sort out."""


def judge(picture: Pixels | Image, scene: Scene) -> Verdict:
    """Judge a picture.

    Args:
        picture: RGB, [height, width, 3].
        scene: what it should show.

    Raises:
        ValueError: the picture is not of that shape, or not of bytes.
    """
    return compare(see(picture), scene)


def compare(seen: Seen, scene: Scene) -> Verdict:
    """Judge what was seen."""
    return max(
        (_verdict(seen, scene, match) for match in _matches(seen.things, len(scene.things))),
        key=_kindness,
    )


def _matches(things: Sequence[SeenThing], count: int) -> Iterator[tuple[SeenThing | None, ...]]:
    """All ways to give each thing of the caption one of the picture, or none for want of any."""
    largest = sorted(things, key=lambda thing: -thing.radius)[:_MOST_LOOKED_AT]
    return permutations([*largest, *[None] * (count - len(largest))], count)


def _verdict(seen: Seen, scene: Scene, match: Sequence[SeenThing | None]) -> Verdict:
    pairs = list(zip(scene.things, match, strict=True))
    return Verdict(
        background=None if scene.background is None else seen.background == scene.background,
        count=len(seen.things) == len(scene.things),
        colors=tuple(found is not None and found.color == asked.color for asked, found in pairs),
        forms=tuple(found is not None and found.form == asked.form for asked, found in pairs),
        relation=None if scene.relation is None else _related(scene.relation, match),
        sizes=tuple(_sized(asked, found) for asked, found in pairs),
    )


def _kindness(verdict: Verdict) -> tuple[int, bool, int]:
    return (
        sum(verdict.colors) + sum(verdict.forms),
        verdict.relation is not False,
        -verdict.sizes.count(False),
    )


def _sized(asked: Thing, found: SeenThing | None) -> bool | None:
    return None if asked.size is None else found is not None and found.size == asked.size


def _related(relation: Relation, match: Sequence[SeenThing | None]) -> bool:
    return all(
        a is not None and b is not None and _stands(relation, a, b) for a, b in pairwise(match)
    )


def _stands(relation: Relation, a: SeenThing, b: SeenThing) -> bool:
    dx, dy = b.x - a.x, b.y - a.y
    along, across = {
        Relation.LEFT_OF: (dx, dy),
        Relation.RIGHT_OF: (-dx, dy),
        Relation.ABOVE: (dy, dx),
        Relation.BELOW: (-dy, dx),
    }[relation]
    return along >= max(_CLEAR, abs(across))
