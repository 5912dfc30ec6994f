"""Growth that takes too long: room is made where that helps, else it is undone.

Nothing is undone that would leave nothing to serve, unless an old chain can serve again.
"""

from dataclasses import replace

from tridentserve.planner.attempts import Attempts, failed, refusal, stuck
from tridentserve.planner.pools import Attempt, Patience, PoolKey
from tridentserve.planner.protocols import Infeasible
from tridentserve.planner.rollout import Rollout


def expire(
    rollout: Rollout, attempts: Attempts, now: float, patience: Patience
) -> list[Infeasible]:
    """Deal with growth that takes too long: make room where that helps, else undo it."""
    refused = []
    for key, attempt in attempts.items():
        if attempt is None or failed(attempt, now):
            continue
        state, waited_s = rollout.state(key), now - attempt.since_s
        unplaced = state.unschedulable > 0 and waited_s >= patience.unschedulable_s
        if rollout.pending(key) <= 0 or not (unplaced or waited_s >= patience.start_s):
            continue
        if unplaced and state.insufficient and _make_room(rollout, attempts, attempt, now):
            attempts[key] = replace(attempt, since_s=now)
            continue
        if unplaced:
            refused.append(refusal(rollout, key, now, patience))
        attempts[key] = replace(attempt, since_s=now)
        if rollout.anything_serves() or _returning(rollout, key):
            if not unplaced:
                refused.append(refusal(rollout, key, now, patience))
            attempts[key] = replace(
                attempt,
                since_s=now,
                failed_until_s=now + patience.retry_s,
                kept=state.routable,
                gave_up=rollout.untouched(key),
            )
    return refused


def bring_back(rollout: Rollout, attempts: Attempts, now: float) -> bool:
    """Where nothing serves since the target failed, let an old chain serve again, and make room.

    True where that is the way to go; where there is no such chain, the target is tried anew.
    """
    lacking = [key for key, one in attempts.items() if failed(one, now) and rollout.untouched(key)]
    if not lacking or rollout.anything_serves():
        return False
    returning = {old: key for key in lacking for old in _returning(rollout, key)}
    for old, key in returning.items():
        if rollout.state(old).desired < 1:
            rollout.scale(old, 1, f"serves again, since {key.label} does not come up")
    if any(old.revision != rollout.revision for old in returning):
        for key in rollout.wants:
            rollout.retire(key, "of no use without the rest of its chain")
    if not returning:
        for key in lacking:
            attempts[key] = None
    return bool(returning)


def _make_room(rollout: Rollout, attempts: Attempts, attempt: Attempt, now: float) -> bool:
    """Whether room is on its way for a pod that the scheduler cannot place, or can be made."""
    key = attempt.pool
    if rollout.leaving_percent(key) > 0:
        return True
    if stuck(rollout, attempts, now):
        return False
    untouched = rollout.untouched(key)
    replacing = untouched and not attempt.gave_up and not rollout.progressing(key)
    if rollout.free_up(key, key.percent, replacing=replacing):
        return True
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
        return [max(same, key=lambda one: one.shape.fraction_percent)]
    for revision in rollout.revisions():
        pools = [one for one in rollout.olds if one.revision == revision]
        hosted = {stage for one in pools for stage in one.stages}
        if revision != rollout.revision and hosted >= rollout.needed:
            return pools
    return []
