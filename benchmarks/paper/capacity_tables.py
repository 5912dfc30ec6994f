"""Capacities in words and in a table. Pure."""

from collections.abc import Iterator, Sequence

from paper import capacity
from paper.cells import Cell
from paper.records import Records
from paper.tables import table


def capacity_answer(records: Records, cells: Sequence[Cell], ours: str, theirs: str) -> str:
    """Every ratio in a sentence; empty where no group of cells is whole."""
    found = [f"{ratio} ({group})" for group, *_, ratio in _rows(records, cells, ours, theirs)]
    return f"[Capacity](#capacity) over theirs: {', '.join(found)}." if found else ""


def capacity_table(records: Records, cells: Sequence[Cell], ours: str, theirs: str) -> str:
    """Both and their ratio, a row for cells that differ in nothing but the load."""
    return table(["cells", "theirs", "ours", "ratio"], _rows(records, cells, ours, theirs))


def _rows(
    records: Records, cells: Sequence[Cell], ours: str, theirs: str
) -> Iterator[tuple[str, str, str, str]]:
    for (pipeline, deadline, devices, decode_s, slow_down), group in capacity.groups(cells).items():
        one, other = (capacity.capacity(records, group, name) for name in (ours, theirs))
        if one is None or other is None:
            continue
        world = "" if decode_s is None else f" c{decode_s:g} f{slow_down:g}"
        value, sign = capacity.ratio(one, other)
        yield (
            f"{pipeline}{world}, {deadline}, {devices} devices",
            f"{other.sign}{other.load:.2f}",
            f"{one.sign}{one.load:.2f}",
            "unknown" if sign == "?" else f"{sign}{value:.2f}",
        )
