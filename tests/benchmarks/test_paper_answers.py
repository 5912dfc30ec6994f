"""What is claimed of ours against theirs, and what is left open."""

from dataclasses import replace

from tests.benchmarks.figures import figures, records

from paper.answers import MEASURES, claims, comparison, gains, in_all_worlds, shares
from paper.cells import Cell
from paper.records import BySeed, Records

CELL = Cell(pipeline="cogvideox", load=0.85, deadline="2.5x")
SEEDS = 20


def seeded(ours: float, theirs: float, *, count: int = SEEDS, spread: float = 0.001) -> Records:
    """Attainment around two means, and P95 that is half as long for ours."""
    one = [figures(attainment=ours + spread * (s % 3), p95_s=50.0 + s % 2) for s in range(count)]
    other = [figures(attainment=theirs + spread * (s % 2)) for s in range(count)]
    return records(**{CELL.name: {"ours": one, "theirs": other}})


def test_twenty_seeds_that_agree_are_a_claim() -> None:
    text = claims(seeded(0.95, 0.90), [CELL], "ours", "theirs")
    assert "**attainment**: better in 1 of 1 cells" in text
    assert "**P95**: better in 1 of 1 cells (x 0.50)" in text
    assert "**mean**: better in 0 of 1 cells, worse in 0, open in 1" in text


def test_what_is_worse_is_said_to_be() -> None:
    assert "worse in 1 (-5" in claims(seeded(0.85, 0.90), [CELL], "ours", "theirs")


def test_nineteen_seeds_are_none() -> None:
    text = claims(seeded(0.95, 0.90, count=SEEDS - 1), [CELL], "ours", "theirs")
    assert "nothing is claimed" in text
    table = comparison(seeded(0.95, 0.90, count=SEEDS - 1), [CELL], "ours", "theirs")
    assert "+0.05" in table
    assert "**" not in table


def test_a_difference_within_chance_is_open() -> None:
    wide = records(
        **{
            CELL.name: {
                "ours": [figures(attainment=0.9 + 0.05 * (-1) ** s) for s in range(SEEDS)],
                "theirs": [figures(attainment=0.899)] * SEEDS,
            }
        }
    )
    found = gains(wide, [CELL], "ours", "theirs", MEASURES[0])[CELL.name]
    assert found.is_better
    assert not found.is_certain


def test_many_cells_need_more_than_one() -> None:
    others = [Cell(pipeline="flux", load=0.1 * n, deadline="2.5x") for n in range(1, 9)]
    rows = {
        "ours": [0.9 + 0.02 * (-1) ** s + 0.0095 for s in range(SEEDS)],
        "theirs": [0.9] * SEEDS,
    }
    made = {name: [figures(attainment=value) for value in found] for name, found in rows.items()}
    same = {name: [figures()] * SEEDS for name in made}
    alone = records(**{CELL.name: made})
    among = records(**{CELL.name: made}, **{cell.name: same for cell in others})
    first = gains(alone, [CELL], "ours", "theirs", MEASURES[0])[CELL.name]
    corrected = gains(among, [CELL, *others], "ours", "theirs", MEASURES[0])[CELL.name]
    assert corrected.p > first.p


def _in_worlds(*attainments: float) -> tuple[Records, list[Cell]]:
    """One cell in as many worlds, in which theirs has 0.9."""
    cells = [
        replace(CELL, decode_s=1.0 + index, slow_down=1.2) for index in range(len(attainments))
    ]
    found: dict[tuple[str, str], BySeed] = {}
    for cell, attainment in zip(cells, attainments, strict=True):
        made = seeded(attainment, 0.9)
        found |= {(cell.name, who): made.of(CELL.name, who) for who in ("ours", "theirs")}
    return Records(found), cells


def test_what_is_better_in_every_world_is_said_to_be() -> None:
    found, cells = _in_worlds(0.95, 0.96)
    text = in_all_worlds(found, cells, "ours", "theirs", [(1.0, 1.2), (2.0, 1.2)])
    assert f"attainment in `{CELL.name}`" in text
    assert "mean in none" in text


def test_what_is_better_in_all_worlds_but_one_is_not() -> None:
    found, cells = _in_worlds(0.95, 0.89)
    text = in_all_worlds(found, cells, "ours", "theirs", [(1.0, 1.2), (2.0, 1.2)])
    assert "attainment in none" in text
    assert f"P95 in `{CELL.name}`" in text


def test_of_a_cell_that_one_world_lacks_nothing_is_said() -> None:
    found, cells = _in_worlds(0.95, 0.96)
    worlds = [(1.0, 1.2), (2.0, 1.2), (3.0, 1.2)]
    assert in_all_worlds(found, cells, "ours", "theirs", worlds) == ""


def test_seeds_that_only_one_has_run_are_left_out() -> None:
    short = seeded(0.95, 0.90)
    found = dict(short.found)
    found[CELL.name, "ours"] = {s: f for s, f in found[CELL.name, "ours"].items() if s > 1}
    assert gains(Records(found), [CELL], "ours", "theirs", MEASURES[0])[CELL.name].seeds == 19


def test_shares_say_what_is_missing_and_what_it_would_take() -> None:
    text = shares({"a": (5, 20, 60.0), "b": (0, 4, 0.0)}, {"a": "A?", "b": "B?"})
    assert "| a | A? | 5 of 20 | 25% | 1.0 | 4 |" in text
    assert "| b | B? | 0 of 4 | 0% | 0.0 | - |" in text
