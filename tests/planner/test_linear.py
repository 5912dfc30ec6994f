"""Programs: cheapest values, what rows are worth, whole numbers, and not a word on the console."""

import subprocess
import sys

import pytest

from tridentserve.planner.linear import Limits, Program


def knapsack() -> Program:
    """Worth 5, 4 and 3 at weights 2, 3 and 1, each once, of which 5 can be carried."""
    program = Program()
    columns = [program.column(-worth, 1.0) for worth in (5.0, 4.0, 3.0)]
    program.at_most(dict(zip(columns, (2.0, 3.0, 1.0), strict=True)), 5.0)
    return program


def test_fractions_fill_what_is_left_and_the_row_is_worth_the_last_of_them() -> None:
    solution = knapsack().solve()

    assert solution is not None
    assert solution.values == pytest.approx((1.0, 2 / 3, 1.0))
    assert solution.at_most == pytest.approx((4 / 3,))


def test_whole_numbers_leave_room_rather_than_cut_anything() -> None:
    solution = knapsack().solve(Limits(gap=0.0))

    assert solution is not None
    assert solution.values == pytest.approx((1.0, 1.0, 0.0))


def test_rows_that_contradict_one_another_have_no_answer() -> None:
    program = Program()
    column = program.column(1.0)
    program.equal({column: 1.0}, 3.0)
    program.at_most({column: 1.0}, 2.0)

    assert program.solve() is None
    assert program.solve(Limits()) is None


def test_costs_that_fall_without_end_have_no_cheapest_values() -> None:
    program = Program()
    program.column(-1.0)

    assert program.solve() is None


def test_the_solver_prints_nothing_not_even_once_a_process() -> None:
    asked = "from tests.planner.test_linear import knapsack; knapsack().solve()"

    ended = subprocess.run([sys.executable, "-c", asked], capture_output=True, check=True)

    assert (ended.stdout, ended.stderr) == (b"", b"")
