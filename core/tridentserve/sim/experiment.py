"""Everything that a run needs, resolved: what a scenario, its profile and its files amount to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tridentserve.domain.dispatch import Demand
from tridentserve.domain.ids import RequestId
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.profiles import Profile
from tridentserve.domain.shapes import Shape
from tridentserve.planner.cost import CostModel
from tridentserve.planner.protocols import DispatchPlanner, PlacementPlanner
from tridentserve.planner.registry import dispatch_planner
from tridentserve.sim.deadlines import RULES, Book
from tridentserve.sim.pipelines import placement_of
from tridentserve.sim.randomness import stream
from tridentserve.sim.scenario import DecisionPart, PhasePart, Scenario, WeightPart
from tridentserve.sim.workload import TRACES, Ask, Phase, ShareOf, generate, mix, span_s

SOLVER_FREE = DecisionPart(base_s=0.0002, per_waiting_s=0.000005, per_device_s=0.000001)
"""A loop over the queue with an index of vacant devices."""
SOLVER = DecisionPart(base_s=0.005, per_waiting_s=0.0002, per_device_s=0.00002)
"""An integer program over the queue and all devices, when its search goes well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A scenario with its true profile and all that arrives."""

    scenario: Scenario
    """With the duration of what is replayed whole."""
    profile: Profile
    """The true one."""
    asks: tuple[Ask, ...]
    """In order of arrival."""
    dispatch: Callable[[CostModel], DispatchPlanner]
    placement: Callable[[], PlacementPlanner] | None = None
    """None for a fixed placement."""
    plan: PlacementPlan | None = None
    """The fixed placement, where it is another than the scenario's."""

    @property
    def decision(self) -> DecisionPart:
        """What a decision costs: as the scenario says, else by the policy's family."""
        if self.scenario.decision is not None:
            return self.scenario.decision
        return SOLVER if "Ilp" in self.scenario.dispatch else SOLVER_FREE


def experiment_of(
    scenario: Scenario, profile: Profile, recorded: tuple[Ask, ...] | None = None
) -> Experiment:
    """Resolve a scenario.

    Args:
        scenario: what is to be run.
        profile: the true one, with the scenario's assumptions.
        recorded: what its file holds, where the workload is read from one.
    """
    asks = generated(scenario, profile) if recorded is None else recorded
    if recorded and scenario.duration_s is None:
        scenario = scenario.model_copy(update={"duration_s": span_s(recorded)})
    name = scenario.placement.planner
    return Experiment(
        scenario=scenario,
        profile=profile,
        asks=tuple(ask for ask in asks if ask.at_s < scenario.arrivals_s),
        dispatch=lambda cost: dispatch_planner(scenario.dispatch, cost),
        placement=None if name is None else lambda: placement_of(scenario, name),
    )


def demands_of(experiment: Experiment) -> tuple[tuple[Demand, float], ...]:
    """Requests with their deadlines, and their best end-to-end time, in order of arrival.

    The deadlines come from the true profile, which nothing corrects: they are the same for every
    policy, and whatever planners believe.
    """
    book, scenario = Book(experiment.profile), experiment.scenario
    found = []
    for index, ask in enumerate(experiment.asks):
        name = ask.name(index)
        curve = book.curve(ask.shape, ask.steps)
        within_s = ask.within_s
        if within_s is None:
            within_s = RULES[_rule(scenario, name)](curve)
        demand = Demand(
            id=RequestId(name),
            shape=ask.shape,
            steps=ask.steps,
            guidance=ask.guidance,
            count=1,
            arrived_s=ask.at_s,
            deadline_s=ask.at_s + within_s,
        )
        found.append((demand, curve.least_s))
    return tuple(found)


def _rule(scenario: Scenario, name: str) -> str:
    if isinstance(scenario.deadline, str):
        return scenario.deadline
    parts = scenario.deadline
    weights = [part.share for part in parts]
    return stream(scenario.seed, "deadline", name).choices(parts, weights)[0].rule


def generated(scenario: Scenario, profile: Profile) -> tuple[Ask, ...]:
    """What arrives, from the workload's parameters."""
    part = scenario.workload
    phases = part.phases or (PhasePart(duration_s=scenario.arrivals_s),)
    return generate([_phase(scenario, one, profile) for one in phases], scenario.seed)


def _phase(scenario: Scenario, phase: PhasePart, profile: Profile) -> Phase:
    part = scenario.workload
    kind = TRACES[part.trace] if part.trace is not None else None
    steps = part.steps or (kind.steps if kind is not None else 1)
    classes = _mix(phase.mix or part.mix, part.shapes or (kind.shapes if kind else ()), steps)
    rate = phase.rate_per_s
    load = phase.load
    if rate is None and load is None:
        rate, load = part.rate_per_s, part.load
    if rate is None and load is not None:
        rate = load * scenario.cluster.devices / least_device_s(profile, classes)
    if rate is None and kind is not None:
        rate = kind.rate_per_s
    assert rate is not None, "the scenario was checked"
    return Phase(
        duration_s=phase.duration_s,
        rate_per_s=rate,
        mix=classes,
        process=phase.process or part.process,
        cv=phase.cv or part.cv,
        balanced=part.balanced,
        guidance=part.guidance,
    )


def _mix(
    wanted: str | tuple[WeightPart, ...], shapes: Sequence[Shape], steps: int
) -> tuple[ShareOf, ...]:
    if isinstance(wanted, str):
        return mix(wanted, shapes, steps)
    return tuple(
        ShareOf(shape=one.shape, steps=one.steps or steps, weight=one.weight) for one in wanted
    )


def least_device_s(profile: Profile, classes: Sequence[ShareOf]) -> float:
    """Device-seconds that a request of a mix takes at least: load 1 is this for every device."""
    book = Book(profile)
    total = sum(one.weight for one in classes)
    return sum(one.weight / total * book.curve(one.shape, one.steps).device_s for one in classes)
