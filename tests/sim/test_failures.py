"""Nodes that go away, work that does not fit, and requests that are never done."""

from dataclasses import replace

import pytest
from tests.sim.worlds import DECODE_S, ENCODE_S, STEP_S, STEPS, TAIL_S, Script, asks, play, profile
from tests.sim.worlds import scenario as scenario_of

from tridentserve.domain.dispatch import Action, Arrived, Event, Refuse, StageFailed
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE
from tridentserve.planner.state import State
from tridentserve.sim.dispatch import MAX_ATTEMPTS
from tridentserve.sim.report import figures
from tridentserve.sim.results import Outcome
from tridentserve.sim.scenario import Scenario

DIFFUSE_S = STEPS * STEP_S[1] + TAIL_S


def two_nodes(*failures: dict[str, float], **more: object) -> Scenario:
    cluster = more.pop("cluster", {"nodes": 2, "devices_per_node": 2})
    return scenario_of(cluster=cluster, failures=failures, **more)  # type: ignore[arg-type]


def test_what_ran_on_a_lost_node_runs_again_from_the_first_stage_that_is_lost_with_it() -> None:
    script = Script()
    result = play(two_nodes({"node": 0, "at_s": 10.0}), asks(0.0), script)
    (record,) = result.records
    # Encode's output lay on the lost node, so all begins again on the other one.
    assert record.ended_s == pytest.approx(10.0 + ENCODE_S + DIFFUSE_S + DECODE_S)
    assert (record.outcome, record.retries) == (Outcome.FINISHED, 1)
    (failed,) = [event for _, event in script.events if isinstance(event, StageFailed)]
    assert (failed.stage, failed.again) == (Stage.DIFFUSE, Stage.ENCODE)
    assert result.usage.lost == pytest.approx(10.0 - ENCODE_S)


def test_only_the_lost_stage_runs_again_where_its_input_is_still_there() -> None:
    pools = [
        {"stages": ["encode"], "devices": 1, "workers": 1, "node": 1},
        {"stages": ["diffuse"], "devices": 1, "workers": 1, "node": 0},
        {"stages": ["diffuse"], "devices": 1, "workers": 1, "node": 1},
        {"stages": ["decode"], "devices": 1, "workers": 1, "node": 0},
    ]
    given = two_nodes(
        {"node": 0, "at_s": 10.0, "back_s": 11.0},
        cluster={"nodes": 2, "devices_per_node": 3},
        placement={"pools": pools},
        world={"pod_start_s": 5.0, "load_launch_s": 0.0},
    )
    script = Script()
    result = play(given, asks(0.0), script)
    (failed,) = [event for _, event in script.events if isinstance(event, StageFailed)]
    assert (failed.stage, failed.again) == (Stage.DIFFUSE, Stage.DIFFUSE)
    assert result.records[0].ended_s == pytest.approx(10.0 + DIFFUSE_S + DECODE_S)


def test_a_request_that_waits_for_what_was_lost_begins_again_where_it_was_made() -> None:
    pools = [
        {"stages": ["encode"], "devices": 1, "workers": 1, "node": 0},
        {"stages": ["encode"], "devices": 1, "workers": 1, "node": 1},
        {"stages": ["diffuse", "decode"], "devices": 1, "workers": 1, "node": 1},
    ]
    given = two_nodes({"node": 0, "at_s": 5.0}, placement={"pools": pools})
    script = Script()
    result = play(given, asks(0.0, 0.0), script)
    again = [event for _, event in script.events if isinstance(event, StageFailed)]
    assert all(one.again is Stage.ENCODE for one in again)
    assert {one.outcome for one in result.records} == {Outcome.FINISHED}


def test_pods_of_a_lost_node_are_up_again_when_it_is_back_and_they_have_started() -> None:
    given = two_nodes(
        {"node": 0, "at_s": 10.0, "back_s": 50.0},
        cluster={"nodes": 1, "devices_per_node": 2},
        world={"pod_start_s": 20.0, "load_launch_s": 1.0},
    )
    result = play(given, asks(0.0), Script())
    begin_s = 50.0 + 20.0 + 1.0
    assert result.records[0].ended_s == pytest.approx(begin_s + ENCODE_S + DIFFUSE_S + DECODE_S)


