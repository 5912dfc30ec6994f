"""The program of the joint placement: how many nodes of which configuration, and who runs where.

    minimise    devices of the nodes in use + penalty x unserved demand
    such that   every stage of every class is served, or unserved
                load(place, level) <= admissible utilisation x devices(place, level)
                nodes in use of each kind <= those that there are

The admissible utilisation is that at which a share of the requests waits at most (Erlang C). It
depends on how large the pool becomes, which is what is asked for: so the program is solved again
with the utilisations of its last answer, a fixed number of times. That makes small pools dear, as
they are: half a node of its own admits less than half a node within a large pool.

The dual prices of the capacity rows are what one more device would save, by stage, in devices: 1
where the cluster suffices, up to the penalty where it does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.placement.columns import (
    Configuration,
    NodeKind,
    configurations,
    node_kinds,
    places,
    useful_types,
)
from tridentserve.planner.placement.flows import Aims, Option, Place, Routing, options_at
from tridentserve.planner.placement.survey import Survey
from tridentserve.planner.placement.waiting import admissible_utilisation
from tridentserve.planner.projection import PlacementType

PENALTY = 10.0
"""Of leaving as much unserved as keeps one device busy, in devices."""
_WORK_COST = 1e-4
_STAGE_COST = 1e-3
_ROUNDS = 3
"""Solutions: the first with the utilisation of one large pool, then with those of their own."""

_NOTHING = 1e-9

_Level = tuple[Place, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """The answer, in shares of nodes."""

    kinds: tuple[NodeKind, ...]
    types: tuple[tuple[PlacementType, ...], ...]
    """Types that are of use on each kind, the most versatile first."""
    shares: tuple[Mapping[Configuration, float], ...]
    """Nodes by configuration, for each kind; empty where none is used."""
    prices: tuple[tuple[Stage, float], ...]


def blueprint(seen: Survey, aims: Aims, *, filling: bool) -> Blueprint:
    """The cheapest shares of node configurations for what was surveyed.

    Args:
        seen: classes and nodes.
        aims: of the waiting and of the deadlines.
        filling: whether nodes that are not needed will be used too, in the same shares.

    Raises:
        ImportError: highspy is not installed.
    """
    kinds = node_kinds(seen)
    options = options_at(seen, places(seen), aims)
    types = {kind.usable_bytes: useful_types(options, kind.usable_bytes) for kind in kinds}
    useful = tuple(one for one in options if one.place.kind in types[one.place.usable_bytes])
    columns = [
        (number, configuration)
        for number, kind in enumerate(kinds)
        for configuration in configurations(kind.devices, types[kind.usable_bytes])
    ]
    groups: dict[_Level, float] = {}
    for _ in range(_ROUNDS):
        answer = _Answer(seen, kinds, useful, columns, groups, aims)
        groups = answer.groups(filling=filling)
    return Blueprint(
        kinds=kinds,
        types=tuple(types[kind.usable_bytes] for kind in kinds),
        shares=answer.shares(),
        prices=answer.prices(),
    )


def _cost(configuration: Configuration) -> float:
    """Devices of a node, and a little for every stage that each of them has to hold."""
    return sum(devices * (1 + _STAGE_COST * len(kind.stages)) for kind, devices in configuration)


class _Answer:
    """One solution of the program, for given numbers of groups."""

    def __init__(
        self,
        seen: Survey,
        kinds: tuple[NodeKind, ...],
        options: tuple[Option, ...],
        columns: list[tuple[int, Configuration]],
        groups: Mapping[_Level, float],
        aims: Aims,
    ) -> None:
        self._kinds, self._columns = kinds, columns
        self._routing = Routing(seen, options, PENALTY, _WORK_COST)
        program = self._routing.program
        self._nodes = [program.column(_cost(one)) for _, one in columns]
        for number, kind in enumerate(kinds):
            there = {
                node: 1.0
                for node, (one, _) in zip(self._nodes, columns, strict=True)
                if one == number
            }
            program.at_most(there, float(len(kind.nodes)))
        self._rows: dict[_Level, tuple[int, float]] = {}
        self._added: dict[_Level, dict[int, int]] = {}
        """Devices in groups of a size that one node of each column adds to a place."""
        for place in sorted({option.place for option in options}):
            held = self._held(place)
            for level in self._routing.levels(place):
                added = {
                    node: devices // level * level for node, devices in held if devices >= level
                }
                self._added[place, level] = added
                most = seen.devices // level
                servers = max(1, round(groups.get((place, level), most)))
                admitted = admissible_utilisation(servers, aims.waiting_probability)
                terms = self._routing.load(place, level)
                for node, devices in added.items():
                    terms[node] = -admitted * devices
                self._rows[place, level] = (program.at_most(terms, 0.0), admitted)
        solution = program.solve()
        assert solution is not None, "leaving all unserved fulfils every row"
        self._values, self._duals = solution.values, solution.at_most

    def _held(self, place: Place) -> list[tuple[int, int]]:
        """Devices that one node of each column adds to a place, where it adds any."""
        return [
            (node, devices)
            for node, (number, configuration) in zip(self._nodes, self._columns, strict=True)
            if self._kinds[number].usable_bytes == place.usable_bytes
            for kind, devices in configuration
            if kind is place.kind
        ]

    def shares(self) -> tuple[Mapping[Configuration, float], ...]:
        """Nodes by configuration, for each kind."""
        found: tuple[dict[Configuration, float], ...] = tuple({} for _ in self._kinds)
        for node, (number, configuration) in zip(self._nodes, self._columns, strict=True):
            if self._values[node] > _NOTHING:
                found[number][configuration] = self._values[node]
        return found

    def groups(self, *, filling: bool) -> dict[_Level, float]:
        """Groups at every level; with `filling` if all nodes were used in these shares."""
        used = sum(self._values[node] for node in self._nodes)
        there = sum(len(kind.nodes) for kind in self._kinds)
        scale = there / used if filling and used > 0 else 1.0
        return {
            (place, level): scale
            * sum(self._values[node] * devices / level for node, devices in added.items())
            for (place, level), added in self._added.items()
        }

    def prices(self) -> tuple[tuple[Stage, float], ...]:
        """What one more device would save each stage, as its requests are routed."""
        paid: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        loads: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        for option, share in self._routing.shares(self._values):
            price = sum(
                self._duals[row] * admitted
                for (place, level), (row, admitted) in self._rows.items()
                if place == option.place and level <= option.way.degree
            )
            paid[option.way.stage] += share * option.load * price
            loads[option.way.stage] += share * option.load
        return tuple(
            (stage, paid[stage] / loads[stage] if loads[stage] else PENALTY) for stage in STAGES
        )
