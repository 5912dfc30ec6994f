"""The validity fit: what passes, what is excluded without a run, and what is run next."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmarks.figures import figures

from paper.__main__ import RECORDS
from paper.declared_cells import WORLDS
from paper.outcomes import simulated
from paper.policies import static_degrees
from paper.published import STATIC, THEIRS, Published
from paper.records import Records
from paper.replay import Replay
from paper.runner import Results
from paper.search import FAR, World, contradictions, is_excluded, next_world, undecided
from paper.shown import Shown
from paper.validity import (
    MEMBERS,
    SD3_RATES,
    SEED,
    cell_of,
    fit_runs,
    near,
    next_run,
    passing_worlds,
    points,
    sd3_cell,
    settings,
    worlds,
)
from paper.validity_tables import fit_answer, prediction_answer

GRID = [World(decode_s=c, slow_down=f) for c in (2.0, 6.0, 10.5) for f in (1.0, 1.2, 1.4)]


def test_the_fit_passes_only_within_its_margins() -> None:
    target = Published(attainment=0.15, mean_s=320, p95_s=550)
    assert target.reproduced_by(figures(attainment=0.2, mean_s=384, p95_s=440))
    assert not target.reproduced_by(figures(attainment=0.2, mean_s=385, p95_s=550))
    assert not target.reproduced_by(figures(attainment=0.21, mean_s=320, p95_s=550))


def test_what_is_both_too_fast_and_too_slow_departs_both_ways() -> None:
    found = Published(attainment=0.05, mean_s=200, p95_s=550)
    assert STATIC.lag(found) == pytest.approx(2)
    assert STATIC.lead(found) == pytest.approx(1.875)
    assert STATIC.departure(found) == pytest.approx(2)


@pytest.mark.parametrize(("degree", "decode_s", "slow_down"), [(4, 10.5, 1.2), (1, 24.0, 1.5)])
def test_the_recursion_says_what_the_simulator_does(
    degree: int, decode_s: float, slow_down: float
) -> None:
    cell = replace(cell_of(decode_s, slow_down), duration_s=120.0)
    contender = next(one for one in static_degrees() if one.name == f"B1/{degree}")
    replayed = Replay(replace(cell, slow_down=1.0), contender, 3).outcome(cell, degree)
    found = simulated(cell, contender, 3)
    assert replayed.mean_s == pytest.approx(found.mean_s, rel=0.01)
    assert replayed.p95_s == pytest.approx(found.p95_s, rel=0.01)
    assert replayed.attainment == pytest.approx(found.attainment, abs=0.02)


def test_a_slower_world_never_ends_a_queue_earlier() -> None:
    by_point = {(one.degree, one.decode_s, one.slow_down): one.replayed for one in points()}
    for (degree, decode_s, slow_down), one in by_point.items():
        for (other_degree, other_decode_s, other_slow_down), other in by_point.items():
            if (
                degree == other_degree
                and decode_s >= other_decode_s
                and slow_down >= other_slow_down
            ):
                assert one.mean_s >= other.mean_s - 1e-6
                assert one.p95_s >= other.p95_s - 1e-6
                assert one.attainment <= other.attainment


def slowness(world: World) -> float:
    return world.decode_s / 10 + 10 * (world.slow_down - 1)


def outcome(world: World, centre: float) -> Published:
    """A dispatch that is slower in slower worlds, and as published at one slowness."""
    return Published(attainment=0.86, mean_s=78 + 40 * (slowness(world) - centre), p95_s=230)


@given(centre=st.floats(0, 5))
def test_the_search_finds_all_that_pass_and_never_excludes_one(centre: float) -> None:
    made: dict[World, Published] = {}
    while (world := next_world(GRID, made, THEIRS)) is not None:
        assert world not in made
        made[world] = outcome(world, centre)
    assert not undecided(GRID, made, THEIRS)
    assert not contradictions(made)
    for world in GRID:
        if THEIRS.reproduced_by(outcome(world, centre)):
            assert world in made


def test_the_search_leaves_out_what_one_far_run_decides() -> None:
    far = Published(attainment=0.86, mean_s=78 * (1 + 0.2 * FAR) + 1, p95_s=230)
    near_miss = Published(attainment=0.86, mean_s=78 * 1.21, p95_s=230)
    middle, slower, aside = GRID[4], GRID[8], GRID[2]
    assert is_excluded(slower, {middle: far}, THEIRS)
    assert not is_excluded(aside, {middle: far}, THEIRS)
    assert not is_excluded(slower, {middle: near_miss}, THEIRS)


def test_a_slower_world_with_a_shorter_mean_is_a_contradiction() -> None:
    one, other = outcome(GRID[0], 1.0), outcome(GRID[8], 1.0)
    assert contradictions({GRID[8]: one, GRID[0]: other}) == 1
    assert contradictions({GRID[8]: other, GRID[0]: one}) == 0


def test_a_world_passes_when_both_systems_were_simulated_and_the_baseline_follows_dispatch() -> (
    None
):
    target = figures(attainment=0.86, mean_s=78, p95_s=230)
    world = worlds()[0]
    name, sound = cell_of(world.decode_s, world.slow_down).name, MEMBERS["sound"].name
    alone = Records({(name, sound): {SEED: target}})
    assert passing_worlds(alone) == ()
    following = next_run(alone)
    assert following is not None
    assert following.contender.name.startswith("B1/")
    assert following.cell.name == name
    both = Records({**alone.found, (name, following.contender.name): {SEED: figures(mean_s=300)}})
    assert [one.passes for one in settings(both)] == [False]
    static = figures(attainment=0.14, mean_s=300, p95_s=560)
    both = Records({**alone.found, (name, following.contender.name): {SEED: static}})
    assert passing_worlds(both) == ((world.decode_s, world.slow_down),)


def test_the_worlds_of_the_comparison_pass_in_the_runs_that_are_kept() -> None:
    kept = Results(RECORDS, source="none")
    fitted = Shown(look=kept.reported, measured=()).fitted
    assert set(WORLDS) <= set(passing_worlds(fitted))


def test_worlds_of_the_comparison_that_do_not_pass_are_named() -> None:
    target = figures(attainment=0.86, mean_s=78, p95_s=230)
    name = cell_of(*WORLDS[0]).name
    degree = next(o.degree for o in near() if (o.decode_s, o.slow_down) == WORLDS[0])
    one = Records(
        {
            (name, MEMBERS["sound"].name): {SEED: target},
            (name, f"B1/{degree}"): {SEED: figures(attainment=0.14, mean_s=300, p95_s=560)},
        }
    )
    assert passing_worlds(one) == (WORLDS[0],)
    others = " and ".join(f"c{c:g} f{f:g}" for c, f in WORLDS[1:])
    assert f"**Cells in {others} say nothing of the paper's system** so far" in fit_answer(one)


@pytest.mark.parametrize(("p95_s", "right"), [(28.0, 1), (280.0, 0)])
def test_a_prediction_is_right_where_both_systems_come_out_as_published(
    p95_s: float, right: int
) -> None:
    one, other = (sd3_cell(rate, 1.2).name for rate in SD3_RATES[:2])
    static = figures(attainment=0.24, mean_s=36.0, p95_s=99.0)
    theirs = figures(attainment=0.95, mean_s=10.0, p95_s=p95_s)
    found = {(one, "B1/1"): {SEED: static}, (other, "B1/1"): {SEED: static}}
    found[one, MEMBERS["sound"].name] = {SEED: theirs}
    text = prediction_answer(Records(found))
    assert f"at {right} of 2 rates and slow-downs" in text
    assert ("does not carry over" in text) is (right == 0)


def test_of_a_prediction_that_was_not_run_nothing_is_said() -> None:
    assert prediction_answer(Records({})) == ""


def test_only_near_points_are_ever_simulated() -> None:
    cells = {cell_of(one.decode_s, one.slow_down) for one in near()}
    assert {run.cell for run in fit_runs()} == cells
    assert len(near()) < len(points()) / 4
    following = next_run(Records({}))
    assert following in fit_runs()
