"""What a placement can serve, and how long requests would wait in it: one judge for all planners.

The classes are routed over the pools as well as they could be: least unserved demand first, then
the least used bottleneck. Diffuse spreads over all pools that can run it, in proportion to their
devices, as dispatch would have it: a device that hosts diffuse is not kept free for short stages,
so one of these that has no other place waits for long steps. A pool may be used up to the
utilisation at which no more than a share of the requests waits (`waiting`); what is beyond counts
as unserved. So a placement is scored by what it allows, not by what a dispatch planner makes of it,
and not by its own flows. What rests on a single worker is exposed (`standby`), and counts like
demand that is unserved.

It is a model of the mean: no bursts but Poisson's, no interference, no transition.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import Stage
from tridentserve.errors import UndeployableError
from tridentserve.planner.placement.flows import (
    Aims,
    Option,
    Place,
    Routing,
    devices_at,
    options_at,
)
from tridentserve.planner.placement.standby import Supply, lacking
from tridentserve.planner.placement.survey import Survey, survey
from tridentserve.planner.placement.waiting import (
    admissible_utilisation,
    mean_wait_s,
    waiting_probability,
)
from tridentserve.planner.placement.ways import Way
from tridentserve.planner.projection import type_of
from tridentserve.planner.protocols import PlacementInputs

_PENALTY = 10.0
"""Of one device's worth of unserved demand, against the bottleneck's utilisation."""
_WORK_COST = 1e-4
_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLoad:
    """One place of a placement."""

    place: Place
    devices: int
    utilisation: float
    """Share of its devices' time."""
    waiting_probability: float
    wait_s: float
    """Mean over its requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What becomes of the load in a placement."""

    unserved: float
    """Demand beyond what the pools admit, in devices that it would keep busy."""
    worst_unserved: float
    """Share of the class that loses most."""
    exposed: float
    """What workers that encode and decode lack are worth, in devices; 0 where they lack none."""
    waiting: float
    """Requests that wait on the mean, over all pools."""
    pools: tuple[PoolLoad, ...]
    shares: tuple[tuple[Option, float], ...]
    """How the classes were routed."""

    @property
    def longest_call_s(self) -> float:
        """Seconds of a call of diffuse, on the mean over the devices that it keeps busy."""
        calls = [
            (option.load * share, option.way.seconds)
            for option, share in self.shares
            if option.way.stage is Stage.DIFFUSE
        ]
        busy = sum(load for load, _ in calls)
        return sum(load * seconds for load, seconds in calls) / busy if busy else 0.0

    @property
    def score(self) -> tuple[float, float]:
        """Less is better: demand that is unserved or exposed, then waiting."""
        return (round(self.unserved + self.exposed, _DIGITS), round(self.waiting, _DIGITS))

    @property
    def cost(self) -> float:
        """Less is better: both in one, so that a little more served is not worth any waiting."""
        return round(_PENALTY * (self.unserved + self.exposed) + self.waiting, _DIGITS)


def predict(
    plan: PlacementPlan, inputs: PlacementInputs, aims: Aims | None = None
) -> Prediction | None:
    """The score of a plan under a load; None where the load or its costs are unknown.

    Raises:
        ImportError: highspy is not installed.
    """
    seen = survey(inputs)
    return None if seen is None else predict_on(seen, plan, aims or Aims())


def predict_on(seen: Survey, plan: PlacementPlan, aims: Aims) -> Prediction:
    """The score of a plan for what was surveyed.

    Raises:
        ImportError: highspy is not installed.
    """
    return Predictor(seen, aims).of(supply_of(seen, plan))


class Predictor:
    """Scores of plans for one survey; what could run where is looked up once."""

    def __init__(self, seen: Survey, aims: Aims) -> None:
        """Nothing is looked up yet."""
        self._seen, self._aims = seen, aims
        self._options: dict[frozenset[Place], tuple[Option, ...]] = {}

    def of(self, supply: Supply) -> Prediction:
        """The score of what a plan, whole or in the making, places.

        Raises:
            ImportError: highspy is not installed.
        """
        places = frozenset(supply)
        if places not in self._options:
            self._options[places] = options_at(self._seen, places, self._aims)
        return _predicted(self._seen, supply, self._options[places], self._aims)


