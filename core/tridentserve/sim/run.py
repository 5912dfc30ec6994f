"""One run: an experiment in, a result out, the same one every time.

The loop takes what is next from the agenda and hands it to dispatch or placement. It is over when
every request has ended, or at the scenario's limit, which is the same moment for every policy.
"""

from collections.abc import Callable

from tridentserve.planner.cost import CostModel
from tridentserve.planner.protocols import DispatchPlanner
from tridentserve.planner.state import State
from tridentserve.sim.agenda import Agenda, Rank
from tridentserve.sim.deciding import Deciding, Tally
from tridentserve.sim.dispatch import Dispatch
from tridentserve.sim.experiment import Experiment, demands_of
from tridentserve.sim.fleet import Fleet
from tridentserve.sim.groups import Groups
from tridentserve.sim.items import (
    Arrives,
    Due,
    Fails,
    Item,
    Killed,
    Look,
    Move,
    Returns,
    Rings,
    Started,
)
from tridentserve.sim.ledger import Ledger
from tridentserve.sim.placing import Bench, Placing
from tridentserve.sim.pods import node_id
from tridentserve.sim.preparing import Preparing
from tridentserve.sim.results import Decisions, Machine, Result
from tridentserve.sim.windows import Windows
from tridentserve.sim.workshop import Workshop
from tridentserve.sim.world import World, believed

_PROGRESS_EVERY = 256


def simulate(
    experiment: Experiment,
    *,
    stopwatch: Callable[[], float] = lambda: 0.0,
    progress: Callable[[float], None] = lambda now: None,
) -> Result:
    """Run an experiment.

    Args:
        experiment: what is to be run.
        stopwatch: real seconds, for `Result.machine` alone; nothing depends on it.
        progress: told the simulated time every now and then.

    Raises:
        InvalidFieldError: the placement does not fit into the cluster.
    """
    begun = stopwatch()
    run = _Run(experiment, stopwatch)
    run.begin()
    run.loop(progress)
    return run.result(begun)


class _Run:
    """The parts of a run, put together."""

    def __init__(self, experiment: Experiment, stopwatch: Callable[[], float]) -> None:
        scenario = experiment.scenario
        self._experiment, self._scenario, self._stopwatch = experiment, scenario, stopwatch
        self._agenda: Agenda[Item] = Agenda()
        self._ledger = Ledger()
        profile = believed(experiment.profile, scenario.world, scenario.seed)
        cost, state = CostModel(profile), State()
        world = World(experiment.profile, scenario.world, scenario.seed)
        preparing = Preparing(world, Groups(scenario.world))
        self._workshop = Workshop(
            world,
            scenario.world,
            Windows(scenario.wait_s),
            preparing,
            self._ledger,
            self._agenda,
        )
        deciding = self._deciding(experiment.dispatch(cost), state, preparing)
        self._tally: Tally = deciding.tally
        self._dispatch = Dispatch(
            state=state,
            deciding=deciding,
            cost=cost,
            workshop=self._workshop,
            preparing=preparing,
            ledger=self._ledger,
        )
        fleet = Fleet(scenario.cluster, scenario.slots, experiment.profile.usable_bytes)
        bench = Bench(
            fleet=fleet,
            dispatch=self._dispatch,
            ledger=self._ledger,
            agenda=self._agenda,
            world=world,
            is_idle=self._workshop.is_idle,
        )
        self._placing = Placing(experiment, bench, cost, profile)
        self._to_come = 0
        self._now = 0.0

    def _deciding(self, planner: DispatchPlanner, state: State, preparing: Preparing) -> Deciding:
        return Deciding(
            planner=planner,
            state=state,
            workshop=self._workshop,
            preparing=preparing,
            ledger=self._ledger,
            agenda=self._agenda,
            rates=self._experiment.decision,
            devices=self._scenario.cluster.devices,
            stopwatch=self._stopwatch,
        )

    def begin(self) -> None:
        """Put on the agenda what does not depend on anybody, and bring the workers up."""
        for demand, best_s in demands_of(self._experiment):
            self._agenda.add(demand.arrived_s, Rank.ARRIVAL, Arrives(demand, best_s))
            self._to_come += 1
        for failure in self._scenario.failures:
            node = node_id(failure.node)
            self._agenda.add(failure.at_s, Rank.FAILURE, Fails(node))
            if failure.back_s is not None:
                self._agenda.add(failure.back_s, Rank.FAILURE, Returns(node))
        self._placing.begin()

    def loop(self, progress: Callable[[float], None]) -> None:
        """Take one thing after the other until all requests have ended."""
        count = 0
        while self._to_come or self._ledger.open:
            found = self._agenda.next()
            if found is None or found[0] >= self._scenario.ends_s:
                self._now = self._scenario.ends_s
                break
            self._now, item = found
            self._happen(item, self._now)
            count += 1
            if count % _PROGRESS_EVERY == 0:
                progress(self._now)
        progress(self._now)
        self._ledger.close(self._now)

    def _happen(self, item: Item, now: float) -> None:
        match item:
            case Due():
                self._dispatch.due(item, now)
                if self._placing.leaving:
                    self._placing.reap(now)
            case Arrives(demand=demand, best_s=best_s):
                self._to_come -= 1
                self._dispatch.arrive(demand, best_s, now)
            case Rings():
                self._dispatch.ring(item, now)
            case Fails(node=node):
                self._placing.failed(node, now)
            case Returns(node=node):
                self._placing.returned(node, now)
            case Started(worker=worker):
                self._placing.started(worker, now)
            case Killed(worker=worker, since_s=since_s):
                self._placing.killed(worker, since_s, now)
            case Look():
                self._placing.look(now)
            case Move():
                self._placing.move(now)

    def result(self, begun: float) -> Result:
        """What the run says."""
        scenario, placing, tally = self._scenario, self._placing, self._tally
        plan = placing.plan
        return Result(
            scenario=scenario.name,
            dispatch=scenario.dispatch,
            placement=scenario.placement.planner or scenario.placement.plan or "Fixed",
            seed=scenario.seed,
            devices=scenario.cluster.devices,
            arrivals_s=scenario.arrivals_s,
            limit_s=scenario.ends_s,
            ended_s=self._now,
            records=self._ledger.records(),
            usage=self._ledger.usage(self._workshop.floorplan.taken_device_s(self._now)),
            timeline=self._ledger.timeline(self._now),
            decisions=_decisions(tally, placing.changes),
            reasons=() if plan is None else tuple(one.message for one in plan.reasons),
            machine=Machine(
                run_s=self._stopwatch() - begun,
                decide_s=tuple(tally.decide_s),
                queue=tuple(tally.queue),
            ),
        )


def _decisions(tally: Tally, plan_changes: int) -> Decisions:
    return Decisions(
        asked=tally.asked,
        acted=tally.acted,
        charged_s=tally.charged_s,
        starts=tally.actions["Start"],
        resizes=tally.actions["Resize"],
        yields=tally.actions["Yield"],
        plan_changes=plan_changes,
        impossible=tuple(tally.impossible),
        impossible_count=tally.impossible_count,
    )
