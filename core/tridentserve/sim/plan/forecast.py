"""What a pipeline's planner would do with a recorded day on so many GPUs, and what that gives.

The placement planner is asked once, with the mean load of the whole recording, and its plan is held
while the recording is replayed: the answer is about a placement, not about how fast one follows the
load. Deadlines are those that the router gives: `slo.scalePercent` of the best end-to-end time, or
the recording's own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tridentserve.domain.dispatch import WorkerUp
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.planner.cost import CostModel
from tridentserve.planner.misfits import Misfit, misfit
from tridentserve.planner.placement.budget import cut_to_budget, gpu_percent
from tridentserve.planner.protocols import PlacementInputs
from tridentserve.planner.registry import dispatch_planner, placement_planner
from tridentserve.planner.state import State
from tridentserve.sim.experiment import Experiment
from tridentserve.sim.fleet import Fleet
from tridentserve.sim.pipelines import load_of
from tridentserve.sim.report import Figures, figures
from tridentserve.sim.run import simulate
from tridentserve.sim.scenario import (
    ClusterPart,
    PlacementPart,
    ProfilePart,
    Scenario,
    WorkloadPart,
)
from tridentserve.sim.workload import Ask, span_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be forecast."""

    spec: PipelineSpec
    profile: Profile
    asks: tuple[Ask, ...]
    gpus: int
    gpus_per_node: int
    placement: str
    """Name of the placement planner."""
    dispatch: str
    """Name of the dispatch planner."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A placement, and what the simulator says of it."""

    gpus: int
    arrivals_per_s: float
    plan: PlacementPlan
    figures: Figures | None
    """None where the placement cannot be had."""
    problem: str = ""
    """Why not."""
    refused: tuple[tuple[int, Misfit], ...] = ()
    """Requests of each shape that no pool has the memory for, and where it lacks."""

    @property
    def gpus_used(self) -> float:
        """GPUs that the plan holds."""
        return gpu_percent(self.plan) / 100


def forecast(question: Question) -> Forecast:
    """Plan for the mean load of a recording, and replay it.

    Raises:
        InvalidFieldError: there is nothing to plan from, or a stage has no GPUs.
    """
    if not question.asks:
        raise InvalidFieldError("--trace", "holds no requests")
    for stage in question.spec.stages:
        if not stage.devices_per_worker:
            raise InvalidFieldError(
                f"spec.stages.{stage.stage}.gpu.count", "must be at least 1 to plan GPUs"
            )
    spec = replace(question.spec, gpu_limit_percent=100 * question.gpus)
    scenario = _scenario(question)
    plan = _plan(question, spec, scenario)
    rate = len(question.asks) / scenario.arrivals_s
    try:
        result = simulate(_experiment(question, scenario, plan))
    except InvalidFieldError as error:
        return Forecast(
            gpus=question.gpus, arrivals_per_s=rate, plan=plan, figures=None, problem=error.problem
        )
    return Forecast(
        gpus=question.gpus,
        arrivals_per_s=rate,
        plan=plan,
        figures=figures(result),
        refused=_refused(question, scenario, plan),
    )


def sweep(question: Question, gpus: Sequence[int]) -> Iterator[Forecast]:
    """The forecast for each number of GPUs, one after the other."""
    for count in gpus:
        yield forecast(replace(question, gpus=count))


def _scenario(question: Question) -> Scenario:
    """Nodes that are alike; a single one where the GPUs are fewer than a node has."""
    per_node = min(question.gpus_per_node, question.gpus)
    if question.gpus % per_node:
        raise InvalidFieldError(
            "--gpus", f"{question.gpus} is no multiple of {per_node}, the GPUs of a node"
        )
    return Scenario(
        name=question.spec.name,
        seed=question.seed,
        duration_s=span_s(question.asks),
        drain_s=max(3600.0, question.asks[-1].at_s),
        cluster=ClusterPart(nodes=question.gpus // per_node, devices_per_node=per_node),
        profile=ProfilePart(file=question.profile.name or "profile"),
        workload=WorkloadPart(recording="recording"),
        placement=PlacementPart(plan="Colocated"),
        batch={one.stage: one.batch_max_size for one in question.spec.stages},
        batch_wait_s={one.stage: one.batch_max_wait_s for one in question.spec.stages},
        dispatch=question.dispatch,
    )


def _plan(question: Question, spec: PipelineSpec, scenario: Scenario) -> PlacementPlan:
    cost = CostModel(question.profile)
    fleet = Fleet(scenario.cluster, scenario.slots, question.profile.usable_bytes)
    inputs = PlacementInputs(
        spec=spec,
        load=load_of(question.asks, scenario.arrivals_s, _seconds(question, cost)),
        cluster=fleet.cluster(()),
        previous=None,
        profile=question.profile,
        infeasible=(),
        now=0.0,
        cost=cost,
    )
    return cut_to_budget(placement_planner(question.placement).plan(inputs), spec)


def _refused(
    question: Question, scenario: Scenario, plan: PlacementPlan
) -> tuple[tuple[int, Misfit], ...]:
    cost, state = CostModel(question.profile), State()
    fleet = Fleet(scenario.cluster, scenario.slots, question.profile.usable_bytes)
    for pod in fleet.install(plan.pools):
        worker = fleet.ready(pod.id)
        if worker is not None:
            state.apply(WorkerUp(worker=worker))
    pools = tuple(pool.shape for pool in plan.pools)
    shapes = Counter(ask.shape for ask in question.asks)
    found = ((shapes[one], misfit(cost, state.roster, pools, one)) for one in sorted(shapes))
    return tuple((count, why) for count, why in found if why is not None)


def _seconds(question: Question, cost: CostModel) -> dict[tuple[Stage, int], float]:
    """What an operator would measure: mean seconds of each stage on a worker of one device."""
    found = {}
    for stage in STAGES:
        estimates = [cost.estimate(stage, one.shape, one.steps, 100) for one in question.asks]
        known = [one.mean_s for one in estimates if one is not None]
        if known:
            found[stage, 100] = sum(known) / len(known)
    return found


def _experiment(question: Question, scenario: Scenario, plan: PlacementPlan) -> Experiment:
    cost = CostModel(question.profile)
    scale = question.spec.slo_scale_percent
    asks = tuple(
        ask
        if ask.within_s is not None
        else replace(ask, within_s=cost.deadline(ask.shape, ask.steps, scale))
        for ask in question.asks
    )
    return Experiment(
        scenario=scenario,
        profile=question.profile,
        asks=asks,
        dispatch=lambda believed: dispatch_planner(question.dispatch, believed),
        plan=plan,
    )
