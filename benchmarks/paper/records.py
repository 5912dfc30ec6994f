"""Figures of many runs, looked up by cell and contender, and paired by seed. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from paper.outcomes import Figures
from paper.statistics import Interval, interval

Read = Callable[[Figures], float]
BySeed = Mapping[int, Figures]


def attainment(one: Figures) -> float:
    """Share of requests that met their deadlines."""
    return one.attainment


def worst(one: Figures) -> float:
    """The same of the class that has the least."""
    return one.worst


def mean_s(one: Figures) -> float:
    """Mean latency."""
    return one.mean_s


def p95_s(one: Figures) -> float:
    """95th percentile of latency."""
    return one.p95_s


def wait_s(one: Figures) -> float:
    """The longest stretch of waiting."""
    return one.wait_s


@dataclass(frozen=True, slots=True)
class Records:
    """What was found, by names of cell and contender, and by seed."""

    found: Mapping[tuple[str, str], BySeed]

    def of(self, cell: str, contender: str) -> BySeed:
        """All seeds of a contender in a cell; empty where it was not run."""
        return self.found.get((cell, contender), {})

    def shared(self, cell: str, contenders: Iterable[str]) -> tuple[BySeed, ...]:
        """Those seeds of a cell that all contenders have run, in the order of the contenders."""
        found = [self.of(cell, name) for name in contenders]
        seeds = sorted(set.intersection(*map(set, found))) if found else []
        return tuple({seed: one[seed] for seed in seeds} for one in found)

    def interval(self, cell: str, contender: str, read: Read) -> Interval | None:
        """A figure over all seeds; None where none was run."""
        values = [read(one) for one in self.of(cell, contender).values()]
        return interval(values) if values else None


def average(found: BySeed, read: Read) -> float:
    """The mean over seeds, of which there must be some."""
    return sum(read(one) for one in found.values()) / len(found)


def differences(ours: BySeed, theirs: BySeed, read: Read) -> list[float]:
    """Ours less theirs, seed by seed."""
    return [read(one) - read(theirs[seed]) for seed, one in ours.items()]


def ranking(records: Records, cells: Sequence[str], members: Sequence[str]) -> list[str]:
    """Members of a family, the best first: attainment, then mean latency over all cells.

    Compared on the cells and seeds that all of them have run, so that nobody wins by having been
    spared a hard cell; a member that was run nowhere would spare everybody, and is left out.
    """
    known = [name for name in members if any(records.of(cell, name) for cell in cells)]
    if not known:
        return []
    rows = [records.shared(cell, known) for cell in cells]
    scores: dict[str, tuple[float, float]] = {}
    for index, name in enumerate(known):
        runs = [one for row in rows for one in row[index].values()]
        if not runs:
            return []
        lost = sum(1 - one.attainment for one in runs) / len(runs)
        scores[name] = (lost, sum(one.mean_s for one in runs) / len(runs))
    return sorted(known, key=lambda name: (scores[name], name))
