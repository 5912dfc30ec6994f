"""The static baseline without the simulator: a queue in order of arrival, request by request. Pure.

B1 serves whole requests on equal groups of devices, first come, first served. When each one ends
follows from when the others did (Kiefer and Wolfowitz 1955): the group that is free the soonest
takes the next. So all settings of the validity fit can be looked at in the time that one simulation
takes, under the same arrivals and luck, and only those that come near what was published need the
simulator, which adds hand-offs, groups and decisions. It decides what to simulate and is never
reported as a result; the report says how far simulated runs are from it.
"""

import heapq
from math import ceil

from paper.cells import Cell, profile_of, scenario_of
from paper.contenders import Contender
from paper.outcomes import experiment
from paper.published import Published
from tridentserve.domain.dispatch import Demand
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE
from tridentserve.planner.cost import CostModel
from tridentserve.sim.experiment import demands_of
from tridentserve.sim.world import World


class Replay:
    """One trace under one seed, as any static degree in any world would serve it."""

    def __init__(self, cell: Cell, contender: Contender, seed: int) -> None:
        """Draw the arrivals and the luck of every stage of every request.

        Args:
            cell: a world; others differ from it in decode seconds and slow-down alone, of which
                its deadlines know nothing.
            contender: any; what arrives does not depend on it.
            seed: of arrivals and luck.
        """
        made = experiment(cell, contender, seed)
        self._seed = seed
        self._demands = [demand for demand, _ in demands_of(made)]
        lucky, bare = World(made.profile, made.scenario.world, seed), _Bare(cell, seed)
        self._luck = [
            tuple(_seconds(lucky, one, stage) / bare.seconds(one, stage, 1) for stage in STAGES)
            for one in self._demands
        ]

    def outcome(self, cell: Cell, degree: int) -> Published:
        """What comes out where every request takes one group of this many devices."""
        bare = _Bare(cell, self._seed)
        free_s = [0.0] * (cell.devices // degree)
        latencies, met = [], 0
        for demand, luck in zip(self._demands, self._luck, strict=True):
            parts = zip(STAGES, luck, strict=True)
            service_s = sum(bare.seconds(demand, stage, degree) * one for stage, one in parts)
            ended_s = max(free_s[0], demand.arrived_s) + service_s
            heapq.heapreplace(free_s, ended_s)
            latencies.append(ended_s - demand.arrived_s)
            met += ended_s <= demand.deadline_s
        count = len(latencies)
        return Published(
            attainment=met / count,
            mean_s=sum(latencies) / count,
            p95_s=sorted(latencies)[ceil(0.95 * count) - 1],
        )


def _seconds(world: World, demand: Demand, stage: Stage) -> float:
    effort = world.effort(stage, demand.shape, SINGLE, 100, [demand.id])
    assert effort is not None, "every profile times every stage on one device"
    return effort.seconds(demand.steps)


class _Bare:
    """Real seconds in a world without luck, on the widest group that a degree allows a stage."""

    def __init__(self, cell: Cell, seed: int) -> None:
        profile = profile_of(cell)
        settings = scenario_of(cell, seed, "Colocated").world
        quiet = settings.model_copy(update={"noise": 0.0})
        self._world, self._cost = World(profile, quiet, seed), CostModel(profile)
        self._known: dict[tuple[object, ...], float] = {}

    def seconds(self, demand: Demand, stage: Stage, degree: int) -> float:
        """Of one stage of a request, alone."""
        key = (demand.shape, demand.steps, stage, degree)
        if key not in self._known:
            strategies = [SINGLE, *self._cost.strategies(stage, demand.shape)]
            widest = max(one.degree for one in strategies if one.degree <= degree)
            efforts = [
                self._world.effort(stage, demand.shape, one, 100, [demand.id])
                for one in strategies
                if one.degree == widest
            ]
            self._known[key] = min(one.seconds(demand.steps) for one in efforts if one)
        return self._known[key]
