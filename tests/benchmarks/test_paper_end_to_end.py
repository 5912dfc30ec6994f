"""Tiny cells through runner and report: kept, gone on with, and reported with what is missing."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.benchmarks.figures import figures

import tridentserve
from paper import plots
from paper.__main__ import RECORDS, arguments, compared, main, make_all, wanted
from paper.cells import Cell
from paper.declared_cells import core, small
from paper.grid import Run, family_runs, sections
from paper.policies import BOUND, OURS, factorial, opponent, opponents
from paper.records import Records
from paper.report import Facts, document
from paper.runner import (
    Effort,
    Kept,
    Measured,
    Results,
    key_of,
    made,
    make,
    make_one_by_one,
    source_files,
)
from paper.shown import Shown, collected
from paper.targets import Names, evaluate
from paper.validity import fit_runs
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
    Run(section="headline", cell=cell, contender=contender, seed=1)
    for cell in CELLS
    for contender in (opponent(), OURS, BOUND)
]
EFFORT = Effort(jobs=1, until_s=float("inf"))
FACTS = Facts(date="2026-11-28", source="abc", command="paper", pictures={"a": "images/a.svg"})


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
    assert Results(path, "another source").figures(RUNS[0]) is None


def test_no_second_process_makes_runs_for_the_same_records(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    first, second = Results(path, "source"), Results(path, "source")

    with (
        first.held(),
        pytest.raises(InvalidFieldError, match="another process makes runs"),
        second.held(),
    ):
        pass

    with second.held():
        second.keep(RUNS[0], figures(), took_s=1.0)
    assert Results(path, "source").figures(RUNS[0]) == figures()


def test_pictures_of_the_same_records_are_the_same_files(tmp_path: Path) -> None:
    records = Records(
        {(cell.name, OURS.name): {1: figures(), 2: figures(attainment=0.8)} for cell in CELLS}
    )
    drawn = [
        [path.read_bytes() for path in plots.by_load(records, CELLS, [OURS.name], folder).values()]
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert len(drawn[0]) == 1
    assert drawn[0] == drawn[1]


def test_a_run_gives_the_same_figures_again() -> None:
    assert made(RUNS[1])[0] == made(RUNS[1])[0]


def test_no_run_begins_beyond_the_budget(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl", "source")
    assert make(RUNS, results, replace(EFFORT, until_s=0.0)) == 0


def kept(run: Run, source: str = "abc") -> Kept:
    return Kept(
        key=f"{run.label}{run.seed}",
        label=run.label,
        source=source,
        commit="c0ffee",
        seed=run.seed,
        took_s=60.0,
        figures=figures(),
    )


def test_the_report_of_nothing_claims_nothing_and_says_what_is_missing() -> None:
    text = document(Shown(look=lambda run: None, measured=()), FACTS)
    assert "No claim about the paper's" in text
    assert text.count("**nothing is claimed**") == 2
    assert "a guess of ours" in text
    assert "since nothing of it was run:** validity, family, headline" in text
    assert "| headline | Is ours ahead of theirs, on 32 devices? | 0 of" in text


def test_the_report_of_a_part_says_how_large_a_part_it_is_and_by_which_source() -> None:
    known = {(small(core()[0]).name, one.name) for one in (opponent(), OURS)}
    known |= {(run.cell.name, run.contender.name) for run in family_runs()[:30]}

    def look(run: Run) -> Kept | None:
        return kept(run) if (run.cell.name, run.contender.name) in known else None

    measured = Measured(group="comparison", source="old", commit="c0ffee", runs=40, took_s=2400.0)
    text = document(Shown(look=look, measured=(measured,)), FACTS)
    assert "| comparison | c0ffee | `old`, an older one | 40 | 40 |" in text
    assert (
        "| headline | Is ours ahead of theirs, on 32 devices? | 40 of 360 | 11% | 40.0 | 360 |"
        in text
    )
    assert "better in 0 of 1 cells, worse in 0, open in 1" in text
    assert "![a](images/a.svg)" in text


def test_a_group_is_reported_by_the_source_that_measured_it_last(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    fit, compared = fit_runs()[0], RUNS[0]
    Results(path, "first", "a").keep(fit, figures(attainment=0.1), 1.0)
    Results(path, "first", "a").keep(RUNS[1], figures(attainment=0.2), 1.0)
    Results(path, "second", "b").keep(compared, figures(attainment=0.3), 2.0)
    third = Results(path, "third")
    assert third.figures(compared) is None
    assert [(one.group, one.commit, one.runs) for one in third.measured()] == [
        ("fit", "a", 1),
        ("comparison", "b", 1),
    ]
    found = {run: third.reported(run) for run in (fit, RUNS[1], compared)}
    shown = {run: one.figures.attainment for run, one in found.items() if one is not None}
    assert shown == {fit: 0.1, compared: 0.3}


def test_a_contender_whose_settings_are_changed_is_not_reported_until_it_is_run_again(
    tmp_path: Path,
) -> None:
    results = Results(tmp_path / "results.jsonl", "source")
    before = replace(RUNS[1], contender=replace(OURS, dispatch="Fifo"))
    results.keep(before, figures(), 1.0)
    assert results.reported(before) is not None
    assert results.reported(RUNS[1]) is None


def in_all_rounds(path: Path, best: str) -> Results:
    """The whole family as if it had been run, with one member that is best everywhere."""
    results = Results(path, "source")
    for run in family_runs():
        results.keep(run, figures(attainment=0.9 if run.contender.name == best else 0.8), 1.0)
    return results


def test_nothing_is_compared_with_an_opponent_that_another_has_beaten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = arguments(["--budget-minutes", "0"])
    chosen, other = opponent().name, next(one for one in opponents() if one != opponent()).name
    make_all(nothing, in_all_rounds(tmp_path / "a.jsonl", chosen))
    assert "nothing is compared" not in capsys.readouterr().err
    make_all(nothing, in_all_rounds(tmp_path / "b.jsonl", other))
    assert f"CHOSEN is to be {other}" in capsys.readouterr().err


def test_no_prediction_is_made_from_the_fit_of_another_source() -> None:
    kept = Results(RECORDS, source="none")
    assert Shown(look=kept.reported, measured=()).predicted
    assert {run.section for run in compared(kept)} == {one.name for one in sections()}


def test_runs_that_follow_from_others_are_made_one_by_one_until_none_follows(
    tmp_path: Path,
) -> None:
    results = Results(tmp_path / "results.jsonl", "source")
    left = [RUNS[0]]

    def following() -> Run | None:
        return left[0] if results.figures(left[0]) is None else None

    assert make_one_by_one(following, results, replace(EFFORT, until_s=0.0)) == 0
    assert make_one_by_one(following, results, EFFORT) == 1


def test_a_line_that_was_cut_short_is_dropped_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Results(path, "source").keep(RUNS[0], figures(), 1.0)
    whole = path.read_bytes()
    cut = whole + b'{"key": "cut sho'
    path.write_bytes(cut)
    results = Results(path, "source")
    assert results.figures(RUNS[0]) == figures()
    assert path.read_bytes() == cut, "somebody may be writing it"
    with results.held():
        assert path.read_bytes() == whole
    path.write_bytes(whole + b"broken\n")
    with pytest.raises(InvalidFieldError, match=r"results\.jsonl:2"):
        Results(path, "source")


def test_the_command_says_what_is_wrong_with_the_records_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text("broken\n")
    given = ["--results", str(path), "--docs", str(tmp_path), "--budget-minutes"]
    assert main([*given, "0"]) == 1
    assert f"paper: {path}:1: is no record" in capsys.readouterr().err
    path.write_text("")
    with Results(path, "source").held():
        assert main([*given, "1"]) == 1
    assert "another process makes runs" in capsys.readouterr().err


LOADED = """
import sys, paper.outcomes
from pathlib import Path
names = [name for name in sys.modules if name.split(".")[0] in ("paper", "tridentserve")]
print("\\n".join(sys.modules[name].__file__ for name in names))
"""
EXEMPT = {
    "paper/__init__.py": "a docstring",
    "tridentserve/__init__.py": "a docstring and the version",
    "tridentserve/errors.py": "what is raised; a run that raises has no figures",
    "tridentserve/manifest/__init__.py": "a docstring",
    "tridentserve/stage/__init__.py": "a docstring",
}


def test_every_file_that_a_run_loads_is_in_the_hash_of_its_source_or_named_here() -> None:
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", LOADED]
    shown = subprocess.run(
        command, env=os.environ | paths, check=True, capture_output=True, text=True
    ).stdout
    hashed = set(source_files())
    left = [file for line in shown.splitlines() if (file := Path(line)) not in hashed]
    roots = [Path(tridentserve.__file__).parents[1], RECORDS.parents[1]]
    assert {
        str(file.relative_to(root)) for file in left for root in roots if root in file.parents
    } == set(EXEMPT)


def test_only_patterns_and_seeds_bound_what_is_made() -> None:
    seeds = [Run(section="a", cell=CELLS[0], contender=OURS, seed=one) for one in (1, 2, 3)]
    runs = [*seeds, *RUNS]
    assert wanted(runs, None, 2) == [*seeds[:2], *RUNS]
    assert wanted(runs, ["a/*"], 9) == seeds
    assert wanted(runs, [f"*/{CELLS[1].name}/ours"], 9) == [RUNS[4]]


def test_the_factorial_crosses_placements_and_dispatches() -> None:
    theirs, ours, ours_there, alone, theirs_here, _ = factorial(opponent())
    assert (ours_there.dispatch, ours_there.placement) == (ours.dispatch, theirs.placement)
    assert (theirs_here.dispatch, theirs_here.placement) == (theirs.dispatch, ours.placement)
    assert (alone.dispatch, alone.placement) != (ours.dispatch, ours.placement)


def test_the_section_of_a_run_is_no_part_of_its_key() -> None:
    other = Run(section="other", cell=CELLS[0], contender=OURS, seed=1)
    assert key_of(other, "s") == key_of(RUNS[1], "s")
