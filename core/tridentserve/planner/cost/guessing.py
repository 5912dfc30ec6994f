"""What a call would cost that nobody measured, from the nearest that somebody did.

| asked for | answered from |
| --- | --- |
| a measured cell | the cell |
| another fraction | seconds(f0) x f0 / f, up to the stage's saturation point where the profile states one, from the nearest fraction (by ratio, the larger of equals) |
| another batch | seconds(b0) x b / b0: batching is not assumed to gain anything until it is seen to |
| another shape, several known | between the neighbours, see `interpolation`; never below a tenth of the nearest |
| another shape, one known | a tenth of it is fixed, the rest is proportional to size; encode does not depend on it |
| another strategy, diffuse | from one device, see `parallel`; no faster than it where the architecture is unknown |
| another strategy, encode or decode | as long as on one device (paper section 1.1); tiles of the decoder share its peak |

Size is tokens where the profile states the architecture and the stage is diffuse, else volume. Each
step away from a measurement halves the confidence and widens the spread.
"""  # noqa: E501 - a table

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log

from tridentserve.domain.architecture import Architecture
from tridentserve.domain.fractions import ratio
from tridentserve.domain.profiles import Profile
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.cost.cells import PRIOR_SPREAD, Cell, CellKey
from tridentserve.planner.cost.interpolation import Point, peak_at, seconds_at
from tridentserve.planner.cost.parallel import communication_s, parts

_APART = 1.25
"""Beyond the measured sizes two that are nearer than this tell of noise rather than of growth."""

_FIXED_SHARE = 0.1
"""Share of a call that does not grow with the size, where a single shape is known."""

