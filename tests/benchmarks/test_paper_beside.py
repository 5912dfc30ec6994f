"""Everybody beside ours: only what both have run, and what of it is no chance."""

from tests.benchmarks.figures import figures

from paper.beside import against
from paper.cells import Cell
from paper.records import Records

FIRST = Cell(pipeline="cogvideox", load=0.85, deadline="2.5x")
SECOND = Cell(pipeline="cogvideox", load=0.85, deadline="1.5x")
CELLS = (FIRST, SECOND)
SEEDS = range(1, 21)


def row(records: Records, name: str) -> str:
    lines = against(records, CELLS, "ours", ["B4", "B5"]).splitlines()
    return next(one for one in lines if one.startswith(f"| {name} "))


def test_contenders_are_compared_only_where_both_were_run_and_the_others_named() -> None:
    records = Records(
        {
            (FIRST.name, "ours"): {1: figures(attainment=0.9)},
            (FIRST.name, "B4"): {1: figures(attainment=0.8, worst=0.2, mean_s=100.0)},
            (SECOND.name, "B4"): {1: figures(attainment=0.1)},
        }
    )
    assert against(records, CELLS, "ours", ["B4", "B5"]).splitlines()[2:] == [
        "| B4 | 1 | 1 | -0.100 | -0.100 to -0.100 | better in 0, worse in 0"
        " | -0.60 | 2.00 | 1.00 | 1.00 |",
        "",
        "Not run: `B5`.",
    ]


def test_there_is_no_ratio_to_a_reference_that_never_waited() -> None:
    records = Records(
        {
            (FIRST.name, "ours"): {1: figures(wait_s=0.0)},
            (FIRST.name, "B4"): {1: figures(wait_s=3.0)},
        }
    )
    assert row(records, "B4").endswith("| 1.00 | 1.00 | - |")


def test_nothing_is_certain_of_fewer_seeds_than_any_claim_needs() -> None:
    for seeds, certain in ((SEEDS[:-1], "worse in 0"), (SEEDS, "worse in 1")):
        records = Records(
            {
                (FIRST.name, "ours"): {s: figures(attainment=0.9) for s in seeds},
                (FIRST.name, "B4"): {s: figures(attainment=0.8) for s in seeds},
            }
        )
        assert certain in row(records, "B4")


def test_what_one_row_shows_is_corrected_for_all_that_the_table_tests() -> None:
    # By itself p is 0.035, and twice that beside another that is tested.
    gained = {s: 0.9 + (0.01 if s <= 15 else -0.011) for s in SEEDS}
    alone = {
        (FIRST.name, "ours"): {s: figures(attainment=0.9) for s in SEEDS},
        (FIRST.name, "B4"): {s: figures(attainment=gained[s]) for s in SEEDS},
    }
    beside = alone | {
        (FIRST.name, "B5"): {s: figures(attainment=0.9 + (-1) ** s / 100) for s in SEEDS}
    }
    assert "better in 1" in row(Records(alone), "B4")
    assert "better in 0" in row(Records(beside), "B4")


def test_the_least_and_the_most_seeds_are_shown() -> None:
    records = Records(
        {
            (FIRST.name, "ours"): {1: figures()},
            (SECOND.name, "ours"): {1: figures(), 2: figures()},
            (FIRST.name, "B4"): {1: figures()},
            (SECOND.name, "B4"): {1: figures(), 2: figures()},
        }
    )
    assert row(records, "B4").startswith("| B4 | 2 | 1 to 2 |")
