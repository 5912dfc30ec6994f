"""Target pools grow as far as there is room, the neediest first; for it old workers make room."""

from tridentserve.planner.attempts import Attempts, failed, refusal, undone
from tridentserve.planner.making_room import free_up
from tridentserve.planner.pools import Patience, PoolKey
from tridentserve.planner.protocols import Infeasible
from tridentserve.planner.rollout import Rollout


def grow(rollout: Rollout, attempts: Attempts, now: float, patience: Patience) -> list[Infeasible]:
    """Raise target pools as far as there is room; free room for the neediest that lacks it."""
    planned = {
        key: max(rollout.state(key).desired, rollout.state(key).pods) for key in rollout.wants
    }
    alone = _lacks_a_stage(rollout, attempts)
    growing = [
        key
        for key, wanted in rollout.wants.items()
        if rollout.state(key).desired < wanted
        and (rollout.untouched(key) or not alone)
        and not failed(attempts[key], now)
        and not rollout.yields(key)
    ]
    free = {key: rollout.free_percent(key) for key in growing}
    short: dict[bool, PoolKey] = {}
    waiting = list(growing)
    while waiting:
        key = min(waiting, key=lambda one: _need(rollout, one, planned[one]))
        kind = key.has_devices
        room = free[key]
        if planned[key] >= rollout.wants[key]:
            waiting.remove(key)
        elif room is None or (room >= key.percent and kind not in short):
            planned[key] += 1
            for other in growing:
                left = free[other]
                if left is not None and other.has_devices == kind:
                    free[other] = left - key.percent
        else:
            short.setdefault(kind, key)
            waiting.remove(key)
    for key in growing:
        grown = min(planned[key], rollout.wants[key])
        rollout.scale(key, max(grown, rollout.state(key).desired), f"{rollout.wants[key]} wanted")
    return [
        refused
        for key in short.values()
        for refused in _free_for(
            rollout, attempts, key, free[key] or 0, planned[key], now, patience
        )
    ]


def _lacks_a_stage(rollout: Rollout, attempts: Attempts) -> bool:
    """Whether an old chain serves in the place of a target of which a stage gave up.

    What the others of the target would grow by, the old chain would lack.
    """
    return (
        any(
            one is not None and one.gave_up and rollout.untouched(key)
            for key, one in attempts.items()
        )
        and rollout.anything_serves()
        and not rollout.serves(rollout.revision)
    )


def _free_for(
    rollout: Rollout,
    attempts: Attempts,
    key: PoolKey,
    free: int,
    planned: int,
    now: float,
    patience: Patience,
) -> list[Infeasible]:
    """Have old workers make room for one more than planned; refuse it where none can."""
    lacking = key.percent - free - rollout.leaving_percent(key)
    if lacking <= 0:
        return []
    attempt = attempts[key]
    gave_up = attempt is not None and attempt.gave_up
    hopeless = bool(undone(rollout, attempts, now))
    if not hopeless:
        untouched = planned == 0 and rollout.untouched(key)
        replacing = untouched and not gave_up and not rollout.progressing(key)
        free_up(rollout, key, lacking, replacing=replacing)
    if rollout.leaving_percent(key) or (rollout.olds_hold(key) and not hopeless and not gave_up):
        return []
    return [refusal(rollout, key, planned, now, patience)]


def _need(rollout: Rollout, key: PoolKey, planned: int) -> tuple[bool, float, PoolKey]:
    """Whose growth comes first: stages without a worker, then who has the least of its wish."""
    return (not (planned == 0 and rollout.untouched(key)), planned / rollout.wants[key], key)
