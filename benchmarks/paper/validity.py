"""Whether the simulator may speak of the paper at all: the fit to its published results.

Three figures are unknown and fitted (docs/paper.md, 5.5): the degree of the static baseline,
the seconds of decode, and one factor on all run times of all policies. Two published cells are
fitted, attainment within 0.05, mean and 95th percentile within 20 %. They do not identify the
settings, so every one that passes is reported, for two readings of the authors' dispatch: with
decode in its estimate (sound), and as their code has it (published). Where no static degree comes
out as published, no setting can pass, and dispatch is not run. Stable Diffusion 3 is then predicted
by the slow-downs that pass; its arrival rate is not public, so three are tried.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from paper.cells import Cell
from paper.contenders import Contender
from paper.grid import Run
from paper.outcomes import Figures
from paper.policies import DEGREES, THEIR_PLACEMENT, static_degrees
from paper.records import Records
from tridentserve.planner.dispatch.ilp import PUBLISHED, IlpSettings

DECODE_S = (10.5, 15.5, 2.0, 6.0, 24.0, 13.0, 18.0, 4.0, 8.0, 21.0)
SLOW_DOWNS = (1.2, 1.3, 1.0, 1.1, 1.4, 1.5)
SEED = 1
_ROUNDING = 1e-9
SD3_RATES = (20.0, 25.0, 29.0)
MEMBERS = {
    "sound": Contender(name="fit/sound", dispatch=IlpSettings(), placement=THEIR_PLACEMENT),
    "published": Contender(name="fit/published", dispatch=PUBLISHED, placement=THEIR_PLACEMENT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One cell of the authors' table."""

    attainment: float
    mean_s: float
    p95_s: float

    def reproduced_by(self, found: Figures) -> bool:
        """Attainment within 0.05, seconds within 20 %."""
        return self.departure(found) <= 1 + _ROUNDING

    def departure(self, found: Figures) -> float:
        """The largest departure, in units of what is allowed."""
        return max(
            abs(found.attainment - self.attainment) / 0.05,
            abs(found.mean_s / self.mean_s - 1) / 0.2,
            abs(found.p95_s / self.p95_s - 1) / 0.2,
        )


STATIC = Published(attainment=0.15, mean_s=320, p95_s=550)
THEIRS = Published(attainment=0.86, mean_s=78, p95_s=230)
SD3_STATIC = Published(attainment=0.24, mean_s=36, p95_s=99)
SD3_THEIRS = Published(attainment=0.95, mean_s=10, p95_s=28)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way in which the published results come out, or nearly."""

    degree: int
    decode_s: float
    slow_down: float
    member: str
    static: Figures
    theirs: Figures

    @property
    def passes(self) -> bool:
        """Whether both published cells are reproduced."""
        return STATIC.reproduced_by(self.static) and THEIRS.reproduced_by(self.theirs)


def cell_of(decode_s: float, slow_down: float) -> Cell:
    """The public trace: regular arrivals, as many of each class."""
    return Cell(
        pipeline="cogvideox",
        load=0.0,
        rate_per_s=1.5,
        deadline="4.4x+2s",
        process="Constant",
        decode_s=decode_s,
        slow_down=slow_down,
        duration_s=1800.0,
        warm_up_s=0.0,
    )


def sd3_cell(rate_per_s: float, slow_down: float) -> Cell:
    """What the authors may have run; a quarter of an hour, since nobody knows how long they did."""
    trace = cell_of(0.0, slow_down)
    return replace(trace, pipeline="sd3", rate_per_s=rate_per_s, decode_s=None, duration_s=900.0)


def static_runs() -> Iterator[Run]:
    """B1 in the whole grid; wide degrees first, for narrow ones are faster than was published."""
    static = {one.name: one for one in static_degrees()}
    for degrees in ((4, 8), (2, 1)):
        for slow_down, decode_s, degree in product(SLOW_DOWNS, DECODE_S, degrees):
            cell, contender = cell_of(decode_s, slow_down), static[f"B1/{degree}"]
            yield Run(section="validity", cell=cell, contender=contender, seed=SEED)


def survivors(records: Records) -> tuple[tuple[float, float], ...]:
    """Decode seconds and slow-downs with which some static degree comes out as published."""
    return tuple(
        (decode_s, slow_down)
        for slow_down, decode_s in product(SLOW_DOWNS, DECODE_S)
        if any(
            STATIC.reproduced_by(found)
            for one in static_degrees()
            for found in records.of(cell_of(decode_s, slow_down).name, one.name).values()
        )
    )


def dispatch_runs(worlds: Sequence[tuple[float, float]]) -> Iterator[Run]:
    """The authors' dispatch where B1 fits: elsewhere no setting can pass, whatever it does."""
    for (decode_s, slow_down), contender in product(worlds, MEMBERS.values()):
        cell = cell_of(decode_s, slow_down)
        yield Run(section="validity", cell=cell, contender=contender, seed=SEED)


def prediction_runs(slow_downs: Sequence[float]) -> Iterator[Run]:
    """Stable Diffusion 3, at slow-downs that passed."""
    contenders = (*static_degrees(), *MEMBERS.values())
    for rate, slow_down, contender in product(SD3_RATES, slow_downs, contenders):
        cell = sd3_cell(rate, slow_down)
        yield Run(section="prediction", cell=cell, contender=contender, seed=SEED)


def settings(records: Records) -> tuple[Setting, ...]:
    """Every combination of which both runs were made."""
    result = []
    for slow_down, decode_s, degree, member in product(SLOW_DOWNS, DECODE_S, DEGREES, MEMBERS):
        cell = cell_of(decode_s, slow_down).name
        static = records.of(cell, f"B1/{degree}").get(SEED)
        theirs = records.of(cell, MEMBERS[member].name).get(SEED)
        if static is not None and theirs is not None:
            result.append(
                Setting(
                    degree=degree,
                    decode_s=decode_s,
                    slow_down=slow_down,
                    member=member,
                    static=static,
                    theirs=theirs,
                )
            )
    return tuple(result)


def passing_worlds(records: Records) -> tuple[tuple[float, float], ...]:
    """Decode seconds and slow-downs that pass at some degree."""
    found = [(one.decode_s, one.slow_down) for one in settings(records) if one.passes]
    return tuple(dict.fromkeys(found))


def nearest(candidates: Sequence[Setting]) -> Setting | None:
    """The setting whose worst relative departure is the least; None of none."""
    return min(candidates, key=_departure, default=None)


def _departure(setting: Setting) -> float:
    return max(STATIC.departure(setting.static), THEIRS.departure(setting.theirs))
