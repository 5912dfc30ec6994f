"""The relaxations are bounds, and as tight as they claim: against brute force on tiny cases."""

from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from paper.bounds import Job, mean_latency_s, most_on_time, tail_latency_s

HORIZON = 10


def job(arrived: int, due: int, work: int, alone_s: float = 0.0) -> Job:
    return Job(arrived_s=arrived, due_s=due, alone_s=alone_s, work_device_s=work)


@st.composite
def few_jobs(draw: st.DrawFn) -> list[Job]:
    """Up to five, in whole seconds; two of them span the horizon, so that moments are seconds."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        arrived = draw(st.integers(0, HORIZON - 1))
        due = draw(st.integers(arrived + 1, HORIZON))
        found.append(job(arrived, due, draw(st.integers(1, 4))))
    return [*found, job(0, HORIZON, draw(st.integers(1, 4)))]


def feasible(jobs: tuple[Job, ...]) -> bool:
    """Earliest deadline first, second by second, on one machine."""
    left = {index: one.work_device_s for index, one in enumerate(jobs)}
    for second in range(HORIZON):
        open_jobs = [i for i, one in enumerate(jobs) if left[i] > 0 and one.arrived_s <= second]
        if open_jobs:
            left[min(open_jobs, key=lambda i: jobs[i].due_s)] -= 1
        if any(left[i] > 0 and one.due_s <= second + 1 for i, one in enumerate(jobs)):
            return False
    return True


def most_in_whole_requests(jobs: list[Job]) -> int:
    """Every subset is tried."""
    return max(
        count
        for count in range(len(jobs) + 1)
        if any(feasible(some) for some in combinations(jobs, count))
    )


def most_in_parts(jobs: list[Job]) -> float:
    """The same with parts of requests, as a linear program over seconds."""
    cells = [
        (index, second)
        for index, one in enumerate(jobs)
        for second in range(int(one.arrived_s), int(one.due_s))
    ]
    rows = [[float(s == second) for _, s in cells] for second in range(HORIZON)]
    rows += [[float(i == index) for i, _ in cells] for index in range(len(jobs))]
    limits = [1.0] * HORIZON + [one.work_device_s for one in jobs]
    gains = [-1 / jobs[index].work_device_s for index, _ in cells]
    return -float(linprog(gains, A_ub=rows, b_ub=limits, bounds=(0, 1)).fun)


@settings(max_examples=60, deadline=None)
@given(jobs=few_jobs())
def test_nobody_is_on_time_more_often_than_the_bound(jobs: list[Job]) -> None:
    assert most_on_time(jobs, 1, HORIZON) >= most_in_whole_requests(jobs) - 1e-9


@settings(max_examples=60, deadline=None)
@given(jobs=few_jobs())
def test_the_greedy_choice_is_the_best_of_the_relaxation(jobs: list[Job]) -> None:
    assert most_on_time(jobs, 1, HORIZON) == pytest.approx(most_in_parts(jobs))


@settings(max_examples=40, deadline=None)
@given(jobs=few_jobs(), moments=st.integers(1, HORIZON))
def test_a_coarser_grid_only_raises_the_bound(jobs: list[Job], moments: int) -> None:
    assert most_on_time(jobs, 1, moments) >= most_on_time(jobs, 1, HORIZON) - 1e-9


def test_who_is_late_alone_is_not_counted() -> None:
    assert most_on_time([job(0, 5, 1, alone_s=6.0)], 1000) == 0


def least_total_latency(jobs: list[Job]) -> float:
    """Every schedule of whole seconds on one machine."""
    arrived = tuple(int(one.arrived_s) for one in jobs)

    @cache
    def cost(left: tuple[int, ...], now: int) -> float:
        if not any(left):
            return 0.0
        open_jobs = [i for i, work in enumerate(left) if work and arrived[i] <= now]
        if not open_jobs:
            return cost(left, now + 1)
        found = []
        for index in open_jobs:
            after = tuple(work - (i == index) for i, work in enumerate(left))
            done = now + 1 - arrived[index] if not after[index] else 0
            found.append(done + cost(after, now + 1))
        return min(found)

    return cost(tuple(int(one.work_device_s) for one in jobs), 0)


@settings(max_examples=40, deadline=None)
@given(jobs=few_jobs())
def test_shortest_remaining_first_has_the_least_total_latency(jobs: list[Job]) -> None:
    assert mean_latency_s(jobs, 1) * len(jobs) == pytest.approx(least_total_latency(jobs))


def test_mean_latency_is_never_below_that_of_serving_each_alone() -> None:
    jobs = [job(0, 9, 1, alone_s=3.0), job(0, 9, 1, alone_s=5.0)]
    assert mean_latency_s(jobs, 1000) == 4.0


def least_worst_latency(jobs: list[Job]) -> int:
    """The shortest common deadline in whole seconds that all jobs can meet."""
    return next(
        within
        for within in range(1, 100)
        if all_meet([job(int(j.arrived_s), 0, int(j.work_device_s)) for j in jobs], within)
    )


def all_meet(jobs: list[Job], within: int) -> bool:
    """First come, first served is best where all have as long."""
    now = 0.0
    for one in sorted(jobs, key=lambda one: one.arrived_s):
        now = max(now, one.arrived_s) + one.work_device_s
        if now > one.arrived_s + within:
            return False
    return True


@settings(max_examples=40, deadline=None)
@given(jobs=few_jobs())
def test_nobody_serves_all_sooner_than_the_bound_on_the_tail(jobs: list[Job]) -> None:
    bound = tail_latency_s([replace(one, alone_s=0.5) for one in jobs], 1, 1.0)
    assert 0.5 <= bound <= least_worst_latency(jobs)


def test_the_tail_of_a_burst_is_what_it_takes_to_work_it_off() -> None:
    burst = [job(0, 1, 1, alone_s=1.0) for _ in range(100)]
    assert tail_latency_s(burst, 10, 0.95) == pytest.approx(9.5, rel=0.02)
    assert tail_latency_s(burst, 100, 0.95) == 1.0


def test_without_requests_there_is_nothing_to_bound() -> None:
    assert (mean_latency_s([], 1), most_on_time([], 1), tail_latency_s([], 1)) == (0.0, 0.0, 0.0)
