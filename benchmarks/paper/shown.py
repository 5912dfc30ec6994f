"""What was measured of all that is declared, and how far each part of it has come. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from paper.declared_cells import family_cells
from paper.grid import TUNING_SEEDS, Run, family_runs, sections
from paper.halving import Standing, standing
from paper.outcomes import Figures
from paper.policies import opponents
from paper.records import Records
from paper.runner import Kept, Measured
from paper.validity import fit_runs, passing_worlds, prediction_runs

Look = Callable[[Run], Kept | None]


def collected(runs: Sequence[Run], look: Callable[[Run], Figures | None]) -> Records:
    """What was made of some runs."""
    found: dict[tuple[str, str], dict[int, Figures]] = {}
    for run in runs:
        figures = look(run)
        if figures is not None:
            found.setdefault((run.cell.name, run.contender.name), {})[run.seed] = figures
    return Records(found)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What was measured, of all that is declared."""

    look: Look
    measured: tuple[Measured, ...]

    def of(self, runs: Sequence[Run]) -> Records:
        """What there is of some runs."""
        return collected(runs, lambda run: None if (k := self.look(run)) is None else k.figures)

    @cached_property
    def compared(self) -> Records:
        """The comparison."""
        return self.of([run for one in sections() for run in one.runs])

    @cached_property
    def fitted(self) -> Records:
        """The validity fit."""
        return self.of(fit_runs())

    @cached_property
    def predicted(self) -> tuple[Run, ...]:
        """What is declared of the prediction, which follows from the fit."""
        return tuple(prediction_runs(passing_worlds(self.fitted)))

    @cached_property
    def tuning(self) -> tuple[Run, ...]:
        """Every member in every tuning cell."""
        return family_runs()

    @cached_property
    def family(self) -> Standing:
        """How far the choice of the opponent has come."""
        names = [one.name for one in opponents()]
        cells = [one.name for one in family_cells()]
        return standing(self.of(self.tuning), names, cells, TUNING_SEEDS)
