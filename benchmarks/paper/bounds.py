"""What no policy can be better than: relaxations that know everything and split anything.

Bounds on latency and on deadlines, for a set of requests of which all is known beforehand:

* **no queue**: every request alone, each stage at its fastest degree, no hand-off.
* **shortest remaining first, fluid** (mean): all devices are one machine, as fast as they are
  together, that may be divided and interrupted at will; a request is nothing but its least
  device-seconds. Relaxed are the bounds of devices and nodes, the order of stages, the coupling of
  degree and efficiency, and all costs of deciding and moving. On one machine with interruptions,
  shortest remaining first has the least total latency (Schrage 1968), and every real schedule is
  one for this machine that takes no less work.
* **fluid feasibility** (deadlines): the same machine. A request that alone is too late even at its
  fastest degree is given up. Of the others, amounts of work z can be done between arrival and
  deadline if and only if no interval of time has to hold more than fits into it (the processor
  demand criterion). These z form a polymatroid, so that the greedy choice, least work first,
  maximises the sum of z / work (Edmonds 1970). A part of a request counts as that part of one, and
  arrivals and deadlines are moved outwards to a grid of moments: both only raise the bound.
* **tail** (95th percentile): the least time within which, as a common deadline after arrival, that
  share of the requests is feasible in this sense; no less than that of no queue.

None of them is reached in general: the gap to them is no proof of a weakness.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf

import numpy as np

MOMENTS = 600
"""Steps of the grid of moments; more make the bound on deadlines tighter and slower."""
_PRECISION = 0.01
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request, reduced to what the relaxations look at."""

    arrived_s: float
    due_s: float
    """Its deadline, absolute."""
    alone_s: float
    """The least time from arrival to end, all devices of a node to itself."""
    work_device_s: float
    """The least device-seconds, each stage at the degree that takes the fewest."""


def mean_latency_s(jobs: Sequence[Job], devices: int) -> float:
    """At least so long takes a request on average; 0 of none."""
    if not jobs:
        return 0.0
    alone_s = sum(job.alone_s for job in jobs)
    return max(alone_s, _shortest_remaining_s(jobs, devices)) / len(jobs)


def _shortest_remaining_s(jobs: Sequence[Job], devices: int) -> float:
    """The sum of latencies on one machine as fast as all devices, shortest remaining first."""
    line = sorted((job.arrived_s, job.work_device_s / devices) for job in jobs)
    open_jobs: list[tuple[float, float]] = []
    now = total_s = 0.0
    position = 0
    while position < len(line) or open_jobs:
        if not open_jobs:
            now = max(now, line[position][0])
        while position < len(line) and line[position][0] <= now:
            arrived_s, work_s = line[position]
            heapq.heappush(open_jobs, (work_s, arrived_s))
            position += 1
        remaining_s, arrived_s = heapq.heappop(open_jobs)
        next_s = line[position][0] if position < len(line) else inf
        if now + remaining_s <= next_s:
            now += remaining_s
            total_s += now - arrived_s
        else:
            heapq.heappush(open_jobs, (remaining_s - (next_s - now), arrived_s))
            now = next_s
    return total_s


def tail_latency_s(
    jobs: Sequence[Job], devices: int, share: float = 0.95, moments: int = MOMENTS
) -> float:
    """At least so long is the quantile of latency; 0 of none.

    Args:
        jobs: all of them.
        devices: of the cluster.
        share: of the requests that take no longer.
        moments: see `most_on_time`.
    """
    if not jobs:
        return 0.0

    def is_feasible(within_s: float) -> bool:
        due = [replace(job, due_s=job.arrived_s + within_s) for job in jobs]
        return most_on_time(due, devices, moments) >= share * len(jobs) - _ROUNDING

    low_s = sorted(job.alone_s for job in jobs)[max(0, ceil(share * len(jobs)) - 1)]
    if is_feasible(low_s):
        return low_s
    high_s = 2 * low_s
    while not is_feasible(high_s):
        low_s, high_s = high_s, 2 * high_s
    while high_s > low_s * (1 + _PRECISION):
        middle_s = (low_s + high_s) / 2
        low_s, high_s = (low_s, middle_s) if is_feasible(middle_s) else (middle_s, high_s)
    return low_s  # not feasible: what is, takes longer


def most_on_time(jobs: Sequence[Job], devices: int, moments: int = MOMENTS) -> float:
    """At most so many requests can be on time; parts of one count as such.

    Args:
        jobs: all of them; whatever else runs meanwhile only takes from what there is for these.
        devices: of the cluster.
        moments: steps of the grid between the first arrival and the last deadline.
    """
    possible = [job for job in jobs if job.arrived_s + job.alone_s <= job.due_s]
    if not possible:
        return 0.0
    first_s = min(job.arrived_s for job in possible)
    step_s = (max(job.due_s for job in possible) - first_s) / moments
    edges = np.arange(moments + 1, dtype=np.float64) * step_s
    # left[i, j]: device-seconds between moments i and j that are not promised yet.
    left = (edges[np.newaxis, :] - edges[:, np.newaxis]) * devices
    count = 0.0
    for job in sorted(possible, key=lambda one: one.work_device_s):
        begin = max(0, floor((job.arrived_s - first_s) / step_s))
        end = min(moments, ceil((job.due_s - first_s) / step_s))
        around = left[: begin + 1, end:]  # intervals that the job cannot leave
        taken = min(job.work_device_s, float(around.min()))
        if taken > 0:
            around -= taken
            count += taken / job.work_device_s
    return count
