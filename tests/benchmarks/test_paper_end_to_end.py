"""Tiny cells through the whole command: kept, gone on with, and reported with what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmarks.figures import figures

from paper import plots
from paper.__main__ import wanted
from paper.cells import Cell
from paper.grid import Run
from paper.policies import BOUND, OURS, factorial, opponent
from paper.records import Records
from paper.report import Facts, collected, document, not_run
from paper.runner import Effort, Results, key_of, made, make
from paper.targets import Names, evaluate
from paper.validity import (
    Published,
    cell_of,
    dispatch_runs,
    nearest,
    passing_worlds,
    settings,
    survivors,
)
from tridentserve.errors import InvalidFieldError


def tiny(load: float) -> Cell:
    return Cell(
        pipeline="cogvideox",
        load=load,
        deadline="4.4x+2s",
        nodes=1,
        duration_s=60.0,
        warm_up_s=10.0,
        drain_s=400.0,
    )


CELLS = (tiny(0.5), tiny(0.9))
RUNS = [
    Run(section="factorial", cell=cell, contender=contender, seed=1)
    for cell in CELLS
    for contender in (opponent(), OURS, BOUND)
]
EFFORT = Effort(jobs=1, until_s=float("inf"))
FACTS = Facts(date="2026-11-28", source="abc", command="paper", took_s=1.0)


def test_two_cells_with_two_contenders_from_runs_to_report(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Results(path, "source")
    assert make(RUNS[:4], results, EFFORT) == 4
    again = Results(path, "source")
    assert make(RUNS, again, replace(EFFORT, jobs=2)) == 2
    records = collected(RUNS, again.figures)
    for cell in CELLS:
        bound, ours, theirs = (
            records.of(cell.name, name)[1] for name in (BOUND.name, OURS.name, opponent().name)
        )
        assert ours.requests == theirs.requests == bound.requests > 0
        assert bound.attainment >= max(ours.attainment, theirs.attainment)
        assert bound.mean_s <= min(ours.mean_s, theirs.mean_s)
        assert bound.p95_s <= min(ours.p95_s, theirs.p95_s)
        assert ours.impossible == theirs.impossible == 0
    names = Names(ours=OURS.name, theirs=opponent().name)
    assert {one.target for one in evaluate(records, CELLS, names)} >= {"attainment", "P95", "mean"}
    shown = plots.by_load(records, CELLS, [opponent().name, OURS.name], tmp_path / "images")
    assert [file.suffix for file in shown.values()] == [".svg"]
    text = document([], RUNS, again.figures, FACTS, {"a": "images/a.svg"})
    assert "All declared runs are in it." in text
    assert "| factorial | 6 | 0 |  |" in text
    assert Results(path, "another source").figures(RUNS[0]) is None


def test_a_run_gives_the_same_figures_again() -> None:
    assert made(RUNS[1])[0] == made(RUNS[1])[0]


def test_no_run_begins_beyond_the_budget(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl", "source")
    assert make(RUNS, results, replace(EFFORT, until_s=0.0)) == 0


def test_what_was_not_run_is_counted_and_named(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl", "source")
    results.keep(RUNS[0], figures(), 1.0)
    text = not_run(RUNS, results.figures)
    assert f"{CELLS[0].name} (2 of 3)" in text
    assert f"| 6 | 5 | {CELLS[0].name}" in text
    assert CELLS[1].name in text
    whole = document([], RUNS, results.figures, FACTS, {})
    assert "**It is partial**: 1 of 6" in whole


def test_a_line_that_was_cut_short_is_dropped_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, "source").keep(RUNS[0], figures(), 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "cut sho')
    assert Results(path, "source").figures(RUNS[0]) == figures()
    assert path.read_bytes() == whole
    path.write_bytes(whole + b"broken\n")
    with pytest.raises(InvalidFieldError, match=r"results\.jsonl:2"):
        Results(path, "source")


def test_only_patterns_and_seeds_bound_what_is_made() -> None:
    seeds = [Run(section="a", cell=CELLS[0], contender=OURS, seed=one) for one in (1, 2, 3)]
    runs = [*seeds, *RUNS]
    assert wanted(runs, None, 2) == [*seeds[:2], *RUNS]
    assert wanted(runs, ["a/*"], 9) == seeds
    assert wanted(runs, [f"*/{CELLS[1].name}/ours"], 9) == [RUNS[4]]


def test_the_fit_passes_only_within_its_margins() -> None:
    target = Published(attainment=0.15, mean_s=320, p95_s=550)
    assert target.reproduced_by(figures(attainment=0.2, mean_s=384, p95_s=440))
    assert not target.reproduced_by(figures(attainment=0.2, mean_s=385, p95_s=550))
    assert not target.reproduced_by(figures(attainment=0.21, mean_s=320, p95_s=550))


def test_only_worlds_in_which_b1_fits_are_tried_and_the_nearest_departs_the_least() -> None:
    static = figures(attainment=0.14, mean_s=300, p95_s=560)
    one, two, three = ((10.5, 1.2), (15.5, 1.2), (2.0, 1.2))
    records = Records(
        {
            (cell_of(*one).name, "B1/4"): {1: static},
            (cell_of(*one).name, "fit/sound"): {1: figures(attainment=0.6, mean_s=80, p95_s=230)},
            (cell_of(*two).name, "B1/4"): {1: static},
            (cell_of(*two).name, "fit/sound"): {1: figures(attainment=0.85, mean_s=80, p95_s=230)},
            (cell_of(*three).name, "B1/4"): {1: figures()},
        }
    )
    assert survivors(records) == (one, two)
    assert {run.cell for run in dispatch_runs((one,))} == {cell_of(*one)}
    tried = settings(records)
    assert [setting.passes for setting in tried] == [False, True]
    assert passing_worlds(records) == (two,)
    best = nearest(tried)
    assert best is not None
    assert best.passes


def test_the_factorial_crosses_placements_and_dispatches() -> None:
    theirs, ours, ours_there, theirs_here, _ = factorial(opponent())
    assert (ours_there.dispatch, ours_there.placement) == (ours.dispatch, theirs.placement)
    assert (theirs_here.dispatch, theirs_here.placement) == (theirs.dispatch, ours.placement)


def test_the_section_of_a_run_is_no_part_of_its_key() -> None:
    other = Run(section="other", cell=CELLS[0], contender=OURS, seed=1)
    assert key_of(other, "s") == key_of(RUNS[1], "s")
