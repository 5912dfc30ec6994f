"""The placement of a run: fixed pools, or a planner that looks at the load again and again.

A fixed placement is up when the run begins. A planner's is asked at every interval; what it wants
is bounded by the scaling discipline and carried out by the steps of the transition, both the
operator's own. The first plan, made from what arrives in the first window, is up at once: every
policy begins with a placement that fits, and pays only for changes.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import NodeId, WorkerId
from tridentserve.domain.load import Load
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.planner import pools, scaling, transitions
from tridentserve.planner.cost import CostModel
from tridentserve.planner.protocols import PlacementInputs, PlacementPlanner
from tridentserve.sim.agenda import Agenda, Rank
from tridentserve.sim.dispatch import Dispatch
from tridentserve.sim.experiment import Experiment
from tridentserve.sim.fleet import Fleet
from tridentserve.sim.items import Item, Killed, Look, Move, Started
from tridentserve.sim.ledger import Ledger
from tridentserve.sim.pipelines import fixed_plan, load_of, spec_of
from tridentserve.sim.pods import REVISION, Pod
from tridentserve.sim.workload import Ask
from tridentserve.sim.world import World

_PATIENCE = pools.Patience(unschedulable_s=30.0, start_s=600.0, retry_s=300.0, tick_s=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a placement works with."""

    fleet: Fleet
    dispatch: Dispatch
    ledger: Ledger
    agenda: Agenda[Item]
    world: World
    is_idle: Callable[[WorkerId], bool]