_Distance = tuple[float, float, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A cell with how much of what it says was measured."""

    cell: Cell
    confidence: float

    def further(self, factor: float, peak_factor: float = 1.0) -> "Guess":
        """One step away from what was measured, that many times as long and as large."""
        doubt = (PRIOR_SPREAD * self.cell.mean_s) ** 2
        wider = replace(self.cell, variance=max(self.cell.variance, doubt))
        return Guess(cell=wider.scaled(factor, peak_factor), confidence=self.confidence / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of calls of one strategy, as if at one fraction and batch."""

    by_shape: Mapping[Shape, Guess]
    by_size: Mapping[int, Guess]
    sizes: tuple[int, ...]
    """Ascending."""


class Guesser:
    """Answers for one stage, as long as its cells stay as they are."""

    def __init__(self, stage: Stage, cells: Mapping[CellKey, Cell], profile: Profile) -> None:
        """Answer from these cells and what the profile says of the model."""
        self.stage, self.cells, self.profile = stage, cells, profile
        # Callers choose the shapes: a look at all cells for each that waits would block who asks.
        self._known: dict[tuple[Strategy, int, int], _Known] = {}

    def guess(self, asked: CellKey) -> Guess | None:
        """The cell that was asked for; None where nothing is known of the stage."""
        if asked in self.cells:
            cell = self.cells[asked]
            return Guess(cell=cell, confidence=cell.confidence)
        known = self._near(asked)
        if asked.shape in known.by_shape:
            return known.by_shape[asked.shape]
        single = None
        if len(known.sizes) < 2 and asked.strategy != SINGLE:
            single = self.guess(replace(asked, strategy=SINGLE))
        if single is not None:
            return self._parallel(single, asked)
        return self._interpolated(asked, known) if known.sizes else None

    def size(self, shape: Shape) -> int:
        """What seconds and bytes of the stage grow with."""
        architecture = self._architecture
        return shape.volume if architecture is None else architecture.tokens(shape)

    @property
    def _architecture(self) -> Architecture | None:
        return self.profile.architecture if self.stage is Stage.DIFFUSE else None

    def _near(self, asked: CellKey) -> _Known:
        key = (asked.strategy, asked.fraction_percent, asked.batch)
        if key not in self._known:
            by_shape = self._by_shape(asked)
            by_size = self._by_size(by_shape.items())
            self._known[key] = _Known(
                by_shape=by_shape, by_size=by_size, sizes=tuple(sorted(by_size))
            )
        return self._known[key]

    def _by_shape(self, asked: CellKey) -> dict[Shape, Guess]:
        """The nearest cell of every shape with the strategy, at the asked fraction and batch."""
        nearest: dict[Shape, tuple[_Distance, CellKey]] = {}
        for key in self.cells:
            if key.strategy == asked.strategy:
                distance = _distance(key, asked)
                if key.shape not in nearest or distance < nearest[key.shape][0]:
                    nearest[key.shape] = (distance, key)
        return {shape: self._converted(key, asked) for shape, (_, key) in nearest.items()}

    def _converted(self, key: CellKey, asked: CellKey) -> Guess:
        guess = Guess(cell=self.cells[key], confidence=self.cells[key].confidence)
        if key.fraction_percent != asked.fraction_percent:
            saturation = dict(self.profile.saturation).get(self.stage)
            guess = guess.further(ratio(key.fraction_percent, asked.fraction_percent, saturation))
        if key.batch != asked.batch:
            times = asked.batch / key.batch
            guess = guess.further(times, peak_factor=times)
        return guess

    def _by_size(self, known: Iterable[tuple[Shape, Guess]]) -> dict[int, Guess]:
        # One guess a size, the surest: two shapes of one size would make a vertical line.
        by_size: dict[int, Guess] = {}
        for shape, guess in sorted(known, key=lambda item: (item[1].confidence, item[0])):
            by_size[self.size(shape)] = guess
        return by_size

    def _interpolated(self, asked: CellKey, known: _Known) -> Guess:
        size, sizes, by_size = self.size(asked.shape), known.sizes, known.by_size
        above = bisect_right(sizes, size)
        nearest = min(sizes[max(0, above - 1) : above + 1], key=lambda one: (abs(one - size), one))
        base = by_size[nearest]
        if nearest == size:
            return base
        beyond = not 0 < above < len(sizes)
        if base.cell.mean_s <= 0 or (beyond and self.stage is Stage.ENCODE):
            return base.further(1.0)
        pair = _apart(sizes, above) if beyond else (sizes[above - 1], sizes[above])
        if pair is None:
            factor = _FIXED_SHARE + (1 - _FIXED_SHARE) * size / nearest
            return base.further(factor, peak_factor=size / nearest)
        low, high = (self._point(one, asked, by_size[one].cell) for one in pair)
        curved = self._architecture is not None
        mean_s = seconds_at(low, high, self._point(size, asked), curved=curved)
        factor = max(mean_s / base.cell.mean_s, _FIXED_SHARE)
        if beyond:
            factor = max(factor, 1.0) if size > nearest else min(factor, 1.0)
        guess = base.further(factor)
        return replace(guess, cell=replace(guess.cell, peak_bytes=peak_at(low, high, size)))

    def _point(self, size: int, asked: CellKey, cell: Cell | None = None) -> Point:
        return Point(
            size=size,
            seconds=cell.mean_s if cell else 0.0,
            communication_s=self._communication_s(size, asked),
            peak_bytes=cell.peak_bytes if cell else 0,
        )

    def _communication_s(self, size: int, asked: CellKey) -> float:
        if self._architecture is None or self.profile.link is None:
            return 0.0
        return communication_s(
            self._architecture,
            self.profile.link,
            size * asked.batch * self.profile.branches,
            asked.strategy,
            guided=self.profile.guided,
        )

    def _parallel(self, single: Guess, asked: CellKey) -> Guess:
        """The guess for several devices from that for one."""
        if self.stage is not Stage.DIFFUSE:
            return single.further(1.0, peak_factor=1 / asked.strategy.vae_tiles)
        if self._architecture is None or self.profile.link is None or single.cell.mean_s <= 0:
            return single.further(1.0)
        split = parts(asked.strategy, guided=self.profile.guided)
        seconds = single.cell.mean_s / split
        seconds += self._communication_s(self.size(asked.shape), asked)
        return single.further(seconds / single.cell.mean_s, peak_factor=1 / split)


def _apart(sizes: Sequence[int], above: int) -> tuple[int, int] | None:
    """The end of the measured sizes, and the next that is not too near; None where all are."""
    if above:
        end = sizes[-1]
        return next(((one, end) for one in reversed(sizes) if one * _APART <= end), None)
    end = sizes[0]
    return next(((end, one) for one in sizes if one >= end * _APART), None)


def _distance(key: CellKey, asked: CellKey) -> _Distance:
    return (
        abs(log(key.batch / asked.batch)),
        abs(log(key.fraction_percent / asked.fraction_percent)),
        -key.fraction_percent,
    )
