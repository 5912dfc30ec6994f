"""What is declared is well-formed, means the same in every process, and builds."""

import subprocess
import sys
from collections import Counter
from dataclasses import fields, replace

import pytest

from paper.__main__ import RECORDS
from paper.cells import Cell, is_held_out, profile_of, scenario_of
from paper.contenders import canonical, dispatch_of, placement_of
from paper.declared_cells import core, family_cells, is_small, small
from paper.grid import SEEDS, TUNING_SEEDS, Run, comparison_cells, family_runs, sections
from paper.outcomes import experiment
from paper.policies import (
    CHOSEN,
    OURS,
    WITH_STEPS,
    ablations,
    as_measured,
    baselines,
    best_fits,
    charged_as_measured,
    factorial,
    opponent,
    opponents,
    static_degrees,
)
from paper.runner import Results, key_of
from paper.shown import Shown
from paper.statistics import LEAST_SEEDS
from paper.validity import cell_of, sd3_cell
from paper.words import BESIDE
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.desk import Settings
from tridentserve.sim.experiment import demands_of, least_device_s
from tridentserve.sim.workload import mix

EVERYBODY = (
    *factorial(opponent())[1:],
    *opponents(),
    *static_degrees(),
    *best_fits(),
    *baselines(),
    *ablations(),
    *charged_as_measured(opponent()),
)


def test_names_are_unique() -> None:
    cells = dict.fromkeys((*comparison_cells(), *family_cells(), cell_of(2.0, 1.3)))
    for names in ([one.name for one in cells], [one.name for one in EVERYBODY]):
        assert [name for name, count in Counter(names).items() if count > 1] == []


def test_contenders_differ_in_more_than_their_names() -> None:
    contents = Counter(canonical(replace(one, name="")) for one in EVERYBODY)
    assert [content for content, count in contents.items() if count > 1] == []


def test_every_mechanism_of_ours_is_without_somewhere() -> None:
    changed = {
        field.name
        for one in (*ablations(), WITH_STEPS)
        for field in fields(Settings)
        if getattr(one.dispatch, field.name) != getattr(OURS.dispatch, field.name)
    }
    assert changed == {field.name for field in fields(Settings)} - {"store"}


def test_an_ablation_differs_from_ours_in_one_setting() -> None:
    names = [field.name for field in fields(Settings)]
    for one in ablations():
        changed = [n for n in names if getattr(one.dispatch, n) != getattr(OURS.dispatch, n)]
        assert len(changed) == 1, one.name


def test_who_speaks_for_the_family_is_who_did_best_in_the_runs_that_are_kept() -> None:
    kept = Results(RECORDS, source="none")
    family = Shown(look=kept.reported, measured=()).family
    assert family.rounds >= 1
    assert family.members[0] == CHOSEN["theirs"]


@pytest.mark.parametrize("contender", EVERYBODY, ids=lambda one: one.name)
def test_every_contender_can_be_made(contender: object) -> None:
    made = next(one for one in EVERYBODY if one is contender)
    assert callable(dispatch_of(made.dispatch)(CostModel()).decide)
    assert callable(placement_of(made.placement)[1]().plan)


def test_every_cell_is_a_scenario() -> None:
    for cell in (*comparison_cells(), cell_of(2.0, 1.3), sd3_cell(20.0, 1.2)):
        assert scenario_of(cell, 1, "Colocated").arrivals_s == cell.duration_s


def test_families_are_never_tuned_on_held_out_cells_nor_on_seeds_of_the_comparison() -> None:
    tuned = {run.cell.name for run in family_runs()}
    assert len(tuned) >= 2
    assert not {name for name in tuned if is_held_out(name)}
    compared = {run.seed for one in sections() for run in one.runs}
    assert not compared & set(TUNING_SEEDS)


def test_the_first_question_is_answered_with_enough_seeds_before_the_next_cell_is_begun() -> None:
    first = sections()[0]
    block = first.runs[: len(SEEDS) * len(first.contenders)]
    assert {run.cell for run in block} == {first.cells[0]}
    assert {run.seed for run in block} == set(SEEDS)
    assert len(SEEDS) >= LEAST_SEEDS


