"""Whether the simulator may speak of the paper at all: the fit to its published results.

Three figures are unknown and fitted (after `paper.md` 5.5 A): the degree of the static baseline,
the seconds of decode, and one factor on all run times of all policies. Two published cells are
fitted, attainment within 0.05, mean and 95th percentile within 20 %. They do not identify the
settings, so every one that passes is reported, for two readings of the authors' dispatch: with
decode in its estimate (sound), and as their code has it (published). Stable Diffusion 3 is then
predicted by what passes; its arrival rate is not public, so three are tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from paper.cells import Cell
from paper.contenders import Contender
from paper.grid import Run
from paper.outcomes import Figures
from paper.policies import DEGREES, THEIR_PLACEMENT, static_degrees
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


def fit_runs() -> Iterator[Run]:
    """The whole grid of the fit; wide static degrees first, narrow ones are faster than published.

    What the fit asks of the authors' dispatch does not depend on the static degree.
    """
    static = {int(one.name.removeprefix("B1/")): one for one in static_degrees()}
    worlds = [cell_of(c, f) for f, c in product(SLOW_DOWNS, DECODE_S)]
    for contenders in (
        (static[4], static[8]),
        tuple(MEMBERS.values()),
        (static[1], static[2]),
    ):
        for cell, contender in product(worlds, contenders):
            yield Run(section="validity", cell=cell, contender=contender, seed=SEED)


def prediction_runs() -> Iterator[Run]:
    """Stable Diffusion 3, at every slow-down of the grid."""
    contenders = (*static_degrees(), *MEMBERS.values())
    for rate, slow_down, contender in product(SD3_RATES, SLOW_DOWNS, contenders):
        cell = sd3_cell(rate, slow_down)
        yield Run(section="prediction", cell=cell, contender=contender, seed=SEED)


def settings(found: Mapping[tuple[str, str], Figures]) -> tuple[Setting, ...]:
    """Every combination of which both runs were made.

    Args:
        found: figures by cell and contender.
    """
    result = []
    for slow_down, decode_s, degree, member in product(SLOW_DOWNS, DECODE_S, DEGREES, MEMBERS):
        cell = cell_of(decode_s, slow_down).name
        static = found.get((cell, f"B1/{degree}"))
        theirs = found.get((cell, MEMBERS[member].name))
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


def nearest(candidates: Sequence[Setting]) -> Setting | None:
    """The setting whose worst relative departure is the least; None of none."""
    return min(candidates, key=_departure, default=None)


def _departure(setting: Setting) -> float:
    return max(STATIC.departure(setting.static), THEIRS.departure(setting.theirs))
