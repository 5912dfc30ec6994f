"""What a request's time is made of, by arithmetic."""

from dataclasses import replace

import pytest
from tests.sim.worlds import (
    DECODE_S,
    ENCODE_S,
    STEP_S,
    STEPS,
    TAIL_S,
    Script,
    asks,
    decision,
    group,
    play,
    profile,
    scenario,
)

from tridentserve.domain.architecture import Architecture
from tridentserve.domain.dispatch import Action, Event, Resize, Resume, Start, StepFinished, Yield
from tridentserve.domain.ids import Epoch
from tridentserve.domain.profiles import Sample
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.state import State

ALONE_S = ENCODE_S + STEPS * STEP_S[1] + TAIL_S + DECODE_S
POOLS = [
    {"stages": ["encode"], "devices": 1, "workers": 1},
    {"stages": ["diffuse"], "devices": 4, "workers": 1},
    {"stages": ["decode"], "devices": 1, "workers": 1},
]


def test_a_request_alone_takes_its_stages_one_after_the_other() -> None:
    result = play(scenario(), asks(5.0), Script())
    (record,) = result.records
    assert record.ended_s == pytest.approx(5.0 + ALONE_S)
    assert record.ran_s == pytest.approx((ENCODE_S, STEPS * STEP_S[1] + TAIL_S, DECODE_S))
    assert record.waited_s == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("degree", [2, 4, 8])
def test_a_wider_group_takes_what_the_profile_says(degree: int) -> None:
    result = play(scenario(), asks(0.0), Script(degrees={Stage.DIFFUSE: degree}))
    (record,) = result.records
    expected = ENCODE_S + STEPS * STEP_S[degree] + TAIL_S + DECODE_S
    assert record.ended_s == pytest.approx(expected)
    assert record.degree == degree
    assert dict(result.usage.work)[Stage.DIFFUSE] == pytest.approx(
        degree * (STEPS * STEP_S[degree] + TAIL_S)
    )


def test_the_slow_down_stretches_work() -> None:
    result = play(scenario(world={"slow_down": 1.5}), asks(0.0), Script())
    assert result.records[0].ended_s == pytest.approx(1.5 * ALONE_S)


def test_a_hand_off_is_charged_between_workers_and_not_within_one() -> None:
    architecture = _architecture()
    truth = profile(architecture=architecture)
    apart = scenario(placement={"pools": POOLS}, world={"store": "redis"})
    shape = asks(0.0)[0].shape
    handed = [truth.handoff_bytes(stage, shape) for stage in (Stage.ENCODE, Stage.DIFFUSE)]
    cost = CostModel(truth)
    seconds = sum(cost.handoff_s("redis", nbytes) for nbytes in handed)
    assert seconds > 0
    result = play(apart, asks(0.0), Script(), truth)
    assert result.records[0].ended_s == pytest.approx(ALONE_S + seconds)
    together = play(scenario(world={"store": "redis"}), asks(0.0), Script(), truth)
    assert together.records[0].ended_s == pytest.approx(ALONE_S)


def _architecture() -> Architecture:
    from tridentserve.manifest.profile_files import builtin

    found = builtin("flux").architecture
    assert found is not None
    return found


@pytest.mark.parametrize(("prepared", "seconds"), [(True, 0.25), (False, 7.0)])
def test_a_group_is_set_up_before_it_works(prepared: bool, seconds: float) -> None:
    world = {"group_hot_s": 0.25, "group_cold_s": 7.0, "prepared_groups": prepared}
    result = play(scenario(world=world), asks(0.0), Script(degrees={Stage.DIFFUSE: 4}))
    expected = ENCODE_S + STEPS * STEP_S[4] + TAIL_S + DECODE_S
    assert result.records[0].ended_s == pytest.approx(expected + seconds)
    assert result.usage.overhead == pytest.approx(4 * seconds)


def test_a_group_that_was_used_before_is_hot_until_too_many_others_were() -> None:
    world = {"group_hot_s": 0.0, "group_cold_s": 7.0, "prepared_groups": False}
    pair = Script(degrees={Stage.DIFFUSE: 4})
    twice = play(scenario(world=world), asks(0.0, 90.0), pair)
    first, second = (one.ended_s or 0.0 for one in twice.records)
    assert first - 0.0 == pytest.approx(second - 90.0 + 7.0)
    none_kept = scenario(world=world | {"hot_groups": 0})
    cold = play(none_kept, asks(0.0, 90.0), Script(degrees={Stage.DIFFUSE: 4}))
    first, second = (one.ended_s or 0.0 for one in cold.records)
    assert first - 0.0 == pytest.approx(second - 90.0)


def test_a_decision_delays_what_it_starts() -> None:
    costs = decision(0.1, per_waiting_s=0.01, per_device_s=0.001).model_dump()
    result = play(scenario(decision=costs), asks(0.0), Script())
    each = 0.1 + 0.01 * 1 + 0.001 * 8
    assert result.records[0].ended_s == pytest.approx(ALONE_S + 3 * each)
    assert result.decisions.charged_s == pytest.approx(3 * each)


