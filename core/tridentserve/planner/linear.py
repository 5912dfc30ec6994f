"""Linear and integer programs by name of row and column, solved by HiGHS.

The only place in the planner that needs a solver, and only when a program is solved: the images of
the operator and of the router load every planner without it. HiGHS on one thread is deterministic
and ends by gaps and nodes, never by time; its answers to linear programs are corners, so few
columns are in use. All of that is relied upon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from highspy import Highs, HighsLp

_WITHOUT_SOLVER = (
    "{what} needs the solver HiGHS (highspy): install tridentserve[sim], or choose another"
)

Terms = Mapping[int, float]
"""Factors by column; none of a column twice."""


def check_solver(what: str) -> None:
    """Fail early where there is no solver.

    Args:
        what: cannot be had without it.

    Raises:
        ImportError: highspy is not installed.
    """
    try:
        import highspy  # noqa: F401 - asked for here, used in `solve`
    except ImportError as error:
        raise ImportError(_WITHOUT_SOLVER.format(what=what)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When the search for integers stops."""

    gap: float = 1e-3
    """Relative to the best that is possible."""
    nodes: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Values of the columns and what the rows are worth."""

    values: tuple[float, ...]
    at_most: tuple[float, ...]
    """By row of `Program.at_most`: by how much the objective falls when the bound rises by one.
    Zeros where a column is an integer."""


@dataclass(slots=True)
class Program:
    """Minimise costs of columns, each 0 or more, under rows."""

    _costs: list[float] = field(default_factory=list)
    _most: list[float] = field(default_factory=list)
    _at_most: list[tuple[Terms, float]] = field(default_factory=list)
    _equal: list[tuple[Terms, float]] = field(default_factory=list)

    def column(self, cost: float, most: float = inf) -> int:
        """A new column with its cost and its bound; answers its number."""
        self._costs.append(cost)
        self._most.append(most)
        return len(self._costs) - 1

    def at_most(self, terms: Terms, bound: float) -> int:
        """A new row: the terms by column add up to no more than the bound; answers its number."""
        self._at_most.append((terms, bound))
        return len(self._at_most) - 1

    def equal(self, terms: Terms, value: float) -> None:
        """A new row: the terms by column add up to the value."""
        self._equal.append((terms, value))

    def solve(self, integers: Limits | None = None) -> Solution | None:
        """The cheapest values; None where none fulfil all rows, or costs fall without end.

        Args:
            integers: all columns are whole numbers, and the best that were found by then are the
                answer; left out, none has to be.

        Raises:
            ImportError: highspy is not installed.
        """
        check_solver("a program")
        from highspy import HighsModelStatus, HighsVarType, SolutionStatus

        asked = self._asked()
        solver = _quiet()
        if integers is None:
            solver.setOptionValue("solver", "simplex")
        else:
            asked.integrality_ = [HighsVarType.kInteger] * len(self._costs)
            solver.setOptionValue("mip_rel_gap", integers.gap)
            solver.setOptionValue("mip_max_nodes", integers.nodes)
        solver.passModel(asked)
        solver.run()
        found = SolutionStatus(solver.getInfo().primal_solution_status)
        if found != SolutionStatus.kSolutionStatusFeasible:
            return None
        if integers is None and solver.getModelStatus() != HighsModelStatus.kOptimal:
            return None
        solution = solver.getSolution()
        return Solution(
            values=tuple(solution.col_value),
            at_most=tuple(-worth for worth in solution.row_dual[: len(self._at_most)]),
        )

    def _asked(self) -> "HighsLp":
        """The program in the solver's words."""
        from highspy import HighsLp, MatrixFormat

        rows = [terms for terms, _ in (*self._at_most, *self._equal)]
        values = [value for _, value in self._equal]
        asked = HighsLp()
        asked.num_col_, asked.num_row_ = len(self._costs), len(rows)
        asked.col_cost_ = self._costs
        asked.col_lower_, asked.col_upper_ = [0.0] * len(self._costs), self._most
        asked.row_lower_ = [-inf] * len(self._at_most) + values
        asked.row_upper_ = [bound for _, bound in self._at_most] + values
        matrix = asked.a_matrix_
        matrix.format_ = MatrixFormat.kRowwise
        matrix.num_col_, matrix.num_row_ = asked.num_col_, asked.num_row_
        matrix.start_ = list(accumulate(map(len, rows), initial=0))
        matrix.index_ = [column for terms in rows for column in terms]
        matrix.value_ = [value for terms in rows for value in terms.values()]
        return asked


def _quiet() -> "Highs":
    """A solver on one thread that writes nothing.

    `Highs()` prints a banner, once a process, before anything can be set: so only its base is
    initialised.
    """
    from highspy import Highs

    solver = Highs.__new__(Highs)
    super(Highs, solver).__init__()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    return solver
