"""Every target in every cell: met, or missed by how much. Pure.

Ours is compared with the opponent and with the bounds of the same seeds. A verdict is *certain*
where the difference to the opponent is one in our favour at 5 %, corrected for the number of cells
(Holm); a target that sets no opponent has no such test. Where the opponent leaves nothing to win
(it is within 0.002 of the bound), attainment must only not be lower by more than 0.01.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from paper.cells import Cell
from paper.policies import BOUND
from paper.records import (
    BySeed,
    Read,
    Records,
    attainment,
    average,
    differences,
    mean_s,
    p95_s,
    wait_s,
    worst,
)
from paper.statistics import LEAST_SEEDS, holm, p_value

_NOTHING_TO_WIN = 0.002
_AS_GOOD = 0.001
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Who is compared, by name."""

    ours: str
    theirs: str
    statics: tuple[str, ...] = ()
    """Static degrees."""
    best_fits: tuple[str, ...] = ()
    """Variants of earliest deadline first with best fit."""
    has_steps: bool = False
    """Whether ours decides at step boundaries, for which targets are stricter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One target in one cell."""

    target: str
    cell: str
    value: float
    limit: float
    shortfall: float
    """By how much it is missed, in the unit of the target; none where it is not positive."""
    seeds: int
    p: float | None = None
    """Of there being no difference in our favour; None where that is no part of the target."""

    @property
    def met(self) -> bool:
        """Whether ours does what the target asks."""
        return self.shortfall <= _ROUNDING

    @property
    def certain(self) -> bool:
        """Whether there are enough seeds, and chance is excluded as far as the target asks."""
        return self.seeds >= LEAST_SEEDS and (self.p is None or self.p <= 0.05)


Target = Callable[[Records, Cell, Names], Verdict | None]


def evaluate(records: Records, cells: Sequence[Cell], names: Names) -> tuple[Verdict, ...]:
    """All targets in all cells of which the runs were made; p-values corrected target by target."""
    result: list[Verdict] = []
    for target in TARGETS.values():
        found = [one for cell in cells if (one := target(records, cell, names)) is not None]
        corrected = holm({one.cell: one.p for one in found if one.p is not None})
        result += [replace(one, p=corrected.get(one.cell)) for one in found]
    return tuple(result)


def _against(cell: Cell, records: Records, names: Names) -> tuple[BySeed, BySeed, BySeed] | None:
    """Ours, theirs and the bound, of the seeds that all three have."""
    found = records.shared(cell.name, (names.ours, names.theirs, BOUND.name))
    return (found[0], found[1], found[2]) if found[0] else None


def _in_favour(ours: BySeed, theirs: BySeed, read: Read, *, more: bool) -> float:
    """P-value of the paired difference; 1 where it is against us."""
    values = differences(ours, theirs, read)
    favourable = sum(values) > 0 if more else sum(values) < 0
    return p_value(values) if favourable else 1.0


def _attainment(records: Records, cell: Cell, names: Names) -> Verdict | None:
    found = _against(cell, records, names)
    if found is None:
        return None
    ours, theirs, bound = found
    gap = average(bound, attainment) - average(theirs, attainment)
    gained = average(ours, attainment) - average(theirs, attainment)
    to_win = gap >= _NOTHING_TO_WIN
    limit = gap / 2 if to_win else -0.01
    return Verdict(
        target="attainment",
        cell=cell.name,
        value=gained,
        limit=limit,
        shortfall=limit - gained,
        seeds=len(ours),
        p=_in_favour(ours, theirs, attainment, more=True) if to_win else None,
    )


