"""All runs of the comparison, by section and in the order in which they are made. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from paper.cells import Cell
from paper.contenders import Contender
from paper.declared_cells import base_cells, cells, family_cells
from paper.policies import (
    BOUND,
    ablations,
    baselines,
    best_fits,
    factorial,
    opponent,
    opponents,
    static_degrees,
)

SEEDS = tuple(range(1, 21))
TUNING_SEEDS = tuple(range(101, 106))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One simulation."""

    section: str
    cell: Cell
    contender: Contender
    seed: int

    @property
    def label(self) -> str:
        """What `--only` looks at."""
        return f"{self.section}/{self.cell.name}/{self.contender.name}"


def _runs(
    section: str,
    seeds: tuple[int, ...],
    where: tuple[Cell, ...],
    who: tuple[Contender, ...],
) -> Iterator[Run]:
    """Seed by seed, so that what was cut short holds a little of everything."""
    for seed, cell, contender in product(seeds, where, who):
        yield Run(section=section, cell=cell, contender=contender, seed=seed)


def comparison_runs() -> tuple[Run, ...]:
    """All runs but those of the validity fit, the most telling first."""
    profile_world = base_cells()
    return (
        *_runs("factorial", SEEDS, cells(), (*factorial(opponent()), BOUND)),
        *_runs("family", TUNING_SEEDS, family_cells(), (*opponents(), *best_fits())),
        *_runs("static", SEEDS, cells(), (*static_degrees(), *best_fits())),
        *_runs("ablations", SEEDS[:10], profile_world, ablations()),
        *_runs("baselines", SEEDS[:5], profile_world, baselines()),
    )
