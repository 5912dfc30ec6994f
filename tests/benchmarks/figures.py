"""Figures for tests of what is made of them."""

from dataclasses import replace

from paper.outcomes import Figures
from paper.records import Records

NEUTRAL = Figures(
    requests=100, attainment=0.9, worst=0.8, classes=(), mean_s=50.0, p95_s=100.0, wait_s=10.0
)


def figures(**more: float) -> Figures:
    """Those of a usual run, but for some."""
    return replace(NEUTRAL, **more)  # type: ignore[arg-type]


def records(**of_cells: dict[str, list[Figures]]) -> Records:
    """By cell (`_` for `-`) and contender, one figure a seed."""
    return Records(
        {
            (cell, name): dict(enumerate(runs, start=1))
            for cell, by_name in of_cells.items()
            for name, runs in by_name.items()
        }
    )
