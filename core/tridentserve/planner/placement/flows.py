"""Which class could run where, how, and what it would load there: the columns of a routing.

A *place* is a placement type on devices of one size of memory. An *option* is one way of one class
at one place: where memory allows it, and for diffuse where it leaves time until the deadline. Of
the short stages only the cheapest way of a place is an option.

Groups never span workers, so a place has *levels*: at level k only devices that can form groups of
k count, and all work of degree k and more needs them. With degrees that are powers of two this is
exact, not a bound: groups of 8, 4, 2 and 1 fill any number of devices without a gap.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.linear import Program
from tridentserve.planner.placement.survey import Survey, Traffic
from tridentserve.planner.placement.ways import Way
from tridentserve.planner.projection import PlacementType


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A placement type on devices of one memory size."""

    kind: PlacementType
    usable_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way of one class at one place."""

    number: int
    """Of the class in the survey."""
    traffic: Traffic
    way: Way
    place: Place

    @property
    def load(self) -> float:
        """Devices that all of the class's requests would keep busy."""
        return self.traffic.rate.arrivals_per_s * self.way.work_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Aims:
    """What a routing holds to."""

    waiting_probability: float = 0.5
    """Of requests that may find no group free, at every level of every place."""
    deadline_share: float = 0.8
    """Of the time until the deadline that a request may take where nothing waits."""
    replicas: int = 2
    """Workers that encode and decode should have each, where diffuse has as many."""
    replica_share: float = 0.05
    """Of all devices: what may be left unserved for the sake of a worker that they lack."""


def options_at(survey: Survey, places: Iterable[Place], aims: Aims) -> tuple[Option, ...]:
    """Every option of every class, in a fixed order."""
    ordered = sorted(set(places))
    found: list[Option] = []
    for number, traffic in enumerate(survey.traffic):
        for stage in STAGES:
            fitting = [
                (place, way)
                for place in ordered
                for way in traffic.of(stage)
                if survey.fits(place.kind, way, place.usable_bytes)
            ]
            chosen = (
                _timely(traffic, fitting, aims) if stage is Stage.DIFFUSE else _cheapest(fitting)
            )
            found += [
                Option(number=number, traffic=traffic, way=way, place=place)
                for place, way in chosen
            ]
    return tuple(found)


def _timely(
    traffic: Traffic, fitting: list[tuple[Place, Way]], aims: Aims
) -> list[tuple[Place, Way]]:
    """What leaves time for the other stages; the fastest where nothing does."""
    if not fitting:
        return fitting
    others = sum(
        min(way.seconds for way in traffic.of(stage))
        for stage in STAGES
        if stage is not Stage.DIFFUSE
    )
    left = traffic.deadline_s * aims.deadline_share - others
    fastest = min(way.seconds for _, way in fitting)
    return [(place, way) for place, way in fitting if way.seconds <= max(left, fastest)]


def _cheapest(fitting: list[tuple[Place, Way]]) -> list[tuple[Place, Way]]:
    best: dict[Place, Way] = {}
    for place, way in fitting:
        if place not in best or way.work_s < best[place].work_s:
            best[place] = way
    return list(best.items())


class Routing:
    """The part of a program that all placements share: every class is served, or unserved."""

    def __init__(
        self, survey: Survey, options: tuple[Option, ...], penalty: float, work_cost: float
    ) -> None:
        """Columns for shares of the classes; what has no option at all is unserved.

        Args:
            survey: the classes.
            options: how they could run.
            penalty: cost of leaving as much unserved as keeps one device busy.
            work_cost: cost of keeping one device busy; small, it breaks ties.
        """
        self.options = options
        self.program = Program()
        self.flows = [self.program.column(work_cost * option.load) for option in options]
        self.worths = survey.worths
        self.unserved = [self.program.column(penalty * worth, 1.0) for worth in self.worths]
        self._at: dict[Place, list[tuple[int, int, float]]] = defaultdict(list)
        """By place: every flow with its degree and its load."""
        serving: dict[tuple[int, Stage], dict[int, float]] = defaultdict(dict)
        for flow, option in zip(self.flows, options, strict=True):
            self._at[option.place].append((flow, option.way.degree, option.load))
            serving[option.number, option.way.stage][flow] = 1.0
        # Of equal losses, the one that is spread: no class is to be given up for the others.
        worst = self.program.column(penalty * _SPREAD * sum(self.worths))
        for number, column in enumerate(self.unserved):
            self.program.at_most({column: 1.0, worst: -1.0}, 0.0)
            for stage in STAGES:
                self.program.equal({**serving[number, stage], column: 1.0}, 1.0)

    def levels(self, place: Place) -> tuple[int, ...]:
        """Degrees in which a place could be used, ascending."""
        return tuple(sorted({degree for _, degree, _ in self._at[place]}))

    def load(self, place: Place, level: int) -> dict[int, float]:
        """Terms of the devices kept busy at a place by work of at least a degree."""
        return {flow: load for flow, degree, load in self._at[place] if degree >= level}

    def shares(self, values: tuple[float, ...]) -> tuple[tuple[Option, float], ...]:
        """Options in use, with their shares of the class."""
        return tuple(
            (option, values[flow])
            for flow, option in zip(self.flows, self.options, strict=True)
            if values[flow] > _NOTHING
        )

    def lost(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Unserved share of every class."""
        return tuple(max(0.0, values[column]) for column in self.unserved)


_SPREAD = 0.01
_NOTHING = 1e-6


def devices_at(workers: Mapping[int, int], level: int) -> int:
    """Devices that form groups of a size.

    Args:
        workers: their number by devices of each.
        level: size of the groups.

    >>> devices_at({7: 2, 8: 1}, 4), devices_at({7: 2, 8: 1}, 1)
    (16, 22)
    """
    return sum(count * (devices // level) * level for devices, count in workers.items())
