"""Growth of the pools that the plan wants, as it is watched from look to look.

Pods that are asked for either come up or they do not; the moment since which nothing came is all
that is remembered. What is done about growth that takes too long is decided in `expiry`.
"""

from dataclasses import replace

from tridentserve.planner.pools import Attempt, Patience, PoolKey, TransitionMemory
from tridentserve.planner.protocols import Infeasible
from tridentserve.planner.rollout import Rollout

Attempts = dict[PoolKey, Attempt | None]
"""By target pool; None where nothing is under way."""


def watched(rollout: Rollout, key: PoolKey, memory: TransitionMemory, now: float) -> Attempt | None:
    """The growth of a target pool, with the moment from which its deadline counts."""
    known = next((one for one in memory.attempts if one.pool == key), None)
    routable = rollout.state(key).routable
    if known is not None and failed(known, now):
        return replace(known, routable=routable)
    if rollout.pending(key) <= 0:
        # Nothing is under way. That it once gave up is kept until it has come up after all.
        if known is None or not known.gave_up or rollout.satisfied(key.stages):
            return None
        return replace(known, routable=routable, since_s=now, failed_until_s=None)
    if known is None:
        return Attempt(pool=key, routable=routable, since_s=now)
    if routable > known.routable or known.failed_until_s is not None:
        return replace(known, routable=routable, since_s=now, failed_until_s=None)
    return replace(known, routable=routable)


def failed(attempt: Attempt | None, now: float) -> bool:
    """Whether growth was undone, and is not to be tried again yet."""
    return attempt is not None and (attempt.failed_until_s or 0.0) > now


def stuck(rollout: Rollout, attempts: Attempts, now: float) -> bool:
    """Whether a stage of the target cannot come up, so that no old worker should go for others."""
    return any(failed(one, now) and rollout.untouched(key) for key, one in attempts.items())


def refusal(rollout: Rollout, key: PoolKey, now: float, patience: Patience) -> Infeasible:
    """One worker more than there are of a shape, whatever their revision, was too many."""
    alike = [key, *(old for old in rollout.olds if old.shape == key.shape)]
    there = sum(rollout.state(one).routable + rollout.state(one).draining for one in alike)
    return Infeasible(label=key.shape.label, workers=there + 1, until_s=now + patience.retry_s)