def _latency(name: str, read: Read, of_theirs: tuple[float, float], of_bound: float) -> Target:
    """At most a share of theirs, or a multiple of the bound, whichever is more."""

    def target(records: Records, cell: Cell, names: Names) -> Verdict | None:
        found = _against(cell, records, names)
        if found is None:
            return None
        ours, theirs, bound = found
        by_theirs = of_theirs[names.has_steps] * average(theirs, read)
        by_bound = of_bound * average(bound, read)
        value, limit = average(ours, read), max(by_theirs, by_bound)
        return Verdict(
            target=name,
            cell=cell.name,
            value=value,
            limit=limit,
            shortfall=value / limit - 1,
            seeds=len(ours),
            # Within reach of the bound there may be nothing to win from the opponent.
            p=_in_favour(ours, theirs, read, more=False) if by_theirs >= by_bound else None,
        )

    return target


def _wait(records: Records, cell: Cell, names: Names) -> Verdict | None:
    ours, theirs = records.shared(cell.name, (names.ours, names.theirs))
    if not ours:
        return None
    value, limit = average(ours, wait_s), average(theirs, wait_s)
    return Verdict(
        target="longest wait",
        cell=cell.name,
        value=value,
        limit=limit,
        shortfall=value / limit - 1 if limit else value,
        seeds=len(ours),
    )


def _worst(records: Records, cell: Cell, names: Names) -> Verdict | None:
    ours = records.of(cell.name, names.ours)
    if not ours or average(ours, attainment) < 0.95:
        return None
    value = average(ours, worst)
    return Verdict(
        target="worst class",
        cell=cell.name,
        value=value,
        limit=0.9,
        shortfall=0.9 - value,
        seeds=len(ours),
    )


def _switch(records: Records, cell: Cell, names: Names) -> Verdict | None:
    ours, theirs = records.shared(cell.name, (names.ours, names.theirs))
    if not ours or not cell.switches_s:
        return None
    asked = sum(one.after_switch for one in ours.values())
    value, missed = (
        sum(one.missed_after_switch for one in found.values()) / max(1, asked)
        for found in (ours, theirs)
    )
    return Verdict(
        target="after a switch",
        cell=cell.name,
        value=value,
        limit=missed / 2,
        shortfall=value - missed / 2,
        seeds=len(ours),
    )


def _misprofile(records: Records, cell: Cell, names: Names) -> Verdict | None:
    if not cell.misprofile:
        return None
    wrong, right = (records.of(one.name, names.ours) for one in (cell, cell.truthful))
    seeds = sorted(set(wrong) & set(right))
    if not seeds:
        return None
    value = sum(right[seed].attainment - wrong[seed].attainment for seed in seeds) / len(seeds)
    return Verdict(
        target="wrong profile",
        cell=cell.name,
        value=value,
        limit=0.05,
        shortfall=value - 0.05,
        seeds=len(seeds),
    )


def _ahead(name: str, others: Callable[[Names], tuple[str, ...]]) -> Target:
    """No lower attainment, and no longer mean, than the best of some others in the same cell."""

    def target(records: Records, cell: Cell, names: Names) -> Verdict | None:
        rivals = others(names)
        ours, *found = records.shared(cell.name, (names.ours, *rivals))
        if not ours or not rivals:
            return None
        best = min(found, key=lambda one: (-average(one, attainment), average(one, mean_s)))
        lower = average(best, attainment) - average(ours, attainment)
        longer = average(ours, mean_s) / average(best, mean_s) - 1
        return Verdict(
            target=name,
            cell=cell.name,
            value=average(ours, attainment),
            limit=average(best, attainment),
            shortfall=lower if lower > _AS_GOOD else max(0.0, longer),
            seeds=len(ours),
        )

    return target


TARGETS: Mapping[str, Target] = {
    "attainment": _attainment,
    "P95": _latency("P95", p95_s, (0.75, 0.70), 1.15),
    "mean": _latency("mean", mean_s, (0.85, 0.75), 1.1),
    "longest wait": _wait,
    "worst class": _worst,
    "after a switch": _switch,
    "wrong profile": _misprofile,
    "static degree": _ahead("static degree", lambda names: names.statics),
    "EDF best fit": _ahead("EDF best fit", lambda names: names.best_fits),
}
"""By name, in the order of the report; capacity, which is none of a single cell, is apart."""
