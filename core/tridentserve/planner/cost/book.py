"""Cells of every stage: what the profile says, taught by measurements, and what of it is told.

What is told changes only where a measurement moved it by more than its noise (`Cell.differs`), or
where the correction of a whole stage did. It says which stages are told otherwise than before; who
keeps answers drops those.
"""

from collections.abc import Mapping
from dataclasses import replace

from tridentserve.domain.profiles import Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost.cells import Cell, CellKey, key_of, prior_cell
from tridentserve.planner.cost.correction import StageVotes

_CELLS_LIMIT = 512
"""Cells of one stage beyond which the oldest is forgotten: callers choose the shapes."""
_SHAPES_LIMIT = 50_000
_NOISE_LOG = 0.01
"""A stage's correction that moved by less is not told."""


class Book:
    """Mutable: the cells of all stages, as they are and as they are told."""

    def __init__(self, profile: Profile) -> None:
        """Open it with what a profile measured."""
        self._cells: dict[Stage, dict[CellKey, Cell]] = {stage: {} for stage in STAGES}
        for sample in profile.samples:
            self._cells[sample.stage][key_of(sample)] = prior_cell(sample)
        self._told = {stage: dict(cells) for stage, cells in self._cells.items()}
        self._votes = StageVotes()
        self._told_log = dict.fromkeys(STAGES, 0.0)
        self._strategies: dict[tuple[Stage, Shape], tuple[Strategy, ...]] = {}

    def told(self, stage: Stage) -> Mapping[CellKey, Cell]:
        """The corrected cells of a stage."""
        return self._told[stage]

    def knows(self, stage: Stage, key: CellKey) -> bool:
        """Whether there is such a cell."""
        return key in self._cells[stage]

    def teach(
        self, stage: Stage, key: CellKey, steps: int, seconds: float, peak_bytes: int
    ) -> tuple[Stage, ...]:
        """Enter one call; answers the stages that are told otherwise than before.

        Args:
            stage: that ran.
            key: how it ran.
            steps: 1 or more; ignored but for diffuse.
            seconds: of the call, above 0.
            peak_bytes: of a cell that is new: nobody measures bytes.
        """
        cells = self._cells[stage]
        before = cells.pop(key, None)
        if before is None:
            before = Cell(mean_s=0.0, variance=0.0, count=0, peak_bytes=peak_bytes)
        cells[key] = after = _taught(stage, before, steps, seconds)
        self._votes.change(stage, before.log_ratio, after.log_ratio)
        if len(cells) > _CELLS_LIMIT:
            self._forget(stage)
        return (*self._tell_stages(), *self._tell(stage, key))

    def strategies(self, stage: Stage, shape: Shape) -> tuple[Strategy, ...]:
        """Those that are known of a shape, by ascending degree; see `CostModel.strategies`."""
        known = self._strategies.get((stage, shape))
        if known is None:
            if len(self._strategies) >= _SHAPES_LIMIT:
                self._strategies.clear()
            known = self._strategies[stage, shape] = _strategies(self._cells[stage], shape)
        return known

    def _forget(self, stage: Stage) -> None:
        """Drop the cell that was measured the longest ago, one without a profile if there is.

        Never the last: it was just taught, and is told next.
        """
        cells = self._cells[stage]
        *others, _ = cells
        key = next((key for key in others if not cells[key].prior_s), others[0])
        self._votes.change(stage, cells.pop(key).log_ratio, None)
        self._told[stage].pop(key, None)
        self._strategies.clear()

    def _tell_stages(self) -> list[Stage]:
        """Tell whole stages anew whose correction moved."""
        moved = []
        for stage in STAGES:
            now = self._votes.stage_log(stage)
            if abs(now - self._told_log[stage]) > _NOISE_LOG:
                self._told_log[stage] = now
                cells = self._cells[stage]
                self._told[stage] = {one: cell.corrected(now) for one, cell in cells.items()}
                moved.append(stage)
        return moved

    def _tell(self, stage: Stage, key: CellKey) -> list[Stage]:
        """Tell one cell anew where it moved."""
        cell = self._cells[stage][key].corrected(self._told_log[stage])
        told = self._told[stage].get(key)
        if told is None:
            self._strategies.clear()
        elif not cell.differs(told):
            return []
        self._told[stage][key] = cell
        return [stage]


def _taught(stage: Stage, cell: Cell, steps: int, seconds: float) -> Cell:
    """The cell after one call."""
    if stage is not Stage.DIFFUSE:
        return cell.observed(seconds)
    # A call that beat its fixed part says that the profile's fixed part is wrong for us.
    if seconds <= cell.fixed_s:
        cell = replace(cell, fixed_s=0.0)
    return cell.observed((seconds - cell.fixed_s) / steps)


def _strategies(cells: Mapping[CellKey, Cell], shape: Shape) -> tuple[Strategy, ...]:
    by_shape: dict[Shape, set[Strategy]] = {}
    profiled = False
    for key, cell in cells.items():
        by_shape.setdefault(key.shape, set()).add(key.strategy)
        profiled = profiled or (key.shape == shape and cell.prior_s > 0)
    found = {SINGLE} | by_shape.get(shape, set())
    if not profiled:
        others = sorted((one.volume, one) for one in by_shape if one != shape)
        below = [one for volume, one in others if volume <= shape.volume][-1:]
        above = [one for volume, one in others if volume > shape.volume][:1]
        found.update(*(by_shape[one] for one in (*below, *above)))
    return tuple(
        sorted(found, key=lambda one: (one.degree, one.cfg, one.ulysses, one.ring, one.vae_tiles))
    )
