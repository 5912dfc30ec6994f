"""One run as a small record: what tables are made of, and all that is kept of it.

Requests that arrive during the warm-up are served and not counted. Those that were refused, failed
or unfinished are misses, and count in latencies as if they had ended at the run's limit, which is
the same moment for every policy (`sim.report`).
"""

from dataclasses import dataclass, replace

from paper.bounds import mean_latency_s, most_on_time, tail_latency_s
from paper.cells import Cell, profile_of, scenario_of
from paper.contenders import Contender, dispatch_of, placement_of
from paper.jobs import jobs_of
from tridentserve.sim.experiment import Experiment, experiment_of
from tridentserve.sim.report import figures
from tridentserve.sim.results import Result
from tridentserve.sim.run import simulate

LEAST_AFTER_SWITCH_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run, or a bound, comes to."""

    requests: int
    attainment: float
    worst: float
    """Attainment of the class that has the least."""
    classes: tuple[tuple[str, float], ...]
    """Attainment by class."""
    mean_s: float
    p95_s: float
    wait_s: float
    """The longest stretch that a request waited."""
    censored: int = 0
    """Requests that were not finished."""
    after_switch: int = 0
    """Requests that arrived soon after a switch of the load."""
    missed_after_switch: int = 0
    plan_changes: int = 0
    impossible: int = 0
    """Actions that could not be carried out: defects of a planner."""
    utilisation: float = 0.0


def experiment(cell: Cell, contender: Contender, seed: int) -> Experiment:
    """A cell under a seed, as a contender meets it."""
    planner, make = placement_of(contender.placement)
    scenario = scenario_of(cell, seed, planner, contender.devices)
    return replace(
        experiment_of(
            scenario.model_copy(update={"decision": contender.decision}), profile_of(cell)
        ),
        dispatch=dispatch_of(contender.dispatch),
        placement=make,
    )


def simulated(cell: Cell, contender: Contender, seed: int) -> Figures:
    """Run a contender."""
    result = simulate(experiment(cell, contender, seed))
    counted = tuple(one for one in result.records if one.arrived_s >= cell.warm_up_s)
    found = figures(replace(result, records=counted))
    soon, missed = _after_switches(cell, result)
    return Figures(
        requests=found.requests,
        attainment=found.attainment,
        worst=found.worst_attainment,
        classes=tuple((name, one.attainment) for name, one in found.classes.items()),
        mean_s=found.latency.mean,
        p95_s=found.latency.p95,
        wait_s=found.longest_wait_s,
        censored=found.latency.censored,
        after_switch=soon,
        missed_after_switch=missed,
        plan_changes=found.plan_changes,
        impossible=result.decisions.impossible_count,
        utilisation=found.utilisation,
    )


def _after_switches(cell: Cell, result: Result) -> tuple[int, int]:
    """Requests that arrive within max(60 s, 2 x mean service) after a switch; those that missed."""
    if not cell.switches_s or not result.records:
        return 0, 0
    service_s = sum(one.best_s for one in result.records) / len(result.records)
    within_s = max(LEAST_AFTER_SWITCH_S, 2 * service_s)
    soon = [
        one
        for one in result.records
        if any(0 <= one.arrived_s - moment < within_s for moment in cell.switches_s)
    ]
    return len(soon), sum(not one.met for one in soon)


def bounded(cell: Cell, contender: Contender, seed: int) -> Figures:
    """What nobody can be better than, under the same arrivals and luck (`bounds`)."""
    jobs = jobs_of(experiment(cell, contender, seed), cell.warm_up_s)
    on_time = most_on_time(jobs, cell.devices) / len(jobs) if jobs else 1.0
    return Figures(
        requests=len(jobs),
        attainment=min(1.0, on_time),
        worst=1.0,
        classes=(),
        mean_s=mean_latency_s(jobs, cell.devices),
        p95_s=tail_latency_s(jobs, cell.devices),
        wait_s=0.0,
    )
