"""Pictures of the report: attainment and tail by load, with intervals. Small SVG files."""

from collections.abc import Mapping, Sequence
from math import isinf
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper.capacity import groups
from paper.cells import Cell
from paper.policies import BOUND
from paper.records import Read, Records, attainment, p95_s

COLOURS = ("#666666", "#c2410c", "#1d4ed8", "#15803d", "#7e22ce")
"""Of the bound first."""


def by_load(
    records: Records, cells: Sequence[Cell], contenders: Sequence[str], folder: Path
) -> Mapping[str, Path]:
    """One picture for every group of cells that differ in nothing but the load.

    Groups of which fewer than two loads were run have none.

    Returns:
        The files by a caption.
    """
    found = {}
    for (pipeline, deadline, devices, decode_s, slow_down), group in groups(cells).items():
        known = [cell for cell in group if any(records.of(cell.name, c) for c in contenders)]
        if len(known) < 2:
            continue
        world = "" if decode_s is None else f"-c{decode_s:g}-f{slow_down:g}"
        name = f"science-{pipeline}-{deadline.replace('+', '-')}-{devices}{world}.svg"
        path = folder / name
        caption = f"{pipeline}, {devices} devices, deadline {deadline}{world.replace('-', ' ')}"
        _draw(records, known, contenders, path, caption)
        found[caption] = path
    return found


def _draw(
    records: Records, cells: Sequence[Cell], contenders: Sequence[str], path: Path, title: str
) -> None:
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for index, name in enumerate((BOUND.name, *contenders)):
        colour = COLOURS[index % len(COLOURS)]
        _line(left, records, cells, name, attainment, colour)
        _line(right, records, cells, name, p95_s, colour)
    left.set(xlabel="load", ylabel="attainment", title=title)
    right.set(xlabel="load", ylabel="P95 latency, s", yscale="log")
    left.legend(fontsize="small", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a salt every picture names its parts anew, and is changed without having changed.
    with rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _line(
    axes: Axes, records: Records, cells: Sequence[Cell], name: str, read: Read, colour: str
) -> None:
    """One contender over the loads that it was run at."""
    points = [
        (cell.load, found)
        for cell in cells
        if (found := records.interval(cell.name, name, read)) is not None
    ]
    if not points:
        return
    halves = [0.0 if isinf(one.high) else one.high - one.mean for _, one in points]
    axes.errorbar(
        [load for load, _ in points],
        [one.mean for _, one in points],
        yerr=halves,
        color=colour,
        label=name,
        linestyle=":" if name == BOUND.name else "-",
        marker="o",
        markersize=3,
        linewidth=1,
        capsize=2,
    )
