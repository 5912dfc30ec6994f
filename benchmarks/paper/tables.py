"""Markdown tables of records. Pure; a figure that was not run is a dash, never left out."""

from collections.abc import Iterable, Sequence
from math import isinf

from paper.cells import Cell
from paper.policies import BOUND
from paper.records import (
    Read,
    Records,
    attainment,
    average,
    mean_s,
    p95_s,
    worst,
)
from paper.statistics import Interval, interval
from paper.targets import TARGETS, Verdict

NOTHING = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; one line that says so where it has no rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return "*Nothing of this was run.*"
    rule = "|".join([" --- "] * len(head))
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *lines])


def with_interval(found: Interval | None, digits: int) -> str:
    """A mean, and half the width of its interval where there is one."""
    if found is None:
        return NOTHING
    text = f"{found.mean:.{digits}f}"
    return text if isinf(found.high) else f"{text} ± {found.high - found.mean:.{digits}f}"


def summary(records: Records, cell: Cell, contender: str) -> str:
    """Attainment, that of the worst class in brackets, mean and 95th percentile in seconds."""
    found = records.of(cell.name, contender)
    if not found:
        return NOTHING
    met = with_interval(records.interval(cell.name, contender, attainment), 3)
    seconds = f"{average(found, mean_s):.0f} / {average(found, p95_s):.0f}"
    least = "" if contender == BOUND.name else f" ({average(found, worst):.2f})"
    return f"{met}{least} {seconds}"


def by_cell(records: Records, cells: Sequence[Cell], contenders: Sequence[str]) -> str:
    """One row a cell of which anything was run; held-out cells are marked."""
    rows = []
    for cell in cells:
        seeds = [len(records.of(cell.name, one)) for one in contenders]
        if any(seeds):
            mark = "held out" if cell.is_held_out else ""
            row = [summary(records, cell, one) for one in contenders]
            rows.append([cell.name, mark, f"{max(seeds)}", *row])
    return table(["cell", "", "seeds", *contenders], rows)


def ranked(records: Records, cells: Sequence[Cell], names: Sequence[str]) -> str:
    """Members of a family in a given order, over the runs that all of them have."""
    rows = []
    shared = [records.shared(cell.name, names) for cell in cells]
    for index, name in enumerate(names):
        runs = [one for row in shared for one in row[index].values()]
        if runs:
            figures = [interval([read(one) for one in runs]).mean for read in _READS]
            met, least, mean, p95 = figures
            row = [f"{met:.4f}", f"{least:.2f}", f"{mean:.1f}", f"{p95:.1f}"]
            rows.append([f"`{name}`", f"{len(runs)}", *row])
    head = ["member", "runs", "attainment", "worst class", "mean, s", "P95, s"]
    return table(head, rows)


_READS: tuple[Read, ...] = (attainment, worst, mean_s, p95_s)


def verdicts(found: Sequence[Verdict], cells: Sequence[Cell]) -> str:
    """Target by target: where it is met, in tuning cells and in those held out."""
    held_out = {cell.name for cell in cells if cell.is_held_out}
    rows = []
    for target in TARGETS:
        of_target = [one for one in found if one.target == target]
        if not of_target:
            rows.append([target, NOTHING, NOTHING, NOTHING, "not run"])
            continue
        parts = [
            [one for one in of_target if (one.cell in held_out) is wanted]
            for wanted in (False, True)
        ]
        counts = [f"{sum(one.met for one in part)} of {len(part)}" for part in parts]
        sure = sum(one.met and one.certain for one in of_target)
        last = max(of_target, key=lambda one: one.shortfall)
        miss = f"{last.shortfall:.3f} in {last.cell}" if not last.met else "none"
        rows.append([target, *counts, f"{sure}", miss])
    return table(["target", "tuning", "held out", "of these certain", "largest miss"], rows)


def misses(found: Sequence[Verdict]) -> str:
    """Every target that is missed, with figures."""
    return table(
        ["target", "cell", "seeds", "ours", "limit", "missed by"],
        (
            (
                one.target,
                one.cell,
                f"{one.seeds}",
                _figure(one.value),
                _figure(one.limit),
                f"{one.shortfall:.3f}",
            )
            for one in found
            if not one.met
        ),
    )


def _figure(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
