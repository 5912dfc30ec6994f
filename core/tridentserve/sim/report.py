"""Figures of a result: what is compared between policies, and written as JSON.

Refused, failed and unfinished requests are misses, and stay in the latencies: each counts as if it
had ended at the run's limit, which is the same moment for every policy, so that giving a request up
never looks better than serving it late. `censored` says how many there are; quantiles that reach
into them, and the mean, are lower bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from tridentserve.sim.results import Outcome, Record, Result

_CURVE = 200
_BINS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds from arrival to end, censored requests included."""

    mean: float
    p50: float
    p95: float
    p99: float
    max: float
    censored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class of requests."""

    requests: int
    attainment: float
    mean_s: float
    p95_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a run comes to."""

    requests: int
    outcomes: dict[str, int]
    attainment: float
    classes: dict[str, ClassFigures]
    worst_class: str
    worst_attainment: float
    latency: Latency
    normalised_mean: float
    """Latency over the best end-to-end time, on average."""
    normalised_max: float
    longest_wait_s: float
    """The longest stretch for which a request waited."""
    longest_wait_ratio: float
    """The longest stretch of waiting, in best end-to-end times of its request."""
    waited_s: dict[str, float]
    """Mean seconds before each stage."""
    device_seconds: dict[str, float]
    """Work by stage, overhead, idle and lost; idle counts held devices until the run ended."""
    utilisation: float
    """Share of held device-seconds that were work."""
    plan_changes: int
    decisions: dict[str, float]
    ended_s: float


def latency_s(record: Record, result: Result) -> float:
    """From arrival to end; to the run's limit for a request that was not finished."""
    done = record.outcome is Outcome.FINISHED and record.ended_s is not None
    ended_s = record.ended_s if done and record.ended_s is not None else result.limit_s
    return ended_s - record.arrived_s


def figures(result: Result) -> Figures:
    """The figures of a run; a run without requests met all its deadlines in no time."""
    records = result.records
    latencies = [latency_s(one, result) for one in records]
    classes = _classes(result)
    worst = min(classes, key=lambda name: (classes[name].attainment, name), default="")
    ratios = [
        seconds / one.best_s for seconds, one in zip(latencies, records, strict=True) if one.best_s
    ]
    waits = [(one.longest_wait_s, one.best_s) for one in records]
    usage = result.usage
    work = {str(stage): seconds for stage, seconds in usage.work}
    return Figures(
        requests=len(records),
        outcomes={str(one): sum(r.outcome is one for r in records) for one in Outcome},
        attainment=_mean([float(one.met) for one in records], empty=1.0),
        classes=classes,
        worst_class=worst,
        worst_attainment=classes[worst].attainment if worst else 1.0,
        latency=_latency(latencies, sum(one.outcome is not Outcome.FINISHED for one in records)),
        normalised_mean=_mean(ratios),
        normalised_max=max(ratios, default=0.0),
        longest_wait_s=max((wait for wait, _ in waits), default=0.0),
        longest_wait_ratio=max((wait / best for wait, best in waits if best), default=0.0),
        waited_s={
            stage: _mean([one.waited_s[index] for one in records])
            for index, stage in enumerate(work)
        },
        device_seconds={
            **work,
            "overhead": usage.overhead,
            "idle": usage.idle,
            "held": usage.held,
            "lost": usage.lost,
        },
        utilisation=sum(work.values()) / usage.held if usage.held else 0.0,
        plan_changes=result.decisions.plan_changes,
        decisions=_decisions(result),
        ended_s=result.ended_s,
    )


def _decisions(result: Result) -> dict[str, float]:
    made = result.decisions
    return {
        "asked": made.asked,
        "acted": made.acted,
        "charged_s": made.charged_s,
        "starts": made.starts,
        "resizes": made.resizes,
        "yields": made.yields,
        "impossible": made.impossible_count,
    }


def _classes(result: Result) -> dict[str, ClassFigures]:
    """By exact shape, the smallest first."""
    groups: dict[str, list[Record]] = {}
    for record in sorted(result.records, key=lambda one: (one.shape.volume, one.shape)):
        groups.setdefault(record.label, []).append(record)
    found = {}
    for label, records in groups.items():
        latencies = sorted(latency_s(one, result) for one in records)
        found[label] = ClassFigures(
            requests=len(records),
            attainment=_mean([float(one.met) for one in records]),
            mean_s=_mean(latencies),
            p95_s=quantile(latencies, 0.95),
        )
    return found


def _latency(latencies: Sequence[float], censored: int) -> Latency:
    ordered = sorted(latencies)
    return Latency(
        mean=_mean(ordered),
        p50=quantile(ordered, 0.5),
        p95=quantile(ordered, 0.95),
        p99=quantile(ordered, 0.99),
        max=ordered[-1] if ordered else 0.0,
        censored=censored,
    )


def _mean(values: Sequence[float], empty: float = 0.0) -> float:
    return sum(values) / len(values) if values else empty


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least value that is not below this share of all; 0 of none.

    >>> quantile([1, 2, 3, 4], 0.5)
    2
    """
    if not ordered:
        return 0.0
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


# --- curves -------------------------------------------------------------------------------------


def latency_curve(result: Result) -> list[tuple[float, float]]:
    """Points of the distribution: seconds, and the share of requests that took no longer.

    Censored requests count in the share and have no point: the curve ends below 1.
    """
    finished = sorted(
        latency_s(one, result) for one in result.records if one.outcome is Outcome.FINISHED
    )
    total = len(result.records)
    step = max(1, len(finished) // _CURVE)
    picked = [index for index in range(len(finished)) if index % step == 0]
    picked += [len(finished) - 1] if finished and picked[-1] != len(finished) - 1 else []
    return [(finished[index], (index + 1) / total) for index in picked]


def attainment_curve(result: Result) -> list[tuple[float, float]]:
    """Attainment of those that arrived in each of equal stretches: its middle, and the share."""
    width_s = max(result.arrivals_s, 1e-9) / _BINS
    bins: list[list[bool]] = [[] for _ in range(_BINS)]
    for record in result.records:
        bins[min(_BINS - 1, int(record.arrived_s / width_s))].append(record.met)
    return [((index + 0.5) * width_s, sum(met) / len(met)) for index, met in enumerate(bins) if met]