def heavy(peak_bytes: int) -> Profile:
    """Whose diffuse takes so much of one device, and nothing of several."""
    light = profile(usable_bytes=100)
    samples = (
        replace(one, peak_bytes=peak_bytes)
        if (one.stage, one.strategy) == (Stage.DIFFUSE, SINGLE)
        else one
        for one in light.samples
    )
    return replace(light, samples=tuple(samples))


def test_a_call_that_does_not_fit_fails_as_often_as_the_router_would_try() -> None:
    script = Script()
    result = play(scenario_of(), asks(0.0), script, heavy(101))
    (record,) = result.records
    assert (record.outcome, record.retries) == (Outcome.FAILED, MAX_ATTEMPTS)
    fitting = play(scenario_of(), asks(0.0), Script(), heavy(99))
    assert fitting.records[0].outcome is Outcome.FINISHED
    unbounded = scenario_of(world={"memory": False})
    assert play(unbounded, asks(0.0), Script(), heavy(101)).records[0].met


@pytest.mark.parametrize(
    ("peak_bytes", "how", "lost"),
    [(50, Outcome.FINISHED, 0), (51, Outcome.FAILED, MAX_ATTEMPTS)],
)
def test_a_batch_whose_peaks_together_do_not_fit_fails(
    peak_bytes: int, how: Outcome, lost: int
) -> None:
    given = scenario_of(cluster={"nodes": 1, "devices_per_node": 1}, batch=2)
    result = play(given, asks(0.0, 0.0), Script(batch=2), heavy(peak_bytes))
    assert [(one.outcome, one.retries) for one in result.records] == [(how, lost)] * 2


# --- censoring ------------------------------------------------------------------------------------


def test_whoever_is_not_done_counts_as_if_it_ended_at_the_limit() -> None:
    one_device = {"pools": [{"stages": list(STAGES), "devices": 1, "workers": 1}]}
    given = scenario_of(duration_s=10.0, drain_s=20.0, placement=one_device)
    result = play(given, asks(0.0, 1.0))
    found = figures(result)
    alone_s = ENCODE_S + DIFFUSE_S + DECODE_S
    assert found.outcomes == {"finished": 1, "refused": 0, "failed": 0, "unfinished": 1}
    assert found.latency.censored == 1
    assert found.attainment == 0.5
    assert found.latency.max == pytest.approx(30.0 - 1.0)
    assert found.latency.mean == pytest.approx((alone_s + 29.0) / 2)


def test_refusing_is_a_miss_that_never_looks_faster_than_serving() -> None:
    def more(state: State, event: Event, now: float) -> list[Action]:
        if isinstance(event, Arrived) and event.demand.arrived_s == 1.0:
            return [Refuse(request=event.demand.id, reason="test")]
        return []

    result = play(scenario_of(), asks(0.0, 1.0), Script(more=more))
    refused = result.records[1]
    assert refused.outcome is Outcome.REFUSED
    assert not refused.met
    assert figures(result).latency.max == pytest.approx(result.limit_s - 1.0)


def test_a_run_without_requests_has_figures() -> None:
    found = figures(play(scenario_of(), (), Script()))
    assert (found.requests, found.attainment, found.latency.max) == (0, 1.0, 0.0)


def test_a_planner_may_refuse_others_while_it_hears_what_a_node_took_with_it() -> None:
    """Two wait for diffuse with outputs on the lost node; at the first, the second is refused."""
    pools = [
        {"stages": ["encode"], "devices": 2, "workers": 1, "node": 0},
        {"stages": ["encode", "diffuse", "decode"], "devices": 1, "workers": 1, "node": 1},
    ]

    def more(state: State, event: Event, now: float) -> list[Action]:
        if not isinstance(event, StageFailed):
            return []
        others = [one.demand.id for one in state.waiting(Stage.DIFFUSE)]
        return [Refuse(request=one, reason="test") for one in others]

    given = two_nodes({"node": 0, "at_s": 2.0}, placement={"pools": pools})
    result = play(given, asks(0.0, 0.0, 0.0), Script(more=more))
    assert not result.decisions.impossible
    outcomes = [one.outcome for one in result.records]
    assert sorted(outcomes) == [Outcome.FINISHED, Outcome.FINISHED, Outcome.REFUSED]
