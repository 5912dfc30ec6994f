"""Where there is no room beside the old workers, which of them leave for new ones.

Until the target serves, only for the first worker of each of its stages, so that a revision that
never starts costs no more; then a share at a time.
"""

from tridentserve.planner.pools import PoolKey
from tridentserve.planner.rollout import IN_TRANSIT, Rollout


def free_up(rollout: Rollout, key: PoolKey, need_percent: int, *, replacing: bool) -> int:
    """Mean old workers to go until `need_percent` of a pool's kind would be free.

    Unready ones first, then spare ones, of those that serve no more at a time than
    `IN_TRANSIT`; with `replacing`, and where there is neither, also the last that serve.
    Returns what is freed, in percent, 0 where nothing can be.
    """
    freed = 0
    while freed < need_percent:
        victim = _unready(rollout, key) or _victim(rollout, key, replacing=False)
        if victim is None and replacing and not freed:
            victim = _victim(rollout, key, replacing=True)
        if victim is None:
            if not freed:
                _break_up(rollout, key)
            break
        rollout.drain_one(victim, f"its room is needed for {key.label}")
        freed += victim.percent
    return freed


def _break_up(rollout: Rollout, key: PoolKey) -> None:
    """Mean the first stage of an old revision to go that stands before workers of a kind.

    Where the target serves and lacks room, nothing is on its way, and no worker can be spared
    of a revision whose encoder holds room of the other kind, which nobody needs.
    """
    if (
        not rollout.serves(rollout.revision)
        or rollout.coming_percent(key)
        or rollout.leaving_percent(key)
    ):
        return
    for revision in rollout.old_revisions():
        pools = [
            one for one in rollout.olds if one.revision == revision and rollout.state(one).holds
        ]
        if any(one.has_devices == key.has_devices for one in pools):
            for one in pools:
                if rollout.earlier_gone(one):
                    rollout.retire(one, f"room is needed for {key.label}")
            return


def _unready(rollout: Rollout, key: PoolKey) -> PoolKey | None:
    """An old pool of a kind with a pod that is not ready."""
    return next(
        (
            one
            for one in rollout.olds
            if one.has_devices == key.has_devices
            and not rollout.state(one).shrinking
            and not rollout.restarts(one.revision)
            and rollout.has_unready(one)
        ),
        None,
    )


def _victim(rollout: Rollout, key: PoolKey, *, replacing: bool) -> PoolKey | None:
    """The old pool of a kind to take a routable worker from."""
    candidates = [
        one
        for one in rollout.olds
        if one.has_devices == key.has_devices
        and rollout.left(one) > 0
        and not rollout.state(one).shrinking
        and (
            replacing
            or (
                _deserves(rollout, key) and _can_spare(rollout, one) and _can_wait_for(rollout, one)
            )
        )
    ]
    return max(
        candidates,
        key=lambda one: (bool(set(one.stages) & set(key.stages)), rollout.left(one), one),
        default=None,
    )


def _can_spare(rollout: Rollout, key: PoolKey) -> bool:
    """Whether a chain is left, or none is lost, when one worker of an old pool goes."""
    old = key.revision != rollout.revision
    if old and not rollout.serves(key.revision) and not rollout.restarts(key.revision):
        return True
    if (
        rollout.other_serves(key.revision)
        and rollout.earlier_gone(key)
        and (not old or rollout.dispensable(key.revision))
    ):
        return True
    return all(
        rollout.covered(key.revision, stage) > 1 for stage in key.stages if stage in rollout.needed
    )


def _deserves(rollout: Rollout, key: PoolKey) -> bool:
    """Until the target has a chain, ready workers leave for the first of its stages only."""
    return (
        not rollout.anything_serves()
        or rollout.serves(rollout.revision)
        or (rollout.untouched(key) and not rollout.loading(key))
    )


def _can_wait_for(rollout: Rollout, key: PoolKey) -> bool:
    """Whether so little is on its way down or up that one more worker may leave for another."""
    if not rollout.anything_serves():
        return True
    moving = rollout.coming_percent(key) + rollout.leaving_percent(key)
    total = moving + rollout.ready_percent(key)
    return moving == 0 or moving + key.percent <= IN_TRANSIT * total
