"""Which requests start now, and on how many devices: the integer program of paper section 1.5.

Published, with the corrections of section 5.6: maximise sum W_r D_r - sum Q_i x_{r,i,k} subject to
at most one (i, k) a request, sum k x <= free devices, and D_r <= sum of x. Whether (i, k) is on
time is known beforehand, so D_r is no variable here: W_r is part of the worth of each x that is on
time, which says the same and cannot reward a request that does not start.

Two reformulations, both exact. Groups of devices never span workers, and degrees are powers of two,
so that filling workers largest degree first always works out if, for every power d up to the
largest, sum over k >= d of (k / d) x <= sum over workers of floor(free / d): a few rows instead of
a row for each worker, and no symmetry between workers. And requests for which every choice is worth
the same are counted by one integer variable a choice, so that there is none between requests.

The search is bounded by a gap and by nodes, never by time: equal questions get equal answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_WITHOUT_SCIPY = "dispatch by Ilp needs scipy: install tridentserve[sim], or choose another"
_NOTHING = 0.5
"""Counts are integers; the solver's are within 1e-6 of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Workers of one kind."""

    free: tuple[int, ...]
    """Vacant devices of each worker."""
    concurrent: bool
    """False where a call takes the whole worker, whatever it uses of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One degree on one pool, for the requests of one group."""

    group: int
    pool: int
    degree: int
    """A power of two."""
    worth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When the search stops."""

    gap: float = 1e-3
    """Relative to the best that is possible."""
    nodes: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    terms: dict[int, float]
    most: float


def check_solver() -> None:
    """Fail early where there is no solver.

    Raises:
        ImportError: scipy is not installed.
    """
    try:
        import scipy.optimize  # noqa: F401 - asked for here, used in `solve`
    except ImportError as error:
        raise ImportError(_WITHOUT_SCIPY) from error


def solve(
    choices: Sequence[Choice], groups: Sequence[int], pools: Sequence[Pool], limits: Limits
) -> list[int] | None:
    """How many requests take each choice; None where the search ended without an answer.

    Args:
        choices: the variables.
        groups: requests in each group.
        pools: what is free.
        limits: when to stop.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    if not choices:
        return []
    rows = [*_group_rows(choices, groups), *_pool_rows(choices, pools)]
    entries = [
        (index, column, value)
        for index, row in enumerate(rows)
        for column, value in row.terms.items()
    ]
    places = [row for row, _, _ in entries], [column for _, column, _ in entries]
    matrix = csr_array(([value for _, _, value in entries], places), (len(rows), len(choices)))
    result = milp(
        [-choice.worth for choice in choices],
        constraints=LinearConstraint(matrix, ub=[row.most for row in rows]),
        integrality=[1] * len(choices),
        bounds=Bounds(0, [groups[choice.group] for choice in choices]),
        options={"mip_rel_gap": limits.gap, "node_limit": limits.nodes},
    )
    if result.x is None:
        return None
    return [int(value + _NOTHING) for value in result.x]


def _group_rows(choices: Sequence[Choice], groups: Sequence[int]) -> list[_Row]:
    """At most one choice a request (C1)."""
    terms: list[dict[int, float]] = [{} for _ in groups]
    for column, choice in enumerate(choices):
        terms[choice.group][column] = 1.0
    return [
        _Row(terms=found, most=size) for found, size in zip(terms, groups, strict=True) if found
    ]


def _pool_rows(choices: Sequence[Choice], pools: Sequence[Pool]) -> list[_Row]:
    """No more devices than there are in groups that large (C2, with the weight k)."""
    rows = []
    for index, pool in enumerate(pools):
        mine = {column: one.degree for column, one in enumerate(choices) if one.pool == index}
        for size in sorted(set(mine.values()) | {1}):
            wide = {column: degree for column, degree in mine.items() if degree >= size}
            if pool.concurrent:
                terms = {column: degree / size for column, degree in wide.items()}
                most = sum(free // size for free in pool.free)
            else:
                terms = dict.fromkeys(wide, 1.0)
                most = sum(free >= size for free in pool.free)
            if terms:
                rows.append(_Row(terms=terms, most=most))
    return rows
