"""Whether the simulator may speak of the paper at all: the fit to its published results.

Three figures are unknown and fitted (docs/paper.md, 5.5): the degree of the static baseline,
the seconds of decode, and one factor on all run times of all policies. Two published cells are
fitted, attainment within 0.05, mean and 95th percentile within 20 %. They do not identify the
settings, so every one that passes is reported, for two readings of the authors' dispatch: with
decode in its estimate (sound), and as their code has it (published).

The grid has 240 settings, and no setting passes where the baseline does not. Which ones it may pass
in follows from a recursion (`replay`) in seconds; only there is dispatch simulated, in an order
that leaves out worlds in which it must be far from what was published (`search`), and the baseline
where dispatch passes. Stable Diffusion 3 is then predicted by the slow-downs that pass, on a
quarter of the devices at a quarter of the rate; its arrival rate is not public: three are tried.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from paper.cells import Cell
from paper.contenders import Contender
from paper.grid import Run
from paper.outcomes import Figures
from paper.policies import DEGREES, THEIR_PLACEMENT, as_measured, static_degrees
from paper.published import STATIC, THEIRS, Published
from paper.records import Records
from paper.replay import Replay
from paper.search import World, next_world
from tridentserve.planner.dispatch.ilp import PUBLISHED, IlpSettings

DECODE_S = (10.5, 15.5, 2.0, 6.0, 24.0, 13.0, 18.0, 4.0, 8.0, 21.0)
SLOW_DOWNS = (1.2, 1.3, 1.0, 1.1, 1.4, 1.5)
SEED = 1
NEAR = 1.05
"""Of the margins. The recursion leaves out hand-offs, groups and decisions: half a per cent."""
SD3_RATES = (25.0, 20.0, 29.0)
"""Of 128 devices."""
MEMBERS = {
    "sound": Contender(name="fit/sound", dispatch=IlpSettings(), placement=THEIR_PLACEMENT),
    "published": Contender(name="fit/published", dispatch=PUBLISHED, placement=THEIR_PLACEMENT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A static degree in a world, and what the recursion makes of it."""

    degree: int
    decode_s: float
    slow_down: float
    replayed: Published

    @property
    def is_near(self) -> bool:
        """Whether the baseline may come out as published."""
        return STATIC.departure(self.replayed) <= NEAR


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
    """What the authors may have run, on a quarter of their devices at a quarter of a rate.

    A quarter of an hour, since nobody knows how long they did. Pictures take seconds on one device
    or two, so that 32 devices share them as 128 would.
    """
    trace = cell_of(0.0, slow_down)
    quarter = replace(trace, pipeline="sd3", rate_per_s=rate_per_s / 4, nodes=4)
    return replace(quarter, decode_s=None, duration_s=900.0)


@cache
def points() -> tuple[Point, ...]:
    """The whole grid, replayed."""
    contender = static_degrees()[0]
    replay = Replay(cell_of(DECODE_S[0], SLOW_DOWNS[0]), contender, SEED)
    return tuple(
        Point(
            degree=degree,
            decode_s=decode_s,
            slow_down=slow_down,
            replayed=replay.outcome(cell_of(decode_s, slow_down), degree),
        )
        for degree, decode_s, slow_down in product(DEGREES, DECODE_S, SLOW_DOWNS)
    )


def near() -> tuple[Point, ...]:
    """Points at which the baseline may come out as published, the nearest first."""
    found = [one for one in points() if one.is_near]
    return tuple(sorted(found, key=lambda one: STATIC.departure(one.replayed)))


def worlds() -> tuple[World, ...]:
    """Where the baseline may come out as published, at some degree; the nearest first."""
    found = (World(decode_s=one.decode_s, slow_down=one.slow_down) for one in near())
    return tuple(dict.fromkeys(found))


def dispatched(records: Records, member: str) -> dict[World, Figures]:
    """What the authors' dispatch comes to, by world, where it was run."""
    found = {one: records.of(_name(one), MEMBERS[member].name) for one in worlds()}
    return {world: by_seed[SEED] for world, by_seed in found.items() if SEED in by_seed}


def fit_runs() -> tuple[Run, ...]:
    """All that may have to be simulated, of which `next_run` leaves out what is excluded."""
    static = {one.name: one for one in static_degrees()}
    dispatch = [_run(world, one) for one in MEMBERS.values() for world in worlds()]
    baseline = [
        _run(World(decode_s=one.decode_s, slow_down=one.slow_down), static[f"B1/{one.degree}"])
        for one in near()
    ]
    return (*dispatch, *baseline)


def next_run(records: Records) -> Run | None:
    """What to simulate next; None when every setting passes, fails or is excluded.

    The sound reading first, and at once the baseline where that one passes, since nothing else can;
    then the published reading in the same way.
    """
    for member, contender in MEMBERS.items():
        made = dispatched(records, member)
        static = _missing_static(records, made)
        if static is not None:
            return static
        world = next_world(worlds(), made, THEIRS)
        if world is not None:
            return _run(world, contender)
    return None


def _missing_static(records: Records, made: Mapping[World, Figures]) -> Run | None:
    """The baseline of a setting in which the dispatch passes."""
    static = {one.name: one for one in static_degrees()}
    for point in near():
        world = World(decode_s=point.decode_s, slow_down=point.slow_down)
        contender = static[f"B1/{point.degree}"]
        passes = world in made and THEIRS.reproduced_by(made[world])
        if passes and not records.of(_name(world), contender.name):
            return _run(world, contender)
    return None


def _name(world: World) -> str:
    return cell_of(world.decode_s, world.slow_down).name


def _run(world: World, contender: Contender) -> Run:
    cell = cell_of(world.decode_s, world.slow_down)
    return Run(section="validity", cell=cell, contender=contender, seed=SEED)


def prediction_runs(found: Sequence[tuple[float, float]]) -> Iterator[Run]:
    """Stable Diffusion 3, at the slow-downs of worlds that passed; decisions as measured."""
    contenders = (*map(as_measured, MEMBERS.values()), *static_degrees())
    slow_downs = dict.fromkeys(slow_down for _, slow_down in found)
    for rate, slow_down, contender in product(SD3_RATES, slow_downs, contenders):
        cell = sd3_cell(rate, slow_down)
        yield Run(section="prediction", cell=cell, contender=contender, seed=SEED)


def settings(records: Records) -> tuple[Setting, ...]:
    """Every combination of which both runs were made."""
    result = []
    for one, member in product(near(), MEMBERS):
        cell = cell_of(one.decode_s, one.slow_down).name
        static = records.of(cell, f"B1/{one.degree}").get(SEED)
        theirs = records.of(cell, MEMBERS[member].name).get(SEED)
        if static is not None and theirs is not None:
            result.append(
                Setting(
                    degree=one.degree,
                    decode_s=one.decode_s,
                    slow_down=one.slow_down,
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
