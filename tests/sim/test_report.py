"""Figures of runs: quantiles, curves, comparisons and fits, by hand."""

from dataclasses import replace

import pytest
from tests.sim.worlds import Script, asks, busy, play, run, scenario

from tridentserve.sim.compare import rows, spread, table
from tridentserve.sim.fitting import fit
from tridentserve.sim.report import attainment_curve, figures, latency_curve, quantile
from tridentserve.sim.results import Machine


def test_quantiles_are_values_that_occurred() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [quantile(ordered, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert quantile([], 0.5) == 0.0


def test_device_seconds_add_up_to_what_was_held() -> None:
    found = figures(run(busy())).device_seconds
    parts = sum(found[name] for name in ("encode", "diffuse", "decode", "overhead", "idle"))
    assert parts == pytest.approx(found["held"])
    assert found["overhead"] > 0


def test_busy_devices_over_time_add_up_to_the_work() -> None:
    result = run(busy())
    for (stage, work), (same, values) in zip(result.usage.work, result.timeline.busy, strict=True):
        assert stage is same
        assert sum(values) * result.timeline.width_s == pytest.approx(work)


def test_the_worst_class_is_the_one_with_the_fewest_deadlines_met() -> None:
    found = figures(run(busy(deadline="1.5x")))
    assert found.worst_attainment == min(one.attainment for one in found.classes.values())
    assert found.classes[found.worst_class].attainment == found.worst_attainment
    total = sum(one.requests for one in found.classes.values())
    weighted = sum(one.attainment * one.requests for one in found.classes.values()) / total
    assert found.attainment == pytest.approx(weighted)


def test_curves_end_where_the_figures_say() -> None:
    result = run(busy())
    points = latency_curve(result)
    assert points == sorted(points)
    seconds, share = points[-1]
    assert seconds == pytest.approx(figures(result).latency.max)
    assert share == 1.0
    assert all(0 <= met <= 1 for _, met in attainment_curve(result))


def test_the_longest_wait_is_one_stretch_and_not_their_sum() -> None:
    one_device = {
        "pools": [{"stages": ["encode", "diffuse", "decode"], "devices": 1, "workers": 1}]
    }
    result = play(scenario(placement=one_device), asks(0.0, 0.0), Script())
    found = figures(result)
    assert found.longest_wait_s == max(one.longest_wait_s for one in result.records)
    assert found.longest_wait_s < max(sum(one.waited_s) for one in result.records)


def test_rows_are_means_over_seeds_with_an_interval_around_them() -> None:
    results = [run(busy(seed=seed)) for seed in (1, 2)]
    (row,) = rows(results)
    means = [figures(one).latency.mean for one in results]
    assert row.values["mean s"].mean == pytest.approx(sum(means) / 2)
    assert row.values["mean s"].low <= row.values["mean s"].mean <= row.values["mean s"].high
    assert spread([1.0, 2.0, 3.0]) == spread([1.0, 2.0, 3.0])
    assert table([row]).splitlines()[1].startswith("Fifo")


def test_a_fit_finds_what_decisions_cost() -> None:
    result = play(scenario(), asks(0.0), Script())
    queue = (0, 1, 5, 9)
    runs = [
        replace(
            result,
            devices=devices,
            machine=Machine(
                queue=queue,
                decide_s=tuple(0.001 + 0.0002 * one + 0.00001 * devices for one in queue),
            ),
        )
        for devices in (8, 128)
    ]
    found = fit(runs)
    assert (found.base_s, found.per_waiting_s, found.per_device_s) == pytest.approx(
        (0.001, 0.0002, 0.00001)
    )
    assert fit(runs[:1]).per_device_s == 0.0
