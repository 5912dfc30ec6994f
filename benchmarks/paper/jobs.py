"""The requests of a run as the relaxations of `bounds` see them: with their true luck."""

from paper.bounds import Job
from tridentserve.domain.dispatch import Demand
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE
from tridentserve.planner.cost import CostModel
from tridentserve.sim.experiment import Experiment, demands_of
from tridentserve.sim.world import World


def jobs_of(experiment: Experiment, since_s: float) -> tuple[Job, ...]:
    """Requests that arrive from a moment on; memory, hand-offs and groups cost them nothing."""
    times = _Times(experiment)
    return tuple(
        times.job(demand) for demand, _ in demands_of(experiment) if demand.arrived_s >= since_s
    )


class _Times:
    """What every stage of a request takes at every degree that a node allows."""

    def __init__(self, experiment: Experiment) -> None:
        scenario = experiment.scenario
        self._profile: Profile = experiment.profile
        self._cost = CostModel(experiment.profile)
        self._world = World(experiment.profile, scenario.world, scenario.seed)
        self._most = scenario.cluster.devices_per_node

    def job(self, demand: Demand) -> Job:
        options = [self._options(demand, stage) for stage in STAGES]
        return Job(
            arrived_s=demand.arrived_s,
            due_s=demand.deadline_s,
            alone_s=sum(min(seconds for _, seconds in one) for one in options),
            work_device_s=sum(min(degree * seconds for degree, seconds in one) for one in options),
        )

    def _options(self, demand: Demand, stage: Stage) -> list[tuple[int, float]]:
        """Degrees with real seconds."""
        found = []
        for strategy in (SINGLE, *self._cost.strategies(stage, demand.shape)):
            if strategy.degree > self._most:
                continue
            effort = self._world.effort(stage, demand.shape, strategy, 100, [demand.id])
            if effort is not None:
                found.append((strategy.degree, effort.seconds(demand.steps)))
        return found
