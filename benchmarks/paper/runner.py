"""Makes runs and keeps their records, so that a comparison of hours can stop and go on.

Records are lines of JSON in one file, each under a key: a hash of the cell, the contender with all
its settings, the seed, and the source of all that decides or simulates. So a changed planner makes
its old results useless rather than wrong, and nobody has to remember to throw them away. Only who
has the lock writes (`held`), and drops a last line that was cut short by a crash; whoever reads
passes over it, for somebody may be writing it. Anything else is an error.

What is *made* is what the present source lacks. What is *reported* is what was measured last: the
fit, the choice of the opponent and the comparison are groups, and of each the runs of one source
are reported, the one that wrote the last line of it. So a fit that took an hour stays in the report
when a planner changes, under the commit that it was made with, and two sources never meet in one
table.
"""

import fcntl
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from itertools import islice, takewhile
from pathlib import Path

from pydantic import TypeAdapter
from tqdm import tqdm

import tridentserve
from paper.cells import Cell
from paper.contenders import Contender, canonical
from paper.grid import Run
from paper.outcomes import Figures, bounded, simulated
from paper.policies import BOUND
from tridentserve.errors import InvalidFieldError

_DECIDES = ("domain", "planner", "sim", "manifest/profiles")
_READS = ("figures", "files", "samples", "schema")
"""Modules of `manifest` that make profiles of files."""
_BESIDE = Path("sim/plan")
"""A command for users: it asks the simulator, and no run asks it."""
_OURS = ("bounds.py", "cells.py", "contenders.py", "jobs.py", "outcomes.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A line of the file."""

    key: str
    label: str
    source: str
    commit: str
    """What the source was called by who ran it; empty where nobody said."""
    seed: int
    took_s: float
    """Processor seconds of the machine that it ran on."""
    figures: Figures


_LINE = TypeAdapter(Kept)
_GROUPS = {"validity": "fit", "prediction": "fit", "family": "opponent"}
COMPARISON = "comparison"
GROUPS = ("fit", "opponent", COMPARISON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Which source a group of sections was measured with last, and how much of it there is."""

    group: str
    source: str
    commit: str
    runs: int
    took_s: float


def group_of(section: str) -> str:
    """The sections that are measured together."""
    return _GROUPS.get(section, COMPARISON)


def source_files() -> list[Path]:
    """All files on which a result depends."""
    root = Path(tridentserve.__path__[0])
    files = [
        file
        for part in _DECIDES
        for file in sorted((root / part).rglob("*"))
        if not file.is_relative_to(root / _BESIDE)
    ]
    files += [root / "manifest" / f"profile_{name}.py" for name in _READS]
    files += [root / "stage" / "batching.py"]
    files += [Path(__file__).with_name(name) for name in _OURS]
    return [file for file in files if file.suffix in {".py", ".json"}]


def source_hash() -> str:
    """Of the `source_files`."""
    digest = sha256()
    for file in source_files():
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def key_of(run: Run, source: str) -> str:
    """Under which a run's record is kept; its section plays no part."""
    content = f"{_where(run.cell)}|{_policy(run.contender)}|{run.seed}|{source}"
    return sha256(content.encode()).hexdigest()[:24]


@cache
def _where(cell: Cell) -> str:
    return canonical(cell)


@cache
def _policy(contender: Contender) -> str:
    """A contender without its name."""
    if contender == BOUND:
        return "bound"
    parts = (contender.dispatch, contender.placement, contender.devices, contender.decision)
    return canonical(parts)


class Results:
    """The file of records."""

    def __init__(self, path: Path, source: str, commit: str = "") -> None:
        """Read what is there.

        Raises:
            InvalidFieldError: a line is no record; names file and line.
        """
        self._path, self._source, self._commit = path, source, commit
        self._kept: dict[str, Kept] = {}
        self._latest: dict[str, str] = {}
        self._named: dict[tuple[str, str, str, int], Kept] = {}
        for one in _read(path):
            self._take(one)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep all others from making runs for this file meanwhile: they would make the same ones.

        Raises:
            InvalidFieldError: another process makes some.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidFieldError(
                    "--results",
                    f"another process makes runs for {self._path}; wait for it or end it",
                ) from None
            _drop_cut_line(self._path)
            yield

    def _take(self, kept: Kept) -> None:
        section, name = kept.label.split("/", 1)
        group = group_of(section)
        self._kept[kept.key] = kept
        self._latest[group] = kept.source
        self._named[group, kept.source, name, kept.seed] = kept

    def figures(self, run: Run) -> Figures | None:
        """Those of a run by the present source; None where it was not made."""
        found = self._kept.get(key_of(run, self._source))
        return None if found is None else found.figures

    def reported(self, run: Run) -> Kept | None:
        """The record of a run by the source that measured its group last.

        That of another source is found by its names, for settings have come and gone since; that of
        the present one by its key, so that a contender whose settings are changed has no figures
        until it is run again, rather than some of both.
        """
        group = group_of(run.section)
        source = self._latest.get(group, "")
        if source == self._source:
            return self._kept.get(key_of(run, source))
        return self._named.get((group, source, run.label.split("/", 1)[1], run.seed))

    def measured(self) -> tuple[Measured, ...]:
        """Of every group of which anything was made."""
        result = []
        for group, source in sorted(self._latest.items(), key=lambda one: GROUPS.index(one[0])):
            found = [one for key, one in self._named.items() if key[:2] == (group, source)]
            result.append(
                Measured(
                    group=group,
                    source=source,
                    commit=found[-1].commit,
                    runs=len(found),
                    took_s=sum(one.took_s for one in found),
                )
            )
        return tuple(result)

    def keep(self, run: Run, figures: Figures, took_s: float) -> None:
        """Append a record; only while the file is `held`, else a cut line may come before it."""
        kept = Kept(
            key=key_of(run, self._source),
            label=run.label,
            source=self._source,
            commit=self._commit,
            seed=run.seed,
            took_s=took_s,
            figures=figures,
        )
        self._take(kept)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(_LINE.dump_json(kept) + b"\n")


def _read(path: Path) -> Iterable[Kept]:
    if not path.exists():
        return
    content = path.read_bytes()
    for number, line in enumerate(content[: _whole(content)].splitlines(), start=1):
        try:
            yield _LINE.validate_json(line)
        except ValueError as error:
            raise InvalidFieldError(f"{path}:{number}", f"is no record: {error}") from None


def _whole(content: bytes) -> int:
    """Bytes of all lines that have an end."""
    return content.rfind(b"\n") + 1


def _drop_cut_line(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(_whole(file.read()))


def made(run: Run) -> tuple[Figures, float]:
    """Make a run here and now: its figures, and the processor seconds that they took."""
    begun = time.process_time()
    compute = bounded if run.contender == BOUND else simulated
    figures = compute(run.cell, run.contender, run.seed)
    return figures, time.process_time() - begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much may be spent."""

    jobs: int
    until_s: float
    """By the clock: no run is begun later than this."""


def make(
    runs: Sequence[Run],
    results: Results,
    effort: Effort,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Make what is missing, in order, within the budget; how many were made."""
    missing = unique(run for run in runs if results.figures(run) is None)
    begin = takewhile(lambda run: clock() < effort.until_s, missing)
    count = 0
    with tqdm(total=len(missing), unit="run", smoothing=0.1) as bar:
        for run, figures, took_s in _all(begin, effort.jobs):
            results.keep(run, figures, took_s)
            count += 1
            bar.set_description(f"{run.label} {run.seed}"[:60], refresh=False)
            bar.update()
    return count


def make_one_by_one(
    following: Callable[[], Run | None],
    results: Results,
    effort: Effort,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Make runs of which each depends on those before it, within the budget; how many were made."""
    count = 0
    while clock() < effort.until_s and (run := following()) is not None:
        count += make([run], results, replace(effort, jobs=1), clock)
    return count


def _all(runs: Iterator[Run], jobs: int) -> Iterator[tuple[Run, Figures, float]]:
    """Runs as they are done, so many at a time; one is taken up when another is done."""
    if jobs == 1:
        yield from ((run, *made(run)) for run in runs)
        return
    # Spawned, since threads of a solver do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        begun = {pool.submit(made, run): run for run in islice(runs, jobs)}
        while begun:
            for done in wait(begun, return_when=FIRST_COMPLETED).done:
                yield (begun.pop(done), *done.result())
                begun |= {pool.submit(made, run): run for run in islice(runs, 1)}


def unique(runs: Iterable[Run]) -> list[Run]:
    """Runs without those that another section asks for as well."""
    return list({key_of(run, ""): run for run in runs}.values())
