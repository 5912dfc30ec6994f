"""What is shown in columns. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tridentserve.client import Finished
from tridentserve.domain.stages import STAGES

from .jobs import Job
from .plans import PlanSeen

_BYTES = ("B", "kB", "MB")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; figures to the right, all else to the left.

    >>> print(table(["who", "s"], [["fox", "1.5"], ["x", "10.0"]]))
    who     s
    fox   1.5
    x    10.0
    """
    return columns([header, *rows], skip=1)


def columns(rows: Sequence[Sequence[str]], *, skip: int = 0) -> str:
    """The same without a header; whether a column holds figures, `skip` rows do not say."""
    cells = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in cells]
    numeric = [all(_is_figure(cell) for cell in column[skip:]) for column in cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    )


def _is_figure(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit()


def seconds_table(jobs: Sequence[Job], finished: Sequence[Finished]) -> str:
    """Seconds of each picture by stage; `waited` is for workers, `hops` for tensors."""
    rows = []
    for job, one in zip(jobs, finished, strict=True):
        timings = one.timings
        runs = [sum(timing.run_s for timing in timings if timing.stage is s) for s in STAGES]
        waited = sum(timing.wait_s + timing.queue_s for timing in timings)
        hops = sum(timing.fetch_s + timing.put_s for timing in timings)
        seconds = (waited, *runs, hops, one.total_s)
        rows.append([job.name, f"{job.width}x{job.height}", str(job.steps)])
        rows[-1] += [f"{value:.3f}" for value in seconds]
    header = ["picture", "size", "steps", "waited", *STAGES, "hops", "total"]
    return table(header, rows)


def hops_table(jobs: Sequence[Job], finished: Sequence[Finished]) -> str:
    """The store, size and nodes of each hop."""
    rows = []
    for job, one in zip(jobs, finished, strict=True):
        nodes = " -> ".join(timing.node for timing in one.timings)
        hops = [
            f"{timing.input_store} {amount(timing.input_bytes)}"
            for timing in one.timings
            if timing.input_store
        ]
        rows.append([job.name, nodes, *hops])
    return table(["picture", "nodes", "encode -> diffuse", "diffuse -> decode"], rows)


def amount(count: int) -> str:
    """Bytes for people.

    >>> amount(900), amount(66_000), amount(2_500_000)
    ('900 B', '66.0 kB', '2.5 MB')
    """
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_BYTES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_BYTES[unit]}" if unit else f"{count} B"


def plans_table(plans: Mapping[str, PlanSeen]) -> str:
    """The plan of the busy stage at each time, and the operator's reason."""
    rows = [[when, plan.words, plan.reason] for when, plan in plans.items()]
    return table(["when", "diffuse", "why, as the operator says in status.plan.reasons"], rows)
