"""Placements: fixed ones that fit or not, and planners whose plans are carried out in time."""

from dataclasses import dataclass, field, replace

import pytest
from tests.sim.worlds import Script, asks, play, profile, scenario

from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.errors import InvalidFieldError
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.planner.placement.joint import Joint
from tridentserve.planner.placement.moves import MoveCosts
from tridentserve.planner.placement.orchestrator import Orchestrator
from tridentserve.planner.protocols import PlacementInputs
from tridentserve.sim.experiment import experiment_of
from tridentserve.sim.results import Outcome, Result
from tridentserve.sim.scenario import Scenario


def plan(**workers: int) -> PlacementPlan:
    """Workers with one device each, by stages: `edc` for one."""
    letters = dict(zip("edc", STAGES, strict=True))
    return PlacementPlan(
        pools=tuple(
            PoolPlan(
                shape=PoolShape(
                    stages=tuple(sorted(letters[one] for one in name)),
                    devices=1,
                    fraction_percent=100,
                ),
                workers=count,
            )
            for name, count in workers.items()
        ),
        reasons=(),
        follows_load=False,
    )


@dataclass
class Planned:
    """Answers with plans by moment, and notes what it was told."""

    plans: dict[float, PlacementPlan]
    seen: list[PlacementInputs] = field(default_factory=list)

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The latest plan of those that are due."""
        self.seen.append(inputs)
        return self.plans[max(moment for moment in self.plans if moment <= inputs.now)]


def following(start: str = "Pod", **world: float) -> Scenario:
    return scenario(
        cluster={"nodes": 1, "devices_per_node": 4},
        duration_s=300.0,
        placement={
            "planner": "Static",
            "interval_s": 10.0,
            "window_s": 50.0,
            "start": start,
        },
        world={"pod_start_s": 20.0, "load_launch_s": 1.0} | world,
    )


def follow(planner: Planned, given: Scenario, *moments: float) -> Result:
    return play(given, asks(*moments), Fifo(), placement=lambda: planner)


def resident(result: Result, moment: float) -> dict[str, int]:
    """Devices by stages of workers that are up at a moment."""
    return dict([counts for at_s, counts in result.timeline.resident if at_s <= moment][-1])


def heavy() -> Profile:
    """Whose decode of the one shape fits a device only where no other stage is beside it."""
    light = profile(weights_bytes=tuple((stage, 10) for stage in STAGES), usable_bytes=40)
    samples = (
        replace(one, peak_bytes=30) if one.stage is Stage.DECODE else one for one in light.samples
    )
    return replace(light, samples=tuple(samples))


def outcomes(planner: Planned, *moments: float) -> list[tuple[Outcome, float | None]]:
    result = play(following(), asks(*moments), Fifo(), placement=lambda: planner, truth=heavy())
    return [(one.outcome, one.ended_s) for one in result.records]


def test_what_no_pool_of_the_plan_has_the_memory_for_is_refused_when_it_arrives() -> None:
    assert outcomes(Planned({0.0: plan(edc=4)}), 3.0) == [(Outcome.REFUSED, 3.0)]


def test_what_the_plan_has_a_pool_for_waits_until_it_is_up() -> None:
    planner = Planned({0.0: plan(ed=1), 10.0: plan(ed=1, c=1)})

    assert [how for how, _ in outcomes(planner, 3.0, 12.0)] == [Outcome.FINISHED] * 2


def test_what_waits_is_refused_when_the_last_worker_that_could_hold_it_drains() -> None:
    planner = Planned({0.0: plan(ed=1, c=1), 40.0: plan(edc=2)})
    first, *_, last = outcomes(planner, *(float(moment) for moment in range(10)))

    assert first[0] is Outcome.FINISHED
    assert last[0] is Outcome.REFUSED
    assert last[1] is not None
    assert 40.0 < last[1] < 100.0


@pytest.mark.parametrize(("start", "seconds"), [("Pod", 21.0), ("Residency", 1.0)])
def test_new_workers_are_up_after_what_their_start_takes(start: str, seconds: float) -> None:
    planner = Planned({0.0: plan(edc=1), 10.0: plan(edc=3)})
    result = follow(planner, following(start), 0.0, 150.0)
    assert resident(result, 0.0) == {"decode.diffuse.encode": 1}
    assert resident(result, 10.0 + seconds - 0.5) == {"decode.diffuse.encode": 1}
    assert resident(result, 10.0 + seconds + 0.5) == {"decode.diffuse.encode": 3}
    assert result.decisions.plan_changes == 1


def test_workers_that_go_finish_what_they_run_and_free_their_devices() -> None:
    planner = Planned({0.0: plan(edc=4), 10.0: plan(edc=1)})
    result = follow(planner, following(), *[0.0] * 4, 150.0)
    assert {one.outcome for one in result.records} == {Outcome.FINISHED}
    assert {one.retries for one in result.records} == {0}
    assert resident(result, 140.0) == {"decode.diffuse.encode": 1}
    held = result.usage.held
    assert held < 4 * result.ended_s


def test_devices_of_one_pool_become_another_and_no_request_is_lost() -> None:
    planner = Planned({0.0: plan(e=2, d=1, c=1), 100.0: plan(e=1, d=2, c=1)})
    moments = tuple(float(second) for second in range(0, 200, 20))
    result = follow(planner, following(), *moments)
    assert resident(result, 99.0) == {"encode": 2, "diffuse": 1, "decode": 1}
    assert resident(result, 180.0) == {"encode": 1, "diffuse": 2, "decode": 1}
    assert {one.outcome for one in result.records} == {Outcome.FINISHED}
    assert not result.decisions.impossible


def test_a_worker_that_drains_for_too_long_is_killed_and_its_work_runs_elsewhere() -> None:
    given = following()
    placement = given.placement.model_copy(update={"drain_s": 2.0})
    planner = Planned({0.0: plan(edc=2), 10.0: plan(edc=1)})
    result = follow(planner, given.model_copy(update={"placement": placement}), 0.0, 0.0)
    assert sorted(one.retries for one in result.records) == [0, 1]
    assert {one.outcome for one in result.records} == {Outcome.FINISHED}


@pytest.mark.parametrize(("drain_s", "retries"), [(25.0, [0, 0]), (13.0, [0, 1])])
def test_a_worker_is_killed_by_the_drain_that_it_is_in_not_by_one_that_was_called_off(
    drain_s: float, retries: list[int]
) -> None:
    given = following()
    placement = given.placement.model_copy(update={"drain_s": drain_s})
    # It drains at 10, no more at 20, and again at 30, with work from 22 to 43.5: the alarms of a
    # drain of 25 s ring at 35 and at 55, those of one of 13 s at 23 and at 43.
    planner = Planned({0.0: plan(edc=2), 10.0: plan(edc=1), 20.0: plan(edc=2), 30.0: plan(edc=1)})
    result = follow(planner, given.model_copy(update={"placement": placement}), 22.0, 22.0)
    assert sorted(one.retries for one in result.records) == retries
    assert {one.outcome for one in result.records} == {Outcome.FINISHED}


def test_planners_are_told_the_load_of_the_window_by_class() -> None:
    planner = Planned({0.0: plan(edc=1)})
    follow(planner, following(), *(float(second) for second in range(100)))
    first = planner.seen[0].load
    assert first.arrivals_per_s == pytest.approx(1.0)
    (rate,) = first.mix
    assert rate.arrivals_per_s == pytest.approx(1.0)
    late = next(one for one in planner.seen if one.now == 110.0)
    assert late.load.arrivals_per_s == pytest.approx(40 / 50)
    assert {one.stage for one in late.load.seconds} == set(STAGES)
    assert late.cluster.free_devices == (("n00", 3),)


def test_looks_are_at_the_same_moments_whatever_the_policy_does() -> None:
    moments = []
    for planner in (Planned({0.0: plan(edc=1)}), Planned({0.0: plan(edc=4)})):
        follow(planner, following(), 0.0, 90.0)
        moments.append([one.now for one in planner.seen if one.now <= 100.0])
    assert moments[0] == moments[1] == [float(one) for one in range(0, 101, 10)]


def test_a_fixed_placement_that_does_not_fit_is_refused() -> None:
    pools = [{"stages": list(STAGES), "devices": 6, "workers": 2}]
    with pytest.raises(InvalidFieldError, match="no node has room"):
        play(scenario(placement={"pools": pools}), asks(0.0), Script())


def test_the_largest_workers_are_placed_first() -> None:
    pools = [
        {"stages": ["encode"], "devices": 1, "workers": 8},
        {"stages": ["diffuse", "decode"], "devices": 8, "workers": 1},
    ]
    given = scenario(cluster={"nodes": 2, "devices_per_node": 8}, placement={"pools": pools})
    assert play(given, asks(0.0), Script()).records[0].met


@pytest.mark.parametrize("name", ["Joint", "Orchestrator"])
@pytest.mark.parametrize(("start", "residency"), [("Pod", False), ("Residency", True)])
def test_planners_reckon_with_what_a_change_costs_in_the_scenario(
    name: str, start: str, residency: bool
) -> None:
    given = scenario(
        placement={"planner": name, "start": start},
        world={"pod_start_s": 7.0, "load_launch_s": 3.0, "load_bytes_per_s": 5e9},
    )
    make = experiment_of(given, profile()).placement
    assert make is not None
    planner = make()
    assert isinstance(planner, Joint | Orchestrator)
    assert planner.settings.costs == MoveCosts(
        pod_start_s=7.0, load_launch_s=3.0, load_bytes_per_s=5e9, residency=residency
    )
    assert make() is not planner
