"""Cells of every stage: what the profile says, taught by measurements, and what of it is told.

What is told changes only where a measurement moved it by more than its noise (`Cell.differs`), or
where the correction of a whole stage did. It says which stages are told otherwise than before; who
keeps answers drops those.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace

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
        self._shapes: dict[Stage, _Shapes] = {}

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
            before = _unmeasured(cells, key, peak_bytes)
        cells[key] = after = _taught(stage, before, steps, seconds)
        self._votes.change(stage, before.vote, after.vote)
        if key.batch == 1 and not before.count:
            self._silence_batches(stage, key)
        if len(cells) > _CELLS_LIMIT:
            self._forget(stage)
        return (*self._tell_stages(), *self._tell(stage, key))

    def strategies(self, stage: Stage, shape: Shape) -> tuple[Strategy, ...]:
        """Those that are known of a shape, by ascending degree; see `CostModel.strategies`."""
        known = self._strategies.get((stage, shape))
        if known is None:
            if len(self._strategies) >= _SHAPES_LIMIT:
                self._strategies.clear()
            shapes = self._shapes.get(stage)
            if shapes is None:
                shapes = self._shapes[stage] = _shapes(self._cells[stage])
            known = self._strategies[stage, shape] = shapes.strategies(shape)
        return known

    def _keys_changed(self) -> None:
        self._strategies.clear()
        self._shapes.clear()

    def _forget(self, stage: Stage) -> None:
        """Drop the cell that was measured the longest ago, one without a profile if there is.

        Never the last: it was just taught, and is told next.
        """
        cells = self._cells[stage]
        *others, _ = cells
        key = next((key for key in others if not cells[key].prior_s), others[0])
        self._votes.change(stage, cells.pop(key).vote, None)
        self._told[stage].pop(key, None)
        self._keys_changed()

    def _silence_batches(self, stage: Stage, one: CellKey) -> None:
        """Bounds are silent from the first call of one picture on, which says more than they."""
        cells = self._cells[stage]
        for key, cell in cells.items():
            if cell.bound_s and replace(key, batch=1) == one:
                self._votes.change(stage, cell.vote, None)
                cells[key] = replace(cell, bound_s=0.0)

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
            self._keys_changed()
        elif not cell.differs(told):
            return []
        self._told[stage][key] = cell
        return [stage]


def _unmeasured(cells: Mapping[CellKey, Cell], key: CellKey, peak_bytes: int) -> Cell:
    """A cell before its first call, with its bound if it is a batch of a profiled picture."""
    one = cells.get(replace(key, batch=1))
    new = Cell(mean_s=0.0, variance=0.0, count=0, peak_bytes=peak_bytes)
    if key.batch == 1 or one is None or one.count or one.prior_s <= 0:
        return new
    return replace(new, fixed_s=one.fixed_s * key.batch, bound_s=one.prior_s * key.batch)


def _taught(stage: Stage, cell: Cell, steps: int, seconds: float) -> Cell:
    """The cell after one call."""
    if stage is not Stage.DIFFUSE:
        return cell.observed(seconds)
    # A call that beat its fixed part says that the profile's fixed part is wrong for us.
    if seconds <= cell.fixed_s:
        cell = replace(cell, fixed_s=0.0)
    return cell.observed((seconds - cell.fixed_s) / steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shapes:
    """The shapes of one stage's cells."""

    by_shape: Mapping[Shape, frozenset[Strategy]]
    profiled: frozenset[Shape]
    ascending: tuple[tuple[int, Shape], ...]
    """With their volumes."""

    def strategies(self, shape: Shape) -> tuple[Strategy, ...]:
        found = {SINGLE} | self.by_shape.get(shape, frozenset())
        if shape not in self.profiled:
            above = bisect_right(self.ascending, shape.volume, key=lambda one: one[0])
            below = [one for _, one in self.ascending[max(0, above - 2) : above] if one != shape]
            for one in (*below[-1:], *(one for _, one in self.ascending[above : above + 1])):
                found |= self.by_shape[one]
        return tuple(
            sorted(
                found, key=lambda one: (one.degree, one.cfg, one.ulysses, one.ring, one.vae_tiles)
            )
        )


def _shapes(cells: Mapping[CellKey, Cell]) -> _Shapes:
    by_shape: dict[Shape, set[Strategy]] = {}
    for key in cells:
        by_shape.setdefault(key.shape, set()).add(key.strategy)
    return _Shapes(
        by_shape={shape: frozenset(found) for shape, found in by_shape.items()},
        profiled=frozenset(key.shape for key, cell in cells.items() if cell.prior_s > 0),
        ascending=tuple(sorted((shape.volume, shape) for shape in by_shape)),
    )
