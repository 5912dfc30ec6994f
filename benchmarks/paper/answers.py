"""What may be claimed of one contender against another, and in which words. Pure.

Seeds are paired. Attainment is compared by its difference, seconds by their ratio (the mean of its
logarithm over seeds). Something is claimed of a cell where it has enough seeds and the difference
is one at 5 %, corrected for the number of such cells in the table (Holm), measure by measure;
everything else is open, whatever the means say.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, isinf, log

from paper.cells import Cell
from paper.records import Read, Records, attainment, average, mean_s, p95_s, wait_s, worst
from paper.statistics import LEAST_SEEDS, Interval, Name, holm, interval, p_value
from paper.tables import NOTHING, table

_LEAST_S = 0.01
"""Seconds of nothing, in ratios."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A figure that is compared."""

    name: str
    read: Read
    is_ratio: bool = True
    """Seconds, of which less is better; else a share, of which more is better."""


MEASURES = (
    Measure(name="attainment", read=attainment, is_ratio=False),
    Measure(name="worst class", read=worst, is_ratio=False),
    Measure(name="mean", read=mean_s),
    Measure(name="P95", read=p95_s),
    Measure(name="longest wait", read=wait_s),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One measure of one cell: ours against theirs."""

    cell: str
    seeds: int
    theirs: float
    ours: float
    change: Interval
    """Ours less theirs, or ours over theirs."""
    is_better: bool
    """By the means; says nothing of chance."""
    p: float

    @property
    def is_certain(self) -> bool:
        """Whether chance is excluded, with enough seeds."""
        return self.seeds >= LEAST_SEEDS and self.p <= 0.05


def gains(
    records: Records, cells: Sequence[Cell], ours: str, theirs: str, measure: Measure
) -> dict[str, Gain]:
    """By cell, of those that both have run under shared seeds; p-values are corrected."""
    found = {
        cell.name: one
        for cell in cells
        if (one := gain(records, cell.name, ours, theirs, measure)) is not None
    }
    return corrected(found)


def corrected(found: Mapping[Name, Gain]) -> dict[Name, Gain]:
    """The same with p-values corrected for the number of those that have enough seeds."""
    p_values = holm({name: one.p for name, one in found.items() if one.seeds >= LEAST_SEEDS})
    return {name: replace(one, p=p_values.get(name, one.p)) for name, one in found.items()}


def gain(records: Records, cell: str, ours: str, theirs: str, measure: Measure) -> Gain | None:
    """In one cell, its p-value not corrected; None where no seed is shared."""
    one, other = records.shared(cell, (ours, theirs))
    if not one:
        return None
    pairs = [(measure.read(one[seed]), measure.read(other[seed])) for seed in one]
    if measure.is_ratio:
        logs = [log(max(a, _LEAST_S) / max(b, _LEAST_S)) for a, b in pairs]
        change, p = _exponential(interval(logs)), p_value(logs)
        better = change.mean < 1
    else:
        differences = [a - b for a, b in pairs]
        change, p = interval(differences), p_value(differences)
        better = change.mean > 0
    return Gain(
        cell=cell,
        seeds=len(one),
        theirs=average(other, measure.read),
        ours=average(one, measure.read),
        change=change,
        is_better=better,
        p=p,
    )


def _exponential(found: Interval) -> Interval:
    high = float("inf") if isinf(found.high) else exp(found.high)
    return replace(found, mean=exp(found.mean), low=exp(found.low), high=high)


def claims(records: Records, cells: Sequence[Cell], ours: str, theirs: str) -> str:
    """One line a measure: in how many cells ours is better, worse, and open."""
    enough = [
        cell.name
        for cell in cells
        if len(records.shared(cell.name, (ours, theirs))[0]) >= LEAST_SEEDS
    ]
    if not enough:
        return f"No cell has {LEAST_SEEDS} paired seeds yet: **nothing is claimed**."
    where = ", ".join(f"`{name}`" for name in enough)
    held_out = [cell.name for cell in cells if cell.is_held_out and cell.name in enough]
    lines = [
        f"{len(enough)} of {len(cells)} declared cells have {LEAST_SEEDS} paired seeds, of which"
        f" {len(held_out)} held out of tuning: {where}.\n"
    ]
    for measure in MEASURES:
        found = gains(records, cells, ours, theirs, measure)
        lines.append(_claim(measure, [found[name] for name in enough], held_out))
    return "\n".join(lines)


def in_all_worlds(
    records: Records,
    cells: Sequence[Cell],
    ours: str,
    theirs: str,
    worlds: Collection[tuple[float, float]],
) -> str:
    """Which gains are certain in each of some worlds; empty where no cell was run in all."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        enough = len(records.shared(cell.name, (ours, theirs))[0]) >= LEAST_SEEDS
        if enough and (cell.decode_s, cell.slow_down) in worlds:
            groups.setdefault(replace(cell, decode_s=None, slow_down=1.0).name, []).append(cell)
    whole = {name: group for name, group in groups.items() if len(group) == len(worlds)}
    if not whole or len(worlds) < 2:
        return ""
    parts = []
    for measure in MEASURES:
        found = gains(records, cells, ours, theirs, measure)
        better = [
            f"`{name}`"
            for name, group in whole.items()
            if all((one := found[cell.name]).is_certain and one.is_better for cell in group)
        ]
        parts.append(f"{measure.name} in {', '.join(better) or 'none'}")
    return (
        f"{len(whole)} of these cells were run in all {len(worlds)} worlds that fit, and in all of"
        f" them better is {'; '.join(parts)}. What is said of any other holds in one world."
    )


def _claim(measure: Measure, found: Sequence[Gain], held_out: Sequence[str]) -> str:
    """What is certain of one measure."""
    better = [one for one in found if one.is_certain and one.is_better]
    worse = [one for one in found if one.is_certain and not one.is_better]
    text = (
        f"- **{measure.name}**: better in {len(better)} of {len(found)} cells"
        f"{_range(better, measure)}, worse in {len(worse)}{_range(worse, measure)},"
        f" open in {len(found) - len(better) - len(worse)}"
    )
    if held_out:
        parts = [sum(one.cell in held_out for one in part) for part in (better, worse)]
        text += f"; of {len(held_out)} held out, better in {parts[0]}, worse in {parts[1]}"
    return f"{text}."


def _range(found: Sequence[Gain], measure: Measure) -> str:
    """The least and the largest change, where there is any."""
    if not found:
        return ""
    changes = sorted(one.change.mean for one in found)
    show: Callable[[float], str] = _ratio if measure.is_ratio else _points
    texts = list(dict.fromkeys(map(show, (changes[0], changes[-1]))))
    return f" ({' to '.join(texts)})"


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def _ratio(value: float) -> str:
    return f"x {value:.2f}"


def comparison(records: Records, cells: Sequence[Cell], ours: str, theirs: str) -> str:
    """A row a cell: theirs, ours and the change with its interval; bold where it is certain."""
    found = {one.name: gains(records, cells, ours, theirs, one) for one in MEASURES}
    rows = []
    for cell in cells:
        first = found[MEASURES[0].name].get(cell.name)
        if first is not None:
            mark = "held out" if cell.is_held_out else ""
            texts = [_text(found[one.name][cell.name], one) for one in MEASURES]
            rows.append([cell.name, mark, f"{first.seeds}", *texts])
    head = ["cell", "", "seeds", *(_head(one) for one in MEASURES)]
    return table(head, rows)


def _head(measure: Measure) -> str:
    return f"{measure.name}, s" if measure.is_ratio else measure.name


def _text(gain: Gain, measure: Measure) -> str:
    digits = 0 if measure.is_ratio else 3
    both = f"{gain.theirs:.{digits}f} → {gain.ours:.{digits}f}"
    low, high = gain.change.low, gain.change.high
    if isinf(high):
        return both
    if measure.is_ratio:
        change = f"x {gain.change.mean:.2f} ({low:.2f} to {high:.2f})"
    else:
        change = f"{gain.change.mean:+.3f} ± {high - gain.change.mean:.3f}"
    return f"{both}: **{change}**" if gain.is_certain else f"{both}: {change}"


def shares(rows: Mapping[str, tuple[int, int, float]], questions: Mapping[str, str]) -> str:
    """How much of each section exists: made, declared, processor seconds."""
    lines = []
    for name, (made, declared, took_s) in rows.items():
        whole = NOTHING if not made else f"{took_s * declared / made / 60:.0f}"
        share = f"{made / declared:.0%}" if declared else NOTHING
        spent = [f"{made} of {declared}", share, f"{took_s / 60:.1f}", whole]
        lines.append([name, questions[name], *spent])
    head = ["section", "question", "runs", "share", "minutes spent", "minutes for all of it"]
    return table(head, lines)
