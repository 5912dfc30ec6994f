"""What `tridentserve plan` prints: a placement, why it was chosen, what it is predicted to give."""

from collections.abc import Sequence

from tridentserve.domain.plans import PoolPlan, Reason
from tridentserve.sim.plan.forecast import Forecast, Question
from tridentserve.sim.report import Figures

HEAD = "GPUs  held  deadlines met  worst class   mean s    P95 s  GPU-hours"


def as_text(question: Question, found: Forecast) -> str:
    """One forecast."""
    spec = question.spec
    lines = [
        f"{spec.name}: {question.placement} placement and {question.dispatch} dispatch on"
        f" {found.gpus} GPUs,",
        f"for {len(question.asks)} requests, {found.arrivals_per_s:.3g}/s, due within"
        f" {spec.slo_scale_percent} % of their best time where they do not say",
        "",
        *(f"  {_pool(pool)}" for pool in found.plan.pools),
        "",
        "why",
        *(f"  {_why(reason)}" for reason in found.plan.reasons),
        *(f"  {note}" for note in notes(question, found)),
        "",
        "predicted",
        *(f"  {line}" for line in _predicted(found)),
    ]
    return "\n".join(lines)


def as_row(found: Forecast) -> str:
    """One forecast as a row under `HEAD`."""
    head = f"{found.gpus:4d}  {found.gpus_used:4.0f}"
    if found.figures is None:
        return f"{head}  {found.problem}"
    figures = found.figures
    return (
        f"{head}  {figures.attainment:13.1%}  {figures.worst_attainment:11.1%}"
        f"  {figures.latency.mean:7.1f}  {figures.latency.p95:7.1f}"
        f"  {_hours(figures):9.1f}"
    )


def notes(question: Question, found: Forecast) -> tuple[str, ...]:
    """Who is refused for want of memory, and why GPUs stay free, where that is so."""
    total = len(question.asks)
    refused = (f"{count} of {total} requests are refused: {why}" for count, why in found.refused)
    return (*refused, *_idle(question, found))


def _idle(question: Question, found: Forecast) -> tuple[str, ...]:
    spare = found.gpus - found.gpus_used
    if spare <= 0:
        return ()
    workers = {
        stage: sum(pool.workers for pool in found.plan.pools if stage.stage in pool.shape.stages)
        for stage in question.spec.stages
    }
    limits = [
        f"spec.stages.{stage.stage}.replicas.max is {stage.max_replicas}"
        for stage, count in workers.items()
        if count >= stage.max_replicas
    ]
    why = ", ".join(limits) if limits else "the placement needs no more"
    return (f"{spare:g} of {found.gpus} GPUs stay free: {why}",)


def _pool(pool: PoolPlan) -> str:
    nodes = ", ".join(f"{count} on {node}" for node, count in pool.nodes)
    count = pool.shape.devices
    each = f"{count} GPU{'' if count == 1 else 's'} each"
    return f"{pool.workers} x {pool.shape.label}, {each}" + (f" ({nodes})" if nodes else "")


def _why(reason: Reason) -> str:
    return reason.message if reason.stage is None else f"{reason.stage}: {reason.message}"


def _predicted(found: Forecast) -> Sequence[str]:
    if found.figures is None:
        return [f"nothing: {found.problem}"]
    figures, latency = found.figures, found.figures.latency
    lost = {name: count for name, count in figures.outcomes.items() if name != "finished" and count}
    ends = ", ".join(f"{count} {name}" for name, count in lost.items())
    return [
        f"deadlines met   {figures.attainment:.1%}, of {figures.worst_class}"
        f" {figures.worst_attainment:.1%}",
        f"latency         mean {latency.mean:.1f} s, P50 {latency.p50:.1f} s,"
        f" P95 {latency.p95:.1f} s, P99 {latency.p99:.1f} s",
        f"not finished    {latency.censored} of {figures.requests}" + (f": {ends}" if ends else ""),
        f"GPU cost        {_hours(figures):.1f} GPU-hours,"
        f" {figures.utilisation:.0%} of them at work",
    ]


def _hours(figures: Figures) -> float:
    return figures.device_seconds["held"] / 3600
