"""Who speaks for a family: rounds in which ever fewer members meet ever more runs. Pure.

Successive halving (Jamieson and Talwalkar 2016): cheap rounds drop those that do worst, and the
runs that are saved go to those that are close. What a round rests on decides how many it may drop:
one run tells members apart by a few requests of some hundreds, which is luck, so that the first
round drops a third and no more. Members meet the same cells and seeds within a round. After every
whole round there is a best one, so that work that was cut short gives an answer too, with less to
rest on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from paper.records import Records, ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What all members that are left meet, and how many of them stay."""

    cells: int
    """So many of the tuning cells, the first."""
    seeds: int
    """So many of the tuning seeds, the first."""
    keep: int


ROUNDS = (
    Round(cells=1, seeds=1, keep=12),
    Round(cells=2, seeds=3, keep=5),
    Round(cells=6, seeds=5, keep=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far the rounds have come."""

    rounds: int
    """Whole rounds."""
    members: tuple[str, ...]
    """Who is left, the best first; nothing is known of their order before the first round."""
    cells: tuple[str, ...]
    seeds: tuple[int, ...]
    """Of the round that is to be made, or was the last."""


def standing(
    records: Records, members: Sequence[str], cells: Sequence[str], seeds: Sequence[int]
) -> Standing:
    """The rounds that were made whole, and what the next one asks for.

    Args:
        records: of any members, cells and seeds.
        members: of the family.
        cells: for tuning, by name, in their order.
        seeds: for tuning, in their order.
    """
    left, done = tuple(members), 0
    where, luck = tuple(cells[: ROUNDS[0].cells]), tuple(seeds[: ROUNDS[0].seeds])
    for one in ROUNDS:
        where, luck = tuple(cells[: one.cells]), tuple(seeds[: one.seeds])
        if not all(seed in records.of(cell, m) for m in left for cell in where for seed in luck):
            break
        met = Records(
            {
                (cell, name): {seed: records.of(cell, name)[seed] for seed in luck}
                for cell in where
                for name in left
            }
        )
        left, done = tuple(ranking(met, where, left)[: one.keep]), done + 1
    return Standing(rounds=done, members=left, cells=where, seeds=luck)
