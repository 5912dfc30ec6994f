"""Transitions from any plan to any other on a simulated cluster, whatever goes wrong meanwhile."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planner.simulated_cluster import (
    PATIENCE,
    SIZES,
    began,
    chain_percent,
    operator,
    percent,
    plan,
)

from tridentserve.domain.ids import Revision
from tridentserve.domain.stages import Stage
from tridentserve.planner.pools import PoolKey, PoolState, Room
from tridentserve.planner.transitions import next_steps


@settings(max_examples=60, deadline=None)
@given(
    first=SIZES,
    second=SIZES,
    third=SIZES,
    revisions=st.lists(st.sampled_from("ab"), min_size=2, max_size=2),
    spare=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_a_chain_always_serves_where_one_fits_beside_the_plan(
    first: dict[Stage, tuple[int, int]],
    second: dict[Stage, tuple[int, int]],
    third: dict[Stage, tuple[int, int]],
    revisions: list[str],
    spare: int,
    seed: int,
) -> None:
    plans = [plan(first), plan(second), plan(third)]
    limit = max(percent(one) for one in plans) + max(chain_percent(one) for one in plans)
    limit += spare * 50
    op = began(operator(limit, seed), plans[0], "a")

    for target, revision in zip(plans[1:], revisions, strict=True):
        op.run(target, revision, 300)
        assert op.settled(target, revision)

    assert all(op.cluster.served)
    assert op.cluster.sins == []
    assert op.cluster.peak <= limit


@settings(max_examples=60, deadline=None)
@given(
    first=SIZES,
    second=SIZES,
    same=st.booleans(),
    spare=st.integers(0, 2),
    seed=st.integers(0, 99),
    known=st.booleans(),
)
def test_it_converges_without_any_room_to_spare(
    first: dict[Stage, tuple[int, int]],
    second: dict[Stage, tuple[int, int]],
    same: bool,
    spare: int,
    seed: int,
    known: bool,
) -> None:
    before, after = plan(first), plan(second)
    limit = max(percent(before), percent(after)) + spare * 50
    op = began(operator(limit, seed, gpu=known), before, "a")

    op.run(after, "a" if same else "b", 900)

    assert op.settled(after, "a" if same else "b")
    assert op.cluster.sins == []
    if known:
        assert op.cluster.peak <= limit


@settings(max_examples=60, deadline=None)
@given(
    first=SIZES, second=SIZES, same=st.booleans(), spare=st.integers(0, 6), seed=st.integers(0, 99)
)
def test_whoever_has_a_worker_yields_to_a_stage_without_one_where_nobody_counts_room(
    first: dict[Stage, tuple[int, int]],
    second: dict[Stage, tuple[int, int]],
    same: bool,
    spare: int,
    seed: int,
) -> None:
    before, after = plan(first), plan(second)
    room = max(chain_percent(before), chain_percent(after)) + spare * 50
    op = operator(room, seed, gpu=False)

    op.run(before, "a", 200)
    assert op.cluster.serves()
    op.run(after, "a" if same else "b", 400)

    assert op.cluster.serves()
    assert op.cluster.sins == []


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999))
def test_whatever_crashes_restarts_and_changes_it_ends_where_it_should(
    data: st.DataObject, seed: int
) -> None:
    rng = Random(seed)
    limit = data.draw(st.sampled_from([None, 600, 900]))
    op = operator(limit, seed)
    target, revision = plan(data.draw(SIZES)), "a"
    for _ in range(data.draw(st.integers(1, 4))):
        target, revision = plan(data.draw(SIZES)), data.draw(st.sampled_from("abc"))
        for _ in range(rng.randrange(40)):
            op.cluster.crash()
            dies = rng.choice([None, None, 0, 1, 2])
            op.tick(target, revision, dies_after=dies)

    if limit is not None:
        assert op.cluster.peak <= limit
        op.room = Room(gpu_percent=max(limit, percent(target)))
        op.cluster.capacity = max(limit, percent(target))
    op.run(target, revision, 900)

    assert op.settled(target, revision)
    assert op.cluster.sins == []


@settings(max_examples=30, deadline=None)
@given(
    first=SIZES,
    second=SIZES,
    same=st.booleans(),
    spare=st.sampled_from([0, 50, 600]),
    lag=st.lists(st.booleans(), min_size=8, max_size=8),
    seed=st.integers(0, 99),
)
def test_pods_seen_a_moment_late_cost_no_running_worker(
    first: dict[Stage, tuple[int, int]],
    second: dict[Stage, tuple[int, int]],
    same: bool,
    spare: int,
    lag: list[bool],
    seed: int,
) -> None:
    """The operator's view of Deployments is newer than that of pods, or the other way round."""
    before, after, revision = plan(first), plan(second), "a" if same else "b"
    limit = max(percent(before), percent(after)) + spare
    op = began(operator(limit, seed), before, "a")
    older: dict[PoolKey, PoolState] = {}
    for turn in range(600):
        if op.settled(after, revision):
            break
        newer = {state.key: state for state in op.cluster.observe()}
        late = lag[turn % len(lag)]
        seen = tuple(
            replace(older.get(key, state), desired=state.desired) if late else state
            for key, state in newer.items()
        )
        older = newer
        steps, op.memory = next_steps(
            seen, after, Revision(revision), op.room, op.memory, op.cluster.now, PATIENCE
        )
        for step in steps:
            op.cluster.carry_out(step)
        op.cluster.pass_time()

    assert op.settled(after, revision)
    assert [sin for sin in op.cluster.sins if "not drained" in sin] == []
