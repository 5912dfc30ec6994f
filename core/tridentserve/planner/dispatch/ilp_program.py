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

from tridentserve.planner.linear import Limits, Program

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
    if not choices:
        return []
    program = Program()
    for choice in choices:
        program.column(-choice.worth, groups[choice.group])
    _one_choice_each(program, choices, groups)
    _devices_of_pools(program, choices, pools)
    found = program.solve(limits)
    return None if found is None else [int(value + _NOTHING) for value in found.values]


def _one_choice_each(program: Program, choices: Sequence[Choice], groups: Sequence[int]) -> None:
    """At most one choice a request (C1)."""
    terms: list[dict[int, float]] = [{} for _ in groups]
    for column, choice in enumerate(choices):
        terms[choice.group][column] = 1.0
    for found, size in zip(terms, groups, strict=True):
        if found:
            program.at_most(found, size)


def _devices_of_pools(program: Program, choices: Sequence[Choice], pools: Sequence[Pool]) -> None:
    """No more devices than there are in groups that large (C2, with the weight k)."""
    for index, pool in enumerate(pools):
        mine = {column: one.degree for column, one in enumerate(choices) if one.pool == index}
        for size in sorted({1, *mine.values()} if mine else ()):
            wide = {column: degree for column, degree in mine.items() if degree >= size}
            if pool.concurrent:
                terms = {column: degree / size for column, degree in wide.items()}
                program.at_most(terms, sum(free // size for free in pool.free))
            else:
                free = sum(free >= size for free in pool.free)
                program.at_most(dict.fromkeys(wide, 1.0), free)
