"""How often each part of the captions holds, over many pictures.

Rates are of pictures, not of things: two colors right of three make a picture with wrong colors.
A part is counted over those pictures alone whose captions ask for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan

from train_shapes.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often one part holds."""

    part: str
    right: int
    asked: int

    @property
    def percent(self) -> float:
        """Of those asked; not a number where nobody asked, so that it reaches no target."""
        return 100 * self.right / self.asked if self.asked else nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rates of one set of pictures."""

    rates: tuple[Rate, ...]

    def __getitem__(self, part: str) -> Rate:
        """The rate of a part, by its name in the table.

        Raises:
            KeyError: no such part.
        """
        return {rate.part: rate for rate in self.rates}[part]

    def __str__(self) -> str:
        """A table in Markdown, aligned to be read as it is."""
        head = f"| {'part of the caption':<20} | right |   of |    rate |"
        line = f"| {'-' * 20} | ----: | ---: | ------: |"
        rows = (
            f"| {rate.part:<20} | {rate.right:>5} | {rate.asked:>4} | {rate.percent:>5.1f} % |"
            for rate in self.rates
        )
        return "\n".join((head, line, *rows))


BACKGROUND = "background"
COUNT = "number of things"
COLORS = "color of every thing"
FORMS = "form of every thing"
RELATION = "relation"
SIZES = "size of every thing"
ALL = "all"


def tally(verdicts: Iterable[Verdict]) -> Table:
    """Count what holds."""
    judged = list(verdicts)
    return Table(
        rates=(
            _rate(BACKGROUND, [verdict.background for verdict in judged]),
            _rate(COUNT, [verdict.count for verdict in judged]),
            _rate(COLORS, [all(verdict.colors) for verdict in judged]),
            _rate(FORMS, [all(verdict.forms) for verdict in judged]),
            _rate(RELATION, [verdict.relation for verdict in judged]),
            _rate(SIZES, [_all_asked(verdict.sizes) for verdict in judged]),
            _rate(ALL, [verdict.holds for verdict in judged]),
        )
    )


def _all_asked(sizes: Sequence[bool | None]) -> bool | None:
    asked = [size for size in sizes if size is not None]
    return all(asked) if asked else None


def _rate(part: str, answers: Sequence[bool | None]) -> Rate:
    return Rate(part=part, right=answers.count(True), asked=len(answers) - answers.count(None))
