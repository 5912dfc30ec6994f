"""Targets say what the comparison asks for, to the letter."""

from dataclasses import replace

import pytest
from tests.benchmarks.figures import figures

from paper.capacity import Capacity, ratio, read_off
from paper.cells import Cell
from paper.outcomes import Figures
from paper.records import Records, ranking
from paper.targets import TARGETS, Names, Verdict, evaluate

CELL = Cell(pipeline="cogvideox", load=0.85, deadline="2.5x")
NAMES = Names(ours="ours", theirs="theirs", statics=("B1/1", "B1/2"), best_fits=("EDF",))


Runs = dict[str, Figures | list[Figures]]


def verdict(target: str, runs: Runs, cell: Cell = CELL, names: Names = NAMES) -> Verdict | None:
    """Of one seed, or of as many as lists hold."""
    found = {
        (cell.name, name): dict(enumerate(one if isinstance(one, list) else [one], start=1))
        for name, one in runs.items()
    }
    return TARGETS[target](Records(found), cell, names)


@pytest.mark.parametrize(("ours", "met"), [(0.95, True), (0.949, False), (0.99, True)])
def test_attainment_closes_half_of_the_gap(ours: float, met: bool) -> None:
    found = verdict(
        "attainment",
        {
            "ours": figures(attainment=ours),
            "theirs": figures(attainment=0.9),
            "bound": figures(attainment=1.0),
        },
    )
    assert found is not None
    assert found.met is met


@pytest.mark.parametrize(("ours", "met"), [(0.995, True), (0.985, False)])
def test_where_nothing_is_to_win_attainment_must_not_fall_by_a_hundredth(
    ours: float, met: bool
) -> None:
    found = verdict(
        "attainment",
        {
            "ours": [figures(attainment=ours)] * 20,
            "theirs": [figures(attainment=0.999)] * 20,
            "bound": [figures(attainment=1.0)] * 20,
        },
    )
    assert found is not None
    assert (found.met, found.certain) == (met, True)


@pytest.mark.parametrize(
    ("target", "steps", "theirs", "bound", "limit"),
    [
        ("P95", False, 100.0, 50.0, 75.0),
        ("P95", True, 100.0, 50.0, 70.0),
        ("P95", False, 100.0, 80.0, 92.0),
        ("mean", False, 100.0, 50.0, 85.0),
        ("mean", True, 100.0, 50.0, 75.0),
        ("mean", False, 100.0, 80.0, 88.0),
    ],
)
def test_latency_is_limited_by_theirs_or_by_the_bound(
    target: str, steps: bool, theirs: float, bound: float, limit: float
) -> None:
    found = verdict(
        target,
        {
            "ours": figures(mean_s=limit, p95_s=limit),
            "theirs": figures(mean_s=theirs, p95_s=theirs),
            "bound": figures(mean_s=bound, p95_s=bound),
        },
        names=replace(NAMES, has_steps=steps),
    )
    assert found is not None
    assert found.limit == pytest.approx(limit)
    assert found.met


def test_a_difference_of_one_seed_is_not_certain() -> None:
    runs: Runs = {
        "ours": figures(p95_s=10),
        "theirs": figures(p95_s=100),
        "bound": figures(p95_s=5),
    }
    found = verdict("P95", runs)
    assert found is not None
    assert (found.met, found.certain) == (True, False)


def test_a_difference_in_their_favour_is_never_certain() -> None:
    found = verdict(
        "P95",
        {
            "ours": [figures(p95_s=200.0 + seed) for seed in range(5)],
            "theirs": [figures(p95_s=100.0) for _ in range(5)],
            "bound": [figures(p95_s=5.0) for _ in range(5)],
        },
    )
    assert found is not None
    assert (found.met, found.p) == (False, 1.0)


