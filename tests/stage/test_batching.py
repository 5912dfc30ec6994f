"""Which Runs go together: properties that hold for any arrivals, in virtual time."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tridentserve.domain.ids import ContentDigest, SegmentId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.domain.work import WorkKey
from tridentserve.stage.batching import BatchKey, Choice, Waiting, Window, choose


def _key(
    side: int = 64,
    *,
    stage: Stage = Stage.DIFFUSE,
    steps: int = 4,
    guidance: float = 5.0,
    strategy: Strategy = SINGLE,
) -> BatchKey:
    shape = Shape(height=side, width=side)
    work = WorkKey(digest=ContentDigest("d"), shape=shape, guidance=guidance)
    return BatchKey(stage=stage, work=work, steps=steps, strategy=strategy)


def _waiting(number: int, key: BatchKey, since_s: float = 0.0) -> Waiting:
    return Waiting(id=SegmentId(str(number)), key=key, since_s=since_s)


KEYS = st.builds(_key, st.sampled_from([64, 128, 256]), stage=st.sampled_from(STAGES))
WINDOWS = st.builds(
    Window,
    max_size=st.integers(1, 4),
    max_wait_s=st.sampled_from([0.0, 0.5, 2.0]),
)


@st.composite
def _lists(draw: st.DrawFn) -> list[Waiting]:
    gaps = draw(st.lists(st.sampled_from([0.0, 0.1, 0.7]), max_size=8))
    now, found = 0.0, []
    for number, gap in enumerate(gaps):
        now += gap
        found.append(_waiting(number, draw(KEYS), now))
    return found


@given(_lists(), WINDOWS, st.floats(0, 20))
def test_a_batch_has_one_key_is_in_order_and_not_too_large(
    waiting: list[Waiting], window: Window, now: float
) -> None:
    choice = choose(waiting, window, now)

    chosen = [run for run in waiting if run.id in choice.batch]
    assert tuple(run.id for run in chosen) == choice.batch
    assert len({run.key for run in chosen}) <= 1
    assert len(chosen) <= window.max_size


@given(_lists(), WINDOWS, st.floats(0, 20))
def test_who_is_not_chosen_is_younger_than_all_of_its_key_that_are(
    waiting: list[Waiting], window: Window, now: float
) -> None:
    choice = choose(waiting, window, now)

    for run in waiting:
        if run.id not in choice.batch:
            later = waiting[waiting.index(run) + 1 :]
            assert not [
                other for other in later if other.id in choice.batch and other.key == run.key
            ]


@given(_lists(), WINDOWS, st.floats(0, 20))
def test_the_oldest_run_always_goes_once_its_window_has_closed(
    waiting: list[Waiting], window: Window, now: float
) -> None:
    choice = choose(waiting, window, now)

    if waiting and now >= waiting[0].since_s + window.max_wait_s:
        assert waiting[0].id in choice.batch


@given(_lists(), WINDOWS, st.floats(0, 20))
def test_asked_again_at_the_time_it_named_it_chooses(
    waiting: list[Waiting], window: Window, now: float
) -> None:
    choice = choose(waiting, window, now)

    if choice.batch or not waiting:
        assert choice.wake_at_s is None
    else:
        assert choice.wake_at_s is not None
        assert choice.wake_at_s > now
        assert choose(waiting, window, choice.wake_at_s).batch


@dataclass
class _Trace:
    """When each Run started, as a worker with one engine would do it."""

    started_s: dict[SegmentId, float]
    overtaken: dict[SegmentId, int]


def _simulate(arrivals: list[Waiting], window: Window, call_s: float) -> _Trace:
    now, rest = 0.0, list(arrivals)
    waiting: list[Waiting] = []
    trace = _Trace({}, {run.id: 0 for run in arrivals})
    while waiting or rest:
        while rest and rest[0].since_s <= now:
            waiting.append(rest.pop(0))
        choice = choose(waiting, window, now)
        if choice.batch:
            oldest = waiting[0]
            if oldest.id not in choice.batch:
                trace.overtaken[oldest.id] += 1
            for segment in choice.batch:
                trace.started_s[segment] = now
            waiting = [run for run in waiting if run.id not in choice.batch]
            now += call_s
            continue
        times = [time for time in (choice.wake_at_s, rest[0].since_s if rest else None) if time]
        now = min(times) if times else now
    return trace


@given(_lists(), WINDOWS, st.sampled_from([0.1, 1.0, 5.0]))
def test_everybody_runs_and_nobody_waits_for_more_than_the_window_and_those_before(
    arrivals: list[Waiting], window: Window, call_s: float
) -> None:
    trace = _simulate(arrivals, window, call_s)

    assert set(trace.started_s) == {run.id for run in arrivals}
    for position, run in enumerate(arrivals):
        # At worst every older Run took a call of its own, and one more was under way.
        bound = run.since_s + window.max_wait_s + (position + 1 + len(arrivals)) * call_s
        assert trace.started_s[run.id] <= bound


def test_a_stream_of_full_groups_cannot_keep_another_shape_waiting() -> None:
    small, large = _key(64), _key(256)
    # Two small ones come for every call that takes as long; one large one came first.
    arrivals = [_waiting(0, large)]
    arrivals += [_waiting(n, small, 0.001 + 0.5 * (n // 2)) for n in range(1, 60)]

    trace = _simulate(arrivals, Window(max_size=2, max_wait_s=1.0), call_s=0.5)

    assert trace.started_s[SegmentId("0")] <= 1.5


def test_equal_keys_go_together_whatever_lies_between() -> None:
    waiting = [_waiting(0, _key(64)), _waiting(1, _key(128)), _waiting(2, _key(64))]

    choice = choose(waiting, Window(max_size=4, max_wait_s=1.0), now=1.0)

    assert choice.batch == ("0", "2")


def test_other_steps_guidance_strategy_or_stage_never_share_a_call() -> None:
    keys = [
        _key(),
        _key(steps=5),
        _key(guidance=4.0),
        _key(strategy=Strategy(cfg=2)),
        _key(stage=Stage.ENCODE),
        _key(128),
    ]
    waiting = [_waiting(number, key) for number, key in enumerate(keys)]

    assert choose(waiting, Window(max_size=8, max_wait_s=0.0), now=0.0).batch == ("0",)


def test_a_full_list_waits_for_nobody() -> None:
    waiting = [_waiting(0, _key(64)), _waiting(1, _key(128))]
    window = Window(max_size=2, max_wait_s=3600.0)

    assert choose(waiting, window, now=0.0).batch == ("0",)
    assert choose(waiting[:1], window, now=0.0) == Choice(wake_at_s=3600.0)


def test_a_full_list_of_one_stage_does_not_hurry_another() -> None:
    encode = _waiting(0, _key(stage=Stage.ENCODE))
    diffuse = [_waiting(1, _key(), 0.1), _waiting(2, _key(), 0.1)]

    choice = choose([encode, *diffuse], Window(max_size=2, max_wait_s=1.0), now=0.1)

    assert choice.batch == ("1", "2")


def test_size_one_never_waits() -> None:
    window = Window(max_size=1, max_wait_s=3600.0)

    assert choose([_waiting(0, _key())], window, now=0.0).batch == ("0",)


def test_with_nobody_waiting_there_is_no_time_to_wake_at() -> None:
    assert choose([], Window(max_size=2, max_wait_s=1.0), now=5.0) == Choice()