def test_decisions_are_made_one_at_a_time() -> None:
    costs = decision(1.0).model_dump()
    result = play(scenario(decision=costs), asks(0.0, 0.0), Script())
    first, second = sorted(one.ran_s[0] for one in result.records)
    assert (first, second) == pytest.approx((ENCODE_S + 1.0, ENCODE_S + 2.0))


def test_the_first_call_of_a_shape_warms_up_where_that_is_charged() -> None:
    truth = profile(first_shape_s=tuple((stage, 2.0) for stage in STAGES))
    result = play(scenario(world={"first_shapes": True}), asks(0.0, 90.0), Script(), truth)
    first, second = (one.ended_s or 0.0 for one in result.records)
    assert first == pytest.approx(ALONE_S + 6.0)
    assert second - 90.0 == pytest.approx(ALONE_S)


def test_a_batch_is_one_call_that_takes_as_long_as_its_sample() -> None:
    truth = profile()
    samples = (
        *truth.samples,
        Sample(
            stage=Stage.DIFFUSE,
            shape=asks(0.0)[0].shape,
            fixed_s=TAIL_S,
            step_s=3.0,
            batch=2,
        ),
    )
    batched = profile().__class__(name="b", source="t", samples=samples, steps=STEPS)
    one_device = {"pools": [{"stages": list(STAGES), "devices": 1, "workers": 1}]}
    given = scenario(batch=2, placement=one_device)
    result = play(given, asks(0.0, 0.0, 0.0), Script(batch=2), batched)
    spans = [one.ran_s[1] for one in result.records]
    assert sorted(spans)[-2:] == pytest.approx([3.0 * STEPS + TAIL_S] * 2)
    assert not result.decisions.impossible


# --- steps ----------------------------------------------------------------------------------------


def _resize_at(moment: float, degree: int) -> Script:
    """Diffuse on one device; at a moment, ask for more."""

    def more(state: State, event: Event, now: float) -> list[Action]:
        if now != moment:
            return []
        (worker,) = state.workers.values()
        (segment,) = state.running(worker.id)
        return [
            Resize(
                segment=segment.id,
                devices=worker.devices[:degree],
                strategy=group(degree),
                epoch=Epoch(segment.epoch + 1),
                reason="test",
            )
        ]

    return Script(more=more)


def test_a_resize_takes_effect_at_the_next_step_and_is_charged() -> None:
    # Steps of the first request end at 2.5, 4.5, 6.5 …; the second one's arrival asks at 5.
    script = _resize_at(5.0, 4)
    world = {"resize_s": 0.125, "group_hot_s": 0.25}
    result = play(scenario(world=world), asks(0.0, 5.0), script)
    after = 0.125 + 0.25 + (STEPS - 3) * STEP_S[4] + TAIL_S + DECODE_S
    assert result.records[0].ended_s == pytest.approx(6.5 + after)
    assert result.records[0].degree == 4
    (step,) = [event for _, event in script.events if isinstance(event, StepFinished)]
    assert step.step == 3
    assert result.decisions.resizes == 1
    assert not result.decisions.impossible


def test_a_resize_in_the_last_step_changes_nothing() -> None:
    script = _resize_at(19.5, 4)
    result = play(scenario(), asks(0.0, 19.5), script)
    assert result.records[0].ended_s == pytest.approx(ALONE_S)
    assert not [event for _, event in script.events if isinstance(event, StepFinished)]


def test_a_segment_that_yields_gives_its_devices_back_and_goes_on_where_it_stopped() -> None:
    def more(state: State, event: Event, now: float) -> list[Action]:
        (worker,) = state.workers.values()
        if now == 5.0:
            (segment,) = state.running(worker.id)
            return [Yield(segment=segment.id, epoch=Epoch(segment.epoch + 1), reason="test")]
        if now == 50.0:
            (parked,) = state.parked.values()
            devices = worker.devices[4:6]
            back = Epoch(parked.epoch + 1)
            resumed = type(parked)(
                id=parked.id,
                worker=worker.id,
                stage=parked.stage,
                devices=devices,
                strategy=group(2),
                requests=parked.requests,
                epoch=back,
            )
            return [Resume(segment=resumed, reason="test")]
        return []

    script = Script(more=more)
    result = play(scenario(world={"resize_s": 0.5}), asks(0.0, 5.0, 50.0), script)
    record = result.records[0]
    assert record.ended_s == pytest.approx(50.0 + 0.5 + (STEPS - 3) * STEP_S[2] + TAIL_S + DECODE_S)
    assert record.waited_s[1] == pytest.approx(50.0 - 6.5)
    assert (result.decisions.yields, result.decisions.impossible_count) == (1, 0)


def test_a_boundary_is_told_and_does_not_stop_the_segment() -> None:
    class Marking(Script):
        def _starts(self, state: State) -> list[Action]:
            return [
                replace(one, segment=replace(one.segment, boundary=4))
                for one in super()._starts(state)
                if isinstance(one, Start)
            ]

    script = Marking()
    result = play(scenario(), asks(0.0), script)
    assert result.records[0].ended_s == pytest.approx(ALONE_S)
    ((now, event),) = [one for one in script.events if isinstance(one[1], StepFinished)]
    assert isinstance(event, StepFinished)
    assert event.step == 4
    assert now == pytest.approx(ENCODE_S + 8.0)
