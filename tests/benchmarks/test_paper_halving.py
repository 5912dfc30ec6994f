"""Rounds of a family: who stays, on what, and that work cut short still has a best one."""

from tests.benchmarks.figures import figures

from paper.halving import ROUNDS, standing
from paper.records import Records

MEMBERS = tuple(f"m{index:02d}" for index in range(18))
CELLS = ("a", "b", "c", "d", "e", "f")
SEEDS = (101, 102, 103, 104, 105)


def worth(name: str) -> float:
    """The last member is the best."""
    return 0.5 + MEMBERS.index(name) / 100


def made(members: tuple[str, ...], cells: tuple[str, ...], seeds: tuple[int, ...]) -> Records:
    return Records(
        {
            (cell, name): {seed: figures(attainment=worth(name)) for seed in seeds}
            for cell in cells
            for name in members
        }
    )


def test_before_the_first_round_everybody_is_left_and_nobody_is_chosen() -> None:
    now = standing(Records({}), MEMBERS, CELLS, SEEDS)
    assert (now.rounds, now.members) == (0, MEMBERS)
    assert (now.cells, now.seeds) == (CELLS[: ROUNDS[0].cells], SEEDS[: ROUNDS[0].seeds])


def test_a_round_that_lacks_one_run_decides_nothing() -> None:
    records = made(MEMBERS[1:], CELLS[:1], SEEDS[:1])
    assert standing(records, MEMBERS, CELLS, SEEDS).rounds == 0


def test_each_round_keeps_the_best_and_asks_more_of_them() -> None:
    first = standing(made(MEMBERS, CELLS[:1], SEEDS[:1]), MEMBERS, CELLS, SEEDS)
    assert first.rounds == 1
    assert first.members == MEMBERS[::-1][: ROUNDS[0].keep]
    assert (first.cells, first.seeds) == (CELLS[: ROUNDS[1].cells], SEEDS[: ROUNDS[1].seeds])


def test_the_rounds_end_with_one() -> None:
    last = standing(made(MEMBERS, CELLS, SEEDS), MEMBERS, CELLS, SEEDS)
    assert last.rounds == len(ROUNDS)
    assert last.members == (MEMBERS[-1],)


def test_luck_of_later_rounds_plays_no_part_in_earlier_ones() -> None:
    records = made(MEMBERS, CELLS[:1], SEEDS[:1])
    assert ROUNDS[0].seeds == 1
    lucky = {102: figures(attainment=1.0), **records.of("a", MEMBERS[0])}
    found = Records({**records.found, ("a", MEMBERS[0]): lucky})
    assert MEMBERS[0] not in standing(found, MEMBERS, CELLS, SEEDS).members
