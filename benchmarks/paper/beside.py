"""Everybody else against ours: one row a contender, over the cells and seeds that both have run.

Seeds are paired, and what is certain follows `answers`: enough seeds, and p at most 0.05 after the
correction for everything that the table tests, all contenders in all cells. Who was not run is
named below the table. Pure.
"""

from collections.abc import Mapping, Sequence

from paper.answers import MEASURES, Gain, corrected, gain
from paper.cells import Cell
from paper.records import (
    BySeed,
    Read,
    Records,
    attainment,
    average,
    mean_s,
    p95_s,
    wait_s,
    worst,
)
from paper.tables import table

_HEAD = (
    "contender",
    "cells",
    "seeds",
    "attainment",
    "least to most",
    "certain",
    "worst class",
    "mean, ratio",
    "P95, ratio",
    "longest wait, ratio",
)


def against(
    records: Records, cells: Sequence[Cell], reference: str, contenders: Sequence[str]
) -> str:
    """Every contender less a reference, those that were not run in a line of their own."""
    found = _tested(records, cells, reference, contenders)
    known = [name for name in contenders if any(one == name for one, _ in found)]
    rows = [_row(records, cells, reference, name, found) for name in known]
    missing = [f"`{name}`" for name in contenders if name not in known]
    text = table(_HEAD, rows)
    return f"{text}\n\nNot run: {', '.join(missing)}." if missing and rows else text


def _tested(
    records: Records, cells: Sequence[Cell], reference: str, contenders: Sequence[str]
) -> Mapping[tuple[str, str], Gain]:
    """Differences of attainment by contender and cell, p-values corrected for all of them."""
    measure = MEASURES[0]
    return corrected(
        {
            (name, cell.name): one
            for name in contenders
            for cell in cells
            if (one := gain(records, cell.name, name, reference, measure)) is not None
        }
    )


def _row(
    records: Records,
    cells: Sequence[Cell],
    reference: str,
    name: str,
    tested: Mapping[tuple[str, str], Gain],
) -> list[str]:
    found = [tested[name, cell.name] for cell in cells if (name, cell.name) in tested]
    pairs = [records.shared(cell.name, (name, reference)) for cell in cells]
    known = [(one, other) for one, other in pairs if one]
    gained = _less(known, attainment)
    worst_gained = _less(known, worst)
    seeds = sorted({one.seeds for one in found})
    certain = [one.is_better for one in found if one.is_certain]
    return [
        name,
        f"{len(found)}",
        f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}",
        f"{sum(gained) / len(gained):+.3f}",
        f"{min(gained):+.3f} to {max(gained):+.3f}",
        f"better in {sum(certain)}, worse in {len(certain) - sum(certain)}",
        f"{sum(worst_gained) / len(worst_gained):+.2f}",
        *(_ratio(known, read) for read in (mean_s, p95_s, wait_s)),
    ]


def _less(pairs: Sequence[tuple[BySeed, BySeed]], read: Read) -> list[float]:
    """Differences of means over seeds, by cell."""
    return [average(one, read) - average(other, read) for one, other in pairs]


def _ratio(pairs: Sequence[tuple[BySeed, BySeed]], read: Read) -> str:
    """Mean over cells of the ratio of means over seeds; nothing where the reference has 0."""
    means = [(average(one, read), average(other, read)) for one, other in pairs]
    if not all(other for _, other in means):
        return "-"
    return f"{sum(one / other for one, other in means) / len(means):.2f}"
