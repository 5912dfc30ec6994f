"""Several runs side by side: the mean of every figure over seeds, and how sure it is.

Runs are compared by scenario and policy; seeds of one pair are repetitions. With several seeds the
interval is that of 95 % of resampled means (bootstrap), drawn from fixed random numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tridentserve.sim.randomness import stream
from tridentserve.sim.report import Figures, figures, quantile
from tridentserve.sim.results import Result

_RESAMPLES = 1000

COLUMNS: Mapping[str, Callable[[Figures], float]] = MappingProxyType(
    {
        "attainment": lambda one: one.attainment,
        "worst class": lambda one: one.worst_attainment,
        "mean s": lambda one: one.latency.mean,
        "P50 s": lambda one: one.latency.p50,
        "P95 s": lambda one: one.latency.p95,
        "P99 s": lambda one: one.latency.p99,
        "max s": lambda one: one.latency.max,
        "longest wait s": lambda one: one.longest_wait_s,
        "censored": lambda one: one.latency.censored,
        "device-h": lambda one: one.device_seconds["held"] / 3600,
        "used": lambda one: one.utilisation,
        "plan changes": lambda one: one.plan_changes,
        "impossible": lambda one: one.decisions["impossible"],
    }
)
"""What the table shows, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over seeds."""

    mean: float
    low: float
    """95 % of resampled means lie between these."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scenario and policy."""

    label: str
    seeds: tuple[int, ...]
    values: Mapping[str, Spread]


def rows(results: Sequence[Result]) -> tuple[Row, ...]:
    """One row a scenario and policy, in the order in which they come."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(label_of(result, results), []).append(result)
    return tuple(_row(label, group) for label, group in groups.items())


def label_of(result: Result, among: Sequence[Result]) -> str:
    """What tells a result apart from the others: its policies, and its scenario where they vary."""
    parts = [result.dispatch]
    if len({one.placement for one in among}) > 1:
        parts.append(result.placement)
    if len({one.scenario for one in among}) > 1:
        parts.insert(0, result.scenario)
    return " ".join(parts)


def _row(label: str, group: Sequence[Result]) -> Row:
    found = [figures(one) for one in group]
    return Row(
        label=label,
        seeds=tuple(one.seed for one in group),
        values={name: spread([of(one) for one in found]) for name, of in COLUMNS.items()},
    )


def spread(values: Sequence[float]) -> Spread:
    """Mean and interval of a figure over seeds.

    >>> spread([2.0, 2.0])
    Spread(mean=2.0, low=2.0, high=2.0)
    """
    mean = sum(values) / len(values)
    if len(set(values)) == 1:
        return Spread(mean=mean, low=mean, high=mean)
    rng = stream(0, "bootstrap", *values)
    means = sorted(sum(rng.choices(values, k=len(values))) / len(values) for _ in range(_RESAMPLES))
    return Spread(mean=mean, low=quantile(means, 0.025), high=quantile(means, 0.975))


def table(found: Sequence[Row]) -> str:
    """The rows as text, aligned."""
    head = ["policy", *COLUMNS]
    lines = [head] + [
        [row.label, *(_cell(name, row.values[name].mean) for name in COLUMNS)] for row in found
    ]
    widths = [max(len(line[index]) for line in lines) for index in range(len(head))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _cell(name: str, value: float) -> str:
    if name in ("attainment", "worst class", "used"):
        return f"{value:.3f}"
    return f"{value:.0f}" if name in ("censored", "plan changes", "impossible") else f"{value:.1f}"
