"""Calls that are not full wait for company, as workers do."""

import pytest
from tests.sim.worlds import (
    DECODE_S,
    ENCODE_S,
    STEP_S,
    STEPS,
    TAIL_S,
    Script,
    asks,
    play,
    profile,
    scenario,
    start,
)

from tridentserve.domain.dispatch import Action, Arrived, Event, WakeAt
from tridentserve.domain.profiles import Profile, Sample
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.state import State
from tridentserve.sim.results import Outcome
from tridentserve.sim.workload import Ask

ALONE_S = ENCODE_S + STEPS * STEP_S[1] + TAIL_S + DECODE_S
TOGETHER_S = 0.75
"""Of two in one call of encode."""


def paired() -> Profile:
    """The usual profile, which knows what two requests take in one call of encode."""
    usual = profile()
    pair = Sample(stage=Stage.ENCODE, shape=asks(0.0)[0].shape, fixed_s=TOGETHER_S, batch=2)
    return Profile(name="p", source="t", samples=(*usual.samples, pair), steps=STEPS)


def joining() -> Script:
    """Starts whoever arrives on the devices where encode runs already, if it does anywhere."""

    def more(state: State, event: Event, now: float) -> list[Action]:
        (worker,) = state.workers.values()
        running = [one for one in state.running(worker.id) if one.stage is Stage.ENCODE]
        if not isinstance(event, Arrived) or not running:
            return []
        (waiting,) = state.waiting(Stage.ENCODE)
        return [start(waiting, worker.id, running[0].devices, 1)]

    return Script(more=more)


def test_a_call_that_is_not_full_waits_until_its_window_closes() -> None:
    result = play(scenario(batch=2, batch_wait_s=1.5), asks(0.0), Script())
    (record,) = result.records
    assert record.ended_s == pytest.approx(ALONE_S + 3 * 1.5)
    assert result.usage.overhead == pytest.approx(3 * 1.5)


def test_only_stages_with_a_window_wait() -> None:
    result = play(scenario(batch=2, batch_wait_s={"decode": 1.5}), asks(0.0), Script())
    assert result.records[0].ran_s == pytest.approx(
        (ENCODE_S, STEPS * STEP_S[1] + TAIL_S, DECODE_S + 1.5)
    )


def test_a_call_of_one_slot_waits_for_nobody() -> None:
    with_window, without = (
        play(scenario(batch_wait_s=wait_s), asks(0.0, 3.0), Script()) for wait_s in (1000.0, 0.0)
    )
    assert with_window.records == without.records
    assert {one.outcome for one in with_window.records} == {Outcome.FINISHED}


def test_a_call_that_is_full_at_once_waits_for_nobody() -> None:
    def both(state: State, event: Event, now: float) -> list[Action]:
        alone = state.queue_length(Stage.ENCODE) == 1
        return [WakeAt(at_s=now + 1.0, reason="for the second")] if alone else []

    given = scenario(batch=2, batch_wait_s={"encode": 1000.0})
    result = play(given, asks(0.0, 0.0), Script(batch=2, more=both), paired())
    assert [one.ran_s[0] for one in result.records] == pytest.approx([TOGETHER_S] * 2)


def test_who_joins_in_time_makes_it_go_at_once_and_both_take_what_a_batch_takes() -> None:
    given = scenario(batch=2, batch_wait_s={"encode": 30.0})
    result = play(given, asks(0.0, 4.0), joining(), paired())
    assert not result.decisions.impossible
    assert [one.ran_s[0] for one in result.records] == pytest.approx([4.0 + TOGETHER_S, TOGETHER_S])


def test_a_call_with_room_left_goes_when_the_first_has_waited_long_enough() -> None:
    given = scenario(batch=3, batch_wait_s={"encode": 6.0})
    result = play(given, asks(0.0, 4.0), joining(), paired())
    assert [one.ran_s[0] for one in result.records] == pytest.approx(
        [6.0 + TOGETHER_S, 2.0 + TOGETHER_S]
    )


def test_whoever_joins_is_waited_for_until_the_decision_about_it_is_made() -> None:
    costs = {"base_s": 2.0, "per_waiting_s": 0.0, "per_device_s": 0.0}
    given = scenario(batch=2, batch_wait_s={"encode": 30.0}, decision=costs)
    result = play(given, asks(0.0, 4.0), joining(), paired())
    assert result.records[1].ran_s[0] == pytest.approx(2.0 + TOGETHER_S)


@pytest.mark.parametrize(
    ("second", "batch"),
    [
        (Ask(at_s=6.0, shape=asks(0.0)[0].shape, steps=STEPS), 2),
        (Ask(at_s=4.0, shape=asks(0.0)[0].shape, steps=STEPS - 1), 2),
        (Ask(at_s=4.0, shape=asks(0.0)[0].shape, steps=STEPS, guidance=2.0), 2),
        (Ask(at_s=4.0, shape=asks(0.0)[0].shape, steps=STEPS), 1),
    ],
    ids=["window closed", "other steps", "other guidance", "full"],
)
def test_who_cannot_join_is_refused_and_the_call_goes_without_it(second: Ask, batch: int) -> None:
    slow = scenario(batch=batch, batch_wait_s={"encode": 6.0}, world={"slow_down": 100.0})
    first = asks(0.0)
    result = play(slow, (*first, second), joining())
    assert result.decisions.impossible_count == 1
    waited_s = 6.0 if batch > 1 else 0.0
    assert result.records[0].ran_s[0] == pytest.approx(waited_s + 100 * ENCODE_S)


def test_a_worker_of_several_stages_takes_what_all_of_them_take() -> None:
    given = scenario(batch={"encode": 8, "diffuse": 4})
    assert given.slots([Stage.ENCODE]) == 8
    assert given.slots([Stage.ENCODE, Stage.DIFFUSE]) == 4
    assert given.slots(STAGES) == 1
