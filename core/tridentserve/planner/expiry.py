"""Growth that takes too long: room is made where that helps, else it is undone.

Nothing is undone that would leave nothing to serve, unless an old chain can serve again.
"""

from collections.abc import Iterable
from dataclasses import replace

from tridentserve.planner.attempts import Attempts, failed, refusal, undone
from tridentserve.planner.making_room import free_up
from tridentserve.planner.pools import Attempt, Patience, PoolKey
from tridentserve.planner.protocols import Infeasible
from tridentserve.planner.rollout import Rollout


def expire(
    rollout: Rollout, attempts: Attempts, now: float, patience: Patience
) -> list[Infeasible]:
    """Deal with growth that takes too long: make room where that helps, else undo it."""
    refused = []
    for key, attempt in attempts.items():
        if attempt is None or rollout.pending(key) <= 0:
            continue
        state = rollout.state(key)
        stalled = now - attempt.since_s >= patience.start_s
        unplaced = _is_unplaced(attempt, now, patience)
        if unplaced and state.insufficient and _make_room(rollout, attempts, attempt, now):
            unplaced, attempt = False, replace(attempt, unplaced_s=now)
        if stalled:
            attempt = replace(attempt, since_s=now, overdue=True)
        if unplaced:
            attempt = replace(attempt, unplaced_s=now)
        attempts[key] = attempt
        # Those that load go on where only others found no place; where they stalled they go too.
        kept = state.routable if stalled else state.routable + rollout.loading(key)
        undoing = (stalled or unplaced) and (
            rollout.anything_serves() or bool(_returning(rollout, key))
        )
        if undoing or unplaced:
            refused.append(refusal(rollout, key, kept + state.draining, now, patience))
        if undoing:
            others = undone(rollout, attempts, now)
            attempts[key] = replace(
                attempt,
                failed_until_s=now + patience.retry_s,
                kept=kept,
                overdue=False,
                # Not where nothing was done for it, since another could not come up.
                gave_up=attempt.gave_up
                or (not kept and rollout.untouched(key) and (stalled or not others)),
            )
            _retry_together(attempts, undone(rollout, attempts, now), now + patience.retry_s)
    return refused


def _retry_together(attempts: Attempts, keys: Iterable[PoolKey], until_s: float) -> None:
    """Have pools tried again together: one by one, each would wait for the others in vain."""
    for key in keys:
        attempt = attempts[key]
        assert attempt is not None
        attempts[key] = replace(attempt, failed_until_s=until_s)


def _is_unplaced(attempt: Attempt, now: float, patience: Patience) -> bool:
    """Whether the scheduler has had its time; not where the surplus is leaving already."""
    if failed(attempt, now) or attempt.unplaced_s is None:
        return False
    return now - attempt.unplaced_s >= patience.unschedulable_s


def bring_back(rollout: Rollout, attempts: Attempts, now: float) -> bool:
    """Where nothing serves since the target failed, let an old chain serve again, and make room.

    True where that is the way to go; where there is no such chain, the target is tried anew.
    """
    lacking = undone(rollout, attempts, now)
    if not lacking or rollout.anything_serves():
        return False
    returning = {old: key for key in lacking for old in _returning(rollout, key)}
    for old, key in returning.items():
        if rollout.state(old).desired < 1:
            rollout.scale(old, 1, f"serves again, since {key.label} does not come up")
    if any(old.revision != rollout.revision for old in returning):
        until_s = max(one.failed_until_s or now for one in attempts.values() if one is not None)
        for key in rollout.wants:
            rollout.retire(key, "of no use without the rest of its chain")
            attempt = attempts[key]
            if attempt is not None and rollout.untouched(key):
                attempts[key] = replace(attempt, failed_until_s=until_s, kept=0, gave_up=True)
    if not returning:
        for key in lacking:
            attempts[key] = None
    return bool(returning)


def _make_room(rollout: Rollout, attempts: Attempts, attempt: Attempt, now: float) -> bool:
    """Whether room is on its way for a pod that the scheduler cannot place, or can be made."""
    key = attempt.pool
    if rollout.leaving_percent(key) > 0:
        return True
    if undone(rollout, attempts, now):
        return False
    untouched = rollout.untouched(key)
    replacing = untouched and not attempt.gave_up and not rollout.progressing(key)
    wasted = rollout.wasted(key, attempt.held_percent)
    if not wasted and free_up(rollout, key, key.percent, replacing=replacing):
        return True
    if not (rollout.anything_serves() or rollout.placed(key) or _returning(rollout, key)):
        return rollout.progressing(key) or rollout.give(key)
    # One more worker of a stage that is up already has time until the old pools go.
    return rollout.progressing(key) or (not untouched and rollout.olds_hold(key))


def _returning(rollout: Rollout, key: PoolKey) -> list[PoolKey]:
    """Old pools that could serve again in the place of a target pool that does not come up."""
    same = [
        one
        for one in rollout.olds
        if one.revision == rollout.revision and set(one.stages) & set(key.stages)
    ]
    if same:
        hosts = [[one for one in same if stage in one.stages] for stage in key.stages]
        largest = [max(one, key=lambda one: one.shape.fraction_percent) for one in hosts if one]
        return list(dict.fromkeys(largest))
    for revision in rollout.old_revisions():
        pools = [one for one in rollout.olds if one.revision == revision]
        hosted = {stage for one in pools for stage in one.stages}
        if hosted >= rollout.needed:
            return pools
    return []
