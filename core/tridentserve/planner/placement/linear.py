"""Linear programs by name of row and column, solved by HiGHS through scipy.

The only place in the planner that needs scipy, and only when a program is solved: the images of
the operator and of the router load every planner without it. HiGHS' dual simplex on one thread is
deterministic, and its answers are corners, so few columns are in use; both are relied upon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

_WITHOUT_SCIPY = (
    "a placement by linear programs needs scipy: install tridentserve[sim], or choose another"
)


def check_solver() -> None:
    """Fail early where there is no solver.

    Raises:
        ImportError: scipy is not installed.
    """
    try:
        import scipy.optimize  # noqa: F401 - asked for here, used in `solve`
    except ImportError as error:
        raise ImportError(_WITHOUT_SCIPY) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Values of the columns and what the rows are worth."""

    values: tuple[float, ...]
    at_most: tuple[float, ...]
    """By row of `Program.at_most`: by how much the objective falls when the bound rises by one."""


@dataclass(slots=True)
class Program:
    """Minimise costs of columns, each 0 or more, under rows."""

    _costs: list[float] = field(default_factory=list)
    _most: list[float | None] = field(default_factory=list)
    _at_most: list[tuple[Mapping[int, float], float]] = field(default_factory=list)
    _equal: list[tuple[Mapping[int, float], float]] = field(default_factory=list)

    def column(self, cost: float, most: float | None = None) -> int:
        """A new column with its cost and its bound; answers its number."""
        self._costs.append(cost)
        self._most.append(most)
        return len(self._costs) - 1

    def at_most(self, terms: Mapping[int, float], bound: float) -> int:
        """A new row: the terms by column add up to no more than the bound; answers its number."""
        self._at_most.append((terms, bound))
        return len(self._at_most) - 1

    def equal(self, terms: Mapping[int, float], value: float) -> None:
        """A new row: the terms by column add up to the value."""
        self._equal.append((terms, value))

    def solve(self) -> Solution | None:
        """The cheapest values; None where no values fulfil all rows.

        Raises:
            ImportError: scipy is not installed.
        """
        check_solver()
        from scipy.optimize import linprog
        from scipy.sparse import csr_array

        def matrix(rows: list[tuple[Mapping[int, float], float]]) -> object:
            entries = [
                (row, column, value)
                for row, (terms, _) in enumerate(rows)
                for column, value in terms.items()
            ]
            places = [row for row, _, _ in entries], [column for _, column, _ in entries]
            values = [value for _, _, value in entries]
            return csr_array((values, places), shape=(len(rows), len(self._costs)))

        result = linprog(
            self._costs,
            A_ub=matrix(self._at_most) if self._at_most else None,
            b_ub=[bound for _, bound in self._at_most] or None,
            A_eq=matrix(self._equal) if self._equal else None,
            b_eq=[value for _, value in self._equal] or None,
            bounds=[(0, most) for most in self._most],
            method="highs-ds",
        )
        if result.status != 0:
            return None
        return Solution(
            values=tuple(float(value) for value in result.x),
            at_most=tuple(-float(value) for value in result.ineqlin.marginals)
            if self._at_most
            else (),
        )