def test_certainty_is_corrected_for_the_number_of_cells() -> None:
    runs = {
        "ours": [figures(p95_s=p95_s) for p95_s in (60.0, 70.0, 66.0, 71.0)],
        "theirs": [figures(p95_s=p95_s) for p95_s in (100.0, 82.0, 120.0, 108.0)],
        "bound": [figures(p95_s=5.0)] * 4,
    }
    cells = [replace(CELL, load=load) for load in (0.1, 0.2, 0.3, 0.4)]
    found = {
        (cell.name, name): dict(enumerate(one)) for cell in cells for name, one in runs.items()
    }
    alone, many = (
        next(one.p for one in evaluate(Records(found), part, NAMES) if one.target == "P95")
        for part in (cells[:1], cells)
    )
    assert alone is not None
    assert many == pytest.approx(4 * alone)


def test_the_worst_class_is_asked_for_only_where_the_whole_is_fine() -> None:
    assert verdict("worst class", {"ours": figures(attainment=0.94, worst=0.1)}) is None
    found = verdict("worst class", {"ours": figures(attainment=0.95, worst=0.89)})
    assert found is not None
    assert found.shortfall == pytest.approx(0.01)


def test_misses_after_a_switch_are_halved() -> None:
    cell = replace(CELL, phases="switch")
    theirs = figures(after_switch=100, missed_after_switch=40)
    for missed, met in ((20, True), (21, False)):
        ours = figures(after_switch=100, missed_after_switch=missed)
        found = verdict("after a switch", {"ours": ours, "theirs": theirs}, cell)
        assert found is not None
        assert found.met is met


def test_a_wrong_profile_is_held_against_the_same_cell_with_the_true_one() -> None:
    wrong = replace(CELL, misprofile=0.2)
    records = Records(
        {
            (wrong.name, "ours"): {1: figures(attainment=0.9)},
            (CELL.name, "ours"): {1: figures(attainment=0.96)},
        }
    )
    found = TARGETS["wrong profile"](records, wrong, NAMES)
    assert found is not None
    assert found.shortfall == pytest.approx(0.01)
    assert TARGETS["wrong profile"](records, CELL, NAMES) is None


def test_the_best_static_degree_is_the_one_to_beat() -> None:
    rivals: Runs = {
        "B1/1": figures(attainment=0.97, mean_s=60.0),
        "B1/2": figures(attainment=0.99, mean_s=55.0),
    }
    for attainment, mean_s, met in ((0.99, 54.0, True), (0.98, 40.0, False), (0.99, 56.0, False)):
        ours = figures(attainment=attainment, mean_s=mean_s)
        found = verdict("static degree", {"ours": ours, **rivals})
        assert found is not None
        assert found.met is met


def test_what_was_not_run_has_no_verdict() -> None:
    assert evaluate(Records({}), [CELL], NAMES) == ()


def test_a_family_is_ranked_on_what_all_members_have_run() -> None:
    records = Records(
        {
            ("easy", "spared"): {1: figures(attainment=0.99)},
            ("easy", "other"): {1: figures(attainment=0.995)},
            ("hard", "other"): {1: figures(attainment=0.2)},
        }
    )
    assert ranking(records, ["easy", "hard"], ["spared", "other", "absent"]) == ["other", "spared"]


def test_capacity_is_read_off_between_the_loads() -> None:
    assert read_off([(0.5, 0.01), (0.7, 0.01), (0.9, -0.01)]).load == pytest.approx(0.8)
    assert read_off([(0.5, -0.01), (0.7, 0.01)]) == Capacity(load=0.5, sign="<")
    assert read_off([(0.5, 0.01), (0.7, 0.0)]) == Capacity(load=0.7, sign=">=")


def test_a_ratio_of_two_limits_may_say_nothing() -> None:
    unbounded, none = Capacity(load=1.1, sign=">="), Capacity(load=0.5, sign="<")
    assert ratio(unbounded, unbounded)[1] == "?"
    assert ratio(unbounded, none)[1] == ">="
    assert ratio(none, none)[1] == "?"
