"""The three stages of a diffusion pipeline, in order."""

from collections.abc import Iterable
from enum import StrEnum


class Stage(StrEnum):
    """One stage; the value is the word used in the API, in labels and in metrics."""

    ENCODE = "encode"
    DIFFUSE = "diffuse"
    DECODE = "decode"

    @property
    def next(self) -> "Stage | None":
        """The stage that reads this one's output, None after decode."""
        position = STAGES.index(self) + 1
        return STAGES[position] if position < len(STAGES) else None

    @property
    def previous(self) -> "Stage | None":
        """The stage whose output this one reads, None before encode."""
        position = STAGES.index(self)
        return STAGES[position - 1] if position else None


STAGES = (Stage.ENCODE, Stage.DIFFUSE, Stage.DECODE)


def stages_label(stages: Iterable[Stage]) -> str:
    """The label value of a set of stages: sorted words joined by dots.

    >>> stages_label([Stage.ENCODE, Stage.DECODE])
    'decode.encode'
    """
    return ".".join(sorted(set(stages)))


def parse_stages_label(value: str) -> frozenset[Stage]:
    """Read a label back.

    Raises:
        ValueError: a word is not a stage.

    >>> sorted(parse_stages_label("decode.encode"))
    [<Stage.DECODE: 'decode'>, <Stage.ENCODE: 'encode'>]
    """
    return frozenset(Stage(word) for word in value.split("."))
