"""A result as JSON: figures first, then curves, then every request."""

from dataclasses import asdict

from tridentserve.sim.report import attainment_curve, figures, latency_curve, quantile
from tridentserve.sim.results import Result

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def as_json(result: Result) -> dict[str, Json]:
    """Everything that a result says. `machine` alone differs between equal runs."""
    head: dict[str, Json] = {
        "scenario": result.scenario,
        "dispatch": result.dispatch,
        "placement": result.placement,
        "seed": result.seed,
        "devices": result.devices,
        "arrivals_s": result.arrivals_s,
        "limit_s": result.limit_s,
    }
    return head | {
        "figures": asdict(figures(result)),
        "reasons": list(result.reasons),
        "impossible": list(result.decisions.impossible),
        "curves": _curves(result),
        "requests": _requests(result),
        "machine": _machine(result),
    }


def _curves(result: Result) -> dict[str, Json]:
    timeline = result.timeline
    return {
        "latency": _points(latency_curve(result)),
        "attainment": _points(attainment_curve(result)),
        "busy_devices": {
            "width_s": timeline.width_s,
            **{str(stage): list(values) for stage, values in timeline.busy},
        },
        "resident_devices": [
            {"from_s": moment, "stages": dict(counts)} for moment, counts in timeline.resident
        ],
    }


def _points(points: list[tuple[float, float]]) -> list[Json]:
    return [[x, y] for x, y in points]


def _requests(result: Result) -> list[Json]:
    return [
        {
            "id": one.id,
            "class": one.label,
            "steps": one.steps,
            "arrived_s": one.arrived_s,
            "deadline_s": one.deadline_s,
            "ended_s": one.ended_s,
            "outcome": str(one.outcome),
            "met": one.met,
            "best_s": one.best_s,
            "waited_s": list(one.waited_s),
            "ran_s": list(one.ran_s),
            "degree": one.degree,
            "retries": one.retries,
        }
        for one in result.records
    ]


def _machine(result: Result) -> dict[str, Json]:
    """Processor seconds of the run and of the decisions that were charged for."""
    times = sorted(result.machine.decide_s)
    return {
        "run_s": result.machine.run_s,
        "decide_s": {
            "total": sum(times),
            "p50": quantile(times, 0.5),
            "p99": quantile(times, 0.99),
            "max": times[-1] if times else 0.0,
        },
    }