class Placing:
    """Pods come and go by the plan in force."""

    def __init__(
        self,
        experiment: Experiment,
        bench: Bench,
        cost: CostModel,
        profile: Profile,
    ) -> None:
        """Nothing is placed; `cost` and `profile` are what planners believe."""
        scenario, placement = experiment.scenario, experiment.placement
        self._scenario, self._bench = scenario, bench
        self._planner: PlacementPlanner | None = None if placement is None else placement()
        self._settings, self._asks, self._cost = scenario.placement, experiment.asks, cost
        self._profile, self._fixed = profile, experiment.plan
        self._spec = spec_of(scenario)
        self._scaling, self._moving = scaling.NO_MEMORY, pools.NO_MEMORY
        self._seconds: dict[tuple[Stage, int], float] = {}
        self._drained: dict[WorkerId, float] = {}
        self.plan: PlacementPlan | None = None
        self.changes = 0

    def begin(self) -> None:
        """Bring the first placement up.

        Raises:
            InvalidFieldError: a fixed placement does not fit into the cluster.
        """
        fleet = self._bench.fleet
        if self._planner is None:
            self.plan = self._fixed or fixed_plan(self._scenario)
        else:
            self.plan = self._wanted(self._load(self._settings.window_s), 0.0)
            self._bench.agenda.add(self._settings.interval_s, Rank.LOOK, Look())
        fleet.hint(self.plan)
        for pod in fleet.install(self.plan.pools):
            worker = fleet.ready(pod.id) if pod.node is not None else None
            if worker is not None:
                self._bench.dispatch.worker_up(worker, 0.0)
            elif self._planner is None:
                raise InvalidFieldError(
                    "placement", f"no node has room for a worker of {pod.key.shape.label}"
                )
        self._bench.dispatch.plan_changed(self.plan, 0.0)
        self._note(0.0)

    @property
    def leaving(self) -> bool:
        """Whether pods are waited for that are to go."""
        return self._planner is not None and self._bench.fleet.leaving

    # --- what happens -----------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Ask the planner, and put in force what it wants as fast as the discipline allows."""
        plan = self._wanted(self._load(now), now)
        before, self.plan = self.plan, plan
        if before is None or plan.id != before.id:
            self.changes += 1
        if before is None or _content(plan) != _content(before):
            self._bench.fleet.hint(plan)
            self._bench.dispatch.plan_changed(plan, now)
        self._bench.agenda.add(now + self._settings.interval_s, Rank.LOOK, Look())
        self.move(now)

    def move(self, now: float) -> None:
        """Go on with the transition to the plan in force."""
        if self._planner is None or self.plan is None:
            return
        fleet = self._bench.fleet
        room = pools.Room(gpu_percent=100 * fleet.devices)
        steps, self._moving = transitions.next_steps(
            fleet.observe(), self.plan, REVISION, room, self._moving, now, _PATIENCE
        )
        changes = fleet.carry_out(steps)
        for worker in changes.draining:
            self._bench.dispatch.worker_draining(worker, now)
            self._drained[worker] = now
            alarm_s = now + self._settings.drain_s
            self._bench.agenda.add(alarm_s, Rank.WORKER, Killed(worker, since_s=now))
        for back in changes.back:
            self._bench.dispatch.worker_up(back, now)
        self._start(changes.placed, now)
        waits = [step.until_s for step in steps if isinstance(step, pools.Wait)]
        if waits:
            self._bench.agenda.add(max(now + 1.0, min(waits)), Rank.LOOK, Move())
        self.reap(now)

    def started(self, worker: WorkerId, now: float) -> None:
        """A pod is ready."""
        found = self._bench.fleet.ready(worker)
        if found is not None:
            self._bench.dispatch.worker_up(found, now)
            self._note(now)
            self.move(now)

    def reap(self, now: float) -> None:
        """Let pods go that were waited for, and place what waits for their devices."""
        gone = self._bench.fleet.reap(self._bench.is_idle)
        for worker in gone:
            self._bench.dispatch.worker_gone(worker, now)
        if gone:
            self._start(self._bench.fleet.place_waiting(), now)
            self.move(now)

    def killed(self, worker: WorkerId, since_s: float, now: float) -> None:
        """A pod that drains since then has had its time, unless it drains anew."""
        if self._drained[worker] == since_s and self._bench.fleet.kill(worker):
            self._bench.dispatch.worker_lost(worker, now)
            self._start(self._bench.fleet.place_waiting(), now)
            self.move(now)

    def failed(self, node: NodeId, now: float) -> None:
        """A node is gone with what ran there; its pods are made anew where there is room."""
        for worker in self._bench.fleet.lose(node):
            self._bench.dispatch.worker_lost(worker, now)
        self._start(self._bench.fleet.place_waiting(), now)
        self.move(now)

    def returned(self, node: NodeId, now: float) -> None:
        """A node is back, empty."""
        self._bench.fleet.restore(node)
        self._start(self._bench.fleet.place_waiting(), now)
        self.move(now)

    def _start(self, pods: tuple[Pod, ...], now: float) -> None:
        for pod in pods:
            seconds = self._bench.world.load_s(pod.key.stages)
            if self._settings.start == "Pod":
                seconds += self._scenario.world.pod_start_s
            self._bench.agenda.add(now + seconds, Rank.WORKER, Started(pod.id))
        self._note(now)

    def _note(self, now: float) -> None:
        workers: tuple[Worker, ...] = tuple(self._bench.dispatch.state.workers.values())
        self._bench.ledger.fleet(workers, self._bench.fleet.held, now)

    # --- what is wanted ---------------------------------------------------------------------------

    def _wanted(self, load: Load, now: float) -> PlacementPlan:
        assert self._planner is not None
        inputs = PlacementInputs(
            spec=self._spec,
            load=load,
            cluster=self._bench.fleet.cluster(self._bench.dispatch.state.workers.values()),
            previous=self.plan,
            profile=self._profile,
            infeasible=self._moving.infeasible,
            now=now,
            cost=self._cost,
        )
        plan, self._scaling = scaling.bound(
            self._spec, self._planner.plan(inputs), self.plan, self._scaling, load, now
        )
        return plan

    def _load(self, now: float) -> Load:
        """Arrivals of the window before `now`, by class, and seconds as they were last measured."""
        window_s = min(self._settings.window_s, now)
        first = bisect_left(self._asks, now - window_s, key=_moment)
        seen = self._asks[first : bisect_left(self._asks, now, key=_moment)]
        self._measure(now - window_s)
        return load_of(seen, window_s, self._seconds)

    def _measure(self, since_s: float) -> None:
        spans = self._bench.ledger.spans(since_s)
        for stage in STAGES:
            of_stage = [one for one in spans if one.stage is stage]
            requests = sum(one.requests for one in of_stage)
            if requests:
                total = sum(one.to_s - one.from_s for one in of_stage)
                self._seconds[stage, 100] = total / requests


def _moment(ask: Ask) -> float:
    return ask.at_s


def _content(plan: PlacementPlan) -> tuple[object, ...]:
    return (plan.pools, plan.flows, plan.prices)
