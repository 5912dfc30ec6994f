"""Tables leave nothing out silently, and say what they stand on."""

from tests.benchmarks.figures import figures

from paper.cells import Cell
from paper.records import Records
from paper.tables import by_cell, table, verdicts

TUNED = Cell(pipeline="cogvideox", load=0.85, deadline="2.5x")
HELD_OUT = Cell(pipeline="cogvideox", load=0.85, deadline="1.5x")


def test_a_table_without_rows_says_so() -> None:
    assert table(["a"], []) == "*Nothing of this was run.*"


def test_who_was_not_run_in_a_cell_has_a_dash_there() -> None:
    records = Records({(TUNED.name, "ours"): {1: figures()}})
    assert by_cell(records, [TUNED, HELD_OUT], ["ours", "theirs"]).splitlines()[2:] == [
        "| cogvideox-0.85-2.5x |  | 1 | 0.900 (0.80) 50 / 100 | - |"
    ]


def test_held_out_cells_are_marked() -> None:
    records = Records({(HELD_OUT.name, "ours"): {1: figures()}})
    assert "| held out |" in by_cell(records, [HELD_OUT], ["ours"])


def test_several_seeds_have_an_interval_and_one_has_none() -> None:
    single = {1: figures()}
    several = single | {2: figures(attainment=0.8)}
    rows = [
        by_cell(Records({(TUNED.name, "ours"): found}), [TUNED], ["ours"])
        for found in (single, several)
    ]
    assert "±" not in rows[0]
    assert "0.850 ± 0.635" in rows[1]


def test_targets_that_were_not_run_are_listed() -> None:
    assert verdicts([], [TUNED]).count("not run") == 9