def _predicted(seen: Survey, supply: Supply, options: tuple[Option, ...], aims: Aims) -> Prediction:
    routing = Routing(seen, options, _PENALTY, _WORK_COST)
    program = routing.program
    busiest = program.column(1.0, 1.0)
    for place, workers in sorted(supply.items()):
        for level in routing.levels(place):
            devices = devices_at(workers, level)
            most = devices * admissible_utilisation(devices // level, aims.waiting_probability)
            program.at_most({**routing.load(place, level), busiest: -most}, 0.0)
    _spread(routing, supply)
    solution = program.solve()
    assert solution is not None, "leaving all unserved fulfils every row"
    shares = routing.shares(solution.values)
    lost = routing.lost(solution.values)
    routed: dict[Place, list[tuple[Option, float]]] = {place: [] for place in sorted(supply)}
    for option, share in shares:
        routed[option.place].append((option, share))
    queues = [_Queue(place, supply[place], found) for place, found in routed.items()]
    missing = sum(lacking(supply, aims.replicas).values())
    return Prediction(
        unserved=sum(worth * share for worth, share in zip(routing.worths, lost, strict=True)),
        worst_unserved=max(lost),
        exposed=missing * aims.replica_share * seen.devices,
        waiting=sum(queue.waiting for queue in queues),
        pools=tuple(queue.report() for queue in queues),
        shares=shares,
    )


def _spread(routing: Routing, supply: Supply) -> None:
    """Tie the places of every way of diffuse to one another, by their devices."""
    alike: dict[tuple[int, Way], list[tuple[int, int]]] = {}
    for flow, option in zip(routing.flows, routing.options, strict=True):
        if option.way.stage is Stage.DIFFUSE:
            devices = devices_at(supply[option.place], option.way.degree)
            alike.setdefault((option.number, option.way), []).append((devices, flow))
    for found in alike.values():
        most, main = max(found, key=lambda one: (one[0], -one[1]))
        for devices, flow in found:
            if flow != main and most:
                routing.program.equal({flow: 1.0, main: -devices / most}, 0.0)


def supply_of(seen: Survey, plan: PlacementPlan) -> Supply:
    """Workers by place and by devices of each; what has no devices or no type serves nobody."""
    usable = {ground.node: ground.usable_bytes for ground in seen.grounds}
    found: dict[Place, dict[int, int]] = {}
    for pool in plan.pools:
        try:
            kind = type_of(pool.shape)
        except UndeployableError:
            continue
        placed = [(usable.get(node, 0), workers) for node, workers in pool.nodes]
        for memory, workers in placed or [(seen.usable_bytes, pool.workers)]:
            if workers > 0 and pool.shape.devices > 0:
                by_size = found.setdefault(Place(kind, memory), {})
                by_size[pool.shape.devices] = by_size.get(pool.shape.devices, 0) + workers
    return found


class _Queue:
    """What waits at one place."""

    def __init__(
        self, place: Place, workers: Mapping[int, int], shares: Sequence[tuple[Option, float]]
    ) -> None:
        self._place, self._workers = place, workers
        ways = [option.way for option, _ in shares]
        rates = [
            option.traffic.rate.arrivals_per_s * share / option.way.batch
            for option, share in shares
        ]
        loads = [(option.way.degree, option.load * share) for option, share in shares]
        used = {
            level: sum(load for degree, load in loads if degree >= level)
            / max(1, devices_at(workers, level))
            for level in sorted({1, *(way.degree for way in ways)})
        }
        self._utilisation = dict(zip(used, accumulate(used.values(), max), strict=True))
        """By degree: the most of any level that work of it has to pass."""
        self._calls_per_s = sum(rates)
        self.waiting = 0.0
        """Calls that wait on the mean (Little)."""
        if shares:
            waits_s = self._waits_s(rates, [way.seconds for way in ways])
            paired = zip(rates, ways, strict=True)
            self.waiting = sum(rate * waits_s[way.degree] for rate, way in paired)

    def report(self) -> PoolLoad:
        devices, utilisation = devices_at(self._workers, 1), self._utilisation[1]
        return PoolLoad(
            place=self._place,
            devices=devices,
            utilisation=utilisation,
            waiting_probability=waiting_probability(devices, utilisation),
            wait_s=self.waiting / self._calls_per_s if self._calls_per_s else 0.0,
        )

    def _waits_s(self, rates: Sequence[float], seconds: Sequence[float]) -> dict[int, float]:
        """By degree: mean wait for a group of that size, among calls of all kinds."""
        mean_s, square = (
            sum(rate * each**power for rate, each in zip(rates, seconds, strict=True))
            / self._calls_per_s
            for power in (1, 2)
        )
        scv = max(0.0, square / mean_s**2 - 1)
        return {
            degree: mean_wait_s(
                devices_at(self._workers, degree) // degree, utilisation, mean_s, scv
            )
            for degree, utilisation in self._utilisation.items()
        }