def test_who_is_compared_with_ours_has_ours_run_in_the_same_cells_no_later() -> None:
    in_order = sections()
    for _, name, _ in BESIDE:
        index = next(i for i, one in enumerate(in_order) if one.name == name)
        so_far = [run for one in in_order[: index + 1] for run in one.runs]
        ours = {(run.cell, run.seed) for run in so_far if run.contender == OURS}
        assert {(run.cell, run.seed) for run in in_order[index].runs} <= ours, name


def test_no_section_mixes_the_scales_and_the_small_one_keeps_the_load() -> None:
    for one in sections():
        assert len({is_small(cell) for cell in one.cells}) <= 1
    for large in core():
        little = small(large)
        assert (little.load, little.deadline) == (large.load, large.deadline)
        assert little.devices * 4 == large.devices
        assert little.name != large.name


def test_misprofiled_cells_have_a_truthful_one_that_is_run_as_well() -> None:
    known = set(comparison_cells())
    wrong = [cell for cell in known if cell.misprofile]
    assert wrong
    assert all(cell.truthful in known for cell in wrong)


def test_the_division_of_cells_stays_as_it_was_committed() -> None:
    assert is_held_out("cogvideox-0.85-1.5x")
    assert not is_held_out("cogvideox-0.85-2.5x")


def test_a_setting_changes_the_key_and_a_name_does_not() -> None:
    run = next(one for one in sections()[0].runs if one.contender == OURS)
    renamed = replace(run, section="other", contender=replace(OURS, name="other"))
    changed = replace(run, contender=replace(OURS, dispatch=Settings(patience=1.0)))
    assert key_of(run, "a") == key_of(renamed, "a")
    assert len({key_of(one, "a") for one in (run, changed)} | {key_of(run, "b")}) == 3


_IN_A_PROCESS = """
from paper.grid import family_runs
from paper.runner import key_of
print(key_of(family_runs()[0], "x"))
"""


def test_who_is_charged_as_measured_keeps_its_name_and_is_filed_apart() -> None:
    for usual in (opponent(), OURS):
        measured = as_measured(usual)
        keys = [
            key_of(Run(section="s", cell=small(core()[0]), contender=one, seed=1), "source")
            for one in (usual, measured)
        ]
        assert measured.name == usual.name
        assert keys[0] != keys[1]


def test_no_cell_has_two_charges_under_one_name() -> None:
    charges: dict[tuple[str, str], set[str]] = {}
    for run in (run for one in sections() for run in one.runs):
        name = (run.cell.name, run.contender.name)
        charges.setdefault(name, set()).add(canonical(run.contender.decision))
    assert [name for name, found in charges.items() if len(found) > 1] == []


def test_keys_are_the_same_in_every_process() -> None:
    answers = {
        subprocess.run(
            [sys.executable, "-c", _IN_A_PROCESS],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert answers == {key_of(family_runs()[0], "x")}


def test_contenders_meet_the_same_requests_with_the_same_deadlines() -> None:
    cell = Cell(pipeline="flux", load=0.5, deadline="2.5x", nodes=1, duration_s=300.0)
    theirs, ours = (demands_of(experiment(cell, one, 7)) for one in (opponent(), OURS))
    assert theirs == ours
    assert len(theirs) > 5


def test_a_slow_down_leaves_the_load_as_it_is() -> None:
    usual = Cell(pipeline="cogvideox", load=0.8, deadline="2.5x")
    rates = []
    for cell in (usual, replace(usual, slow_down=1.25)):
        asks = experiment(cell, OURS, 1).asks
        rates.append(len(asks) * cell.slow_down / cell.duration_s)
    shapes = tuple({ask.shape for ask in experiment(usual, OURS, 1).asks})
    device_s = least_device_s(profile_of(usual), mix("Medium", shapes, 6))
    for rate in rates:
        assert rate * device_s / usual.devices == pytest.approx(0.8, rel=0.05)


def test_phases_fill_the_time_and_average_to_the_load() -> None:
    cell = Cell(pipeline="cogvideox", load=0.7, deadline="2.5x", phases="five")
    phases = scenario_of(cell, 1, "Colocated").workload.phases
    total = sum((one.load or 0) * one.duration_s for one in phases)
    assert total / cell.duration_s == pytest.approx(0.7)
    assert cell.switches_s[:2] == (600.0, 1500.0)
