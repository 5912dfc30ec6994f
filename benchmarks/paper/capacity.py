"""How much load a contender takes with 99 % on time and no class below 95 %. Pure.

Read off the loads that were simulated, by straight lines between them: a rough figure. Outside of
them only a limit is known, and a ratio of two limits may say nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from paper.cells import Cell
from paper.records import Records, attainment, average, worst

Group = tuple[str, str, int, float | None, float]
WHOLE, EACH = 0.99, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """A load, or the side of one on which the capacity lies."""

    load: float
    sign: str = ""
    """`<` below the least load, `>=` from the largest on."""


def groups(cells: Sequence[Cell]) -> dict[Group, list[Cell]]:
    """Cells that differ in nothing but the load, which rises; variations are none of these."""
    found: dict[Group, list[Cell]] = {}
    for cell in sorted(cells, key=lambda one: one.load):
        key = (cell.pipeline, cell.deadline, cell.devices, cell.decode_s, cell.slow_down)
        found.setdefault(key, []).append(cell)
    return found


def capacity(records: Records, cells: Sequence[Cell], contender: str) -> Capacity | None:
    """Of a contender over cells of rising load; None where one of them was not run."""
    margins: list[tuple[float, float]] = []
    for cell in cells:
        found = records.of(cell.name, contender)
        if not found:
            return None
        margin = min(average(found, attainment) - WHOLE, average(found, worst) - EACH)
        margins.append((cell.load, margin))
    return read_off(margins)


def read_off(margins: Sequence[tuple[float, float]]) -> Capacity:
    """Where the margin falls below 0, loads ascending.

    >>> read_off([(0.5, 0.02), (0.7, -0.02)]).load
    0.6
    """
    if margins[0][1] < 0:
        return Capacity(load=margins[0][0], sign="<")
    for (low, above), (high, below) in pairwise(margins):
        if below < 0:
            return Capacity(load=low + (high - low) * above / (above - below))
    return Capacity(load=margins[-1][0], sign=">=")


def ratio(ours: Capacity, theirs: Capacity) -> tuple[float, str]:
    """Ours over theirs with a sign of its own: `>=` and `<` are limits, `?` says nothing.

    >>> ratio(Capacity(load=0.9), Capacity(load=0.5, sign="<"))
    (1.8, '>=')
    """
    value = ours.load / theirs.load
    signs: Mapping[tuple[str, str], str] = {
        ("", ""): "",
        ("", "<"): ">=",
        (">=", ""): ">=",
        (">=", "<"): ">=",
        ("<", ""): "<",
        ("", ">="): "<",
        ("<", ">="): "<",
    }
    return value, signs.get((ours.sign, theirs.sign), "?")
