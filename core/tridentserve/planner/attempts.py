"""Growth of the pools that the plan wants, as it is watched from look to look.

Pods that are asked for are placed or not, and come up or not; the moments since which none was and
none did are all that is remembered. What is done about growth that takes too long, is decided in
`expiry`.
"""

from dataclasses import replace

from tridentserve.planner.pools import Attempt, Patience, PoolKey, TransitionMemory
from tridentserve.planner.protocols import Infeasible
from tridentserve.planner.rollout import Rollout

Attempts = dict[PoolKey, Attempt | None]
"""By target pool; None where nothing is under way."""


def watched(rollout: Rollout, key: PoolKey, memory: TransitionMemory, now: float) -> Attempt | None:
    """The growth of a target pool, with the moments from which its deadlines count."""
    state = rollout.state(key)
    known = next(
        (one for one in memory.attempts if one.pool == key),
        Attempt(
            pool=key,
            routable=state.routable,
            since_s=now,
            held_percent=rollout.held_percent(key),
        ),
    )
    if not failed(known, now):
        # Nothing is under way. That it once gave up is kept until it has come up after all.
        if rollout.pending(key) <= 0 and (not known.gave_up or rollout.satisfied(key.stages)):
            return None
        known = replace(known, failed_until_s=None)
    came_up = state.routable > known.routable or rollout.loading(key) <= 0
    placed = state.unschedulable < known.unplaced or known.unplaced_s is None
    unplaced_s = now if placed else known.unplaced_s
    return replace(
        known,
        routable=state.routable,
        since_s=now if came_up else known.since_s,
        overdue=known.overdue and not came_up,
        unplaced=state.unschedulable,
        unplaced_s=unplaced_s if state.unschedulable > 0 else None,
    )


def failed(attempt: Attempt | None, now: float) -> bool:
    """Whether growth was undone, and is not to be tried again yet."""
    return attempt is not None and (attempt.failed_until_s or 0.0) > now


def undone(rollout: Rollout, attempts: Attempts, now: float) -> list[PoolKey]:
    """Target pools that were undone with none of them left to come up, and whose stage has none.

    No old worker should go for the others of the target meanwhile.
    """
    return [
        key
        for key, one in attempts.items()
        if one is not None and failed(one, now) and not one.kept and rollout.untouched(key)
    ]


def refusal(rollout: Rollout, key: PoolKey, had: int, now: float, patience: Patience) -> Infeasible:
    """One worker more than were `had` of a pool and of old ones of its shape was too many."""
    olds = [rollout.state(one) for one in rollout.olds if one.shape == key.shape]
    return Infeasible(
        shape=key.shape,
        revision=key.revision,
        workers=had + sum(old.routable + old.draining for old in olds) + 1,
        until_s=now + patience.retry_s,
    )
