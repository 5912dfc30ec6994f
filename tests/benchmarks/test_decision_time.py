"""What the figures about decisions are made of; never how long anything took."""

from collections.abc import Iterable

import pytest

import decision_time
from decision_time import SIZES, USUAL, burst, lines
from decision_time_fleet import Bench
from tridentserve.domain.ids import RequestId
from tridentserve.domain.stages import Stage
from tridentserve.planner.registry import DISPATCH_POLICIES

POLICIES = ("DeadlineAware", "Ilp", "Fifo")
DEVICES = 16
WINDOW_S = 0.5
"""Least time between two solutions of `Ilp`."""


class Remembering(Bench):
    """Knows who of a burst had begun when it was over."""

    begun: tuple[bool, ...] = ()

    def forget(self, requests: Iterable[RequestId]) -> None:
        """Look, then forget."""
        names = tuple(requests)
        self.begun = tuple(map(self.has_begun, names))
        super().forget(names)


def leased(bench: Bench) -> int:
    return sum(
        bool(bench.state.lessees(device))
        for worker in bench.state.workers.values()
        for device in worker.devices
    )


def test_a_fleet_with_a_queue_is_busy_to_the_last_device() -> None:
    bench = Bench("DeadlineAware", DEVICES, 40)
    assert leased(bench) == DEVICES
    assert bench.state.queue_length(Stage.DIFFUSE) == 40


@pytest.mark.parametrize("policy", POLICIES)
def test_with_each_that_is_done_another_arrives(policy: str) -> None:
    bench = Bench(policy, DEVICES, 40)
    before = set(bench.state.journeys)
    assert sum(bench.step() is not None for _ in range(300)) > 250
    now = set(bench.state.journeys)
    assert len(before - now) > 10
    assert len(before) - len(now) in (0, 1)  # its successor is told of next


def test_a_planner_is_woken_once_at_a_moment_however_often_it_asked() -> None:
    bench = Bench("Ilp", DEVICES, 40)
    for _ in range(500):
        bench.step()
    assert 0 < len(bench.woken) <= bench.now / WINDOW_S + 1


@pytest.mark.parametrize("policy", POLICIES)
def test_a_burst_on_an_idle_fleet_lasts_until_all_have_begun(policy: str) -> None:
    bench = Remembering(policy, DEVICES, 0)
    spent = burst(bench, 3 * DEVICES)
    assert bench.begun == (True,) * 3 * DEVICES
    assert len(spent) >= 2 * 3 * DEVICES  # of each the arrival and the end of its encode


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_left_of_a_burst(policy: str) -> None:
    idle = Bench(policy, DEVICES, 0)
    burst(idle, 3 * DEVICES)
    assert not idle.state.journeys
    assert leased(idle) == 0
    busy = Bench(policy, DEVICES, 40)
    before = set(busy.state.journeys)
    assert len(burst(busy, 20)) == 20
    assert set(busy.state.journeys) == before


def test_the_tables_have_a_line_for_each_policy_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = ((8, 10), (16, 20))
    monkeypatch.setattr(decision_time, "SIZES", sizes)
    found = "\n".join(lines(["Ilp", "Fifo"], events=50, requests=10))
    for table in found.split("Bursts of 10:"):
        rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in table.splitlines()
            if line
        ]
        assert {len(row) for row in rows} == {8}
        assert [tuple(row[:2]) for row in rows[2:]] == [
            (policy, str(devices)) for policy in ("Ilp", "Fifo") for devices, _ in sizes
        ]


def test_the_published_dispatch_is_measured_beside_the_others_at_the_sizes_of_the_targets() -> None:
    assert "Ilp" in USUAL
    assert set(USUAL) <= set(DISPATCH_POLICIES)
    assert SIZES == ((128, 1000), (10_240, 10_000))
