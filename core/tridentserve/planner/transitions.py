"""From the pools that are to the pools that should be, by steps that are each safe by themselves.

Level-based: every call looks at what is observed now and answers with what can be done now. There
is no stored list of steps to lose, so an operator that restarts in the middle of anything goes on
where it was; `TransitionMemory` holds little but the moments from which deadlines are counted.

| step | what the operator does | safe because |
| --- | --- | --- |
| `SetReplicas`, more | raises `spec.replicas`, creating the Deployment | room was counted |
| `MarkDraining` | labels pods of a pool, at least so many | a chain is left; what runs finishes |
| `UnmarkDraining` | takes labels off, beyond so many | the pods serve again |
| `SetReplicas`, fewer | lowers `spec.replicas` | by no more than the pods that are labelled |
| `RemovePool` | deletes the Deployment | it has no pod, and nothing to go back to |
| `Wait` | looks again, at `until_s` at the latest | nothing is done |

A *target* pool is one that the plan wants, of the current revision; every other pool is *old*.

| situation | what happens |
| --- | --- |
| the target lacks workers, there is room | they surge, those first whose stage has none |
| a target pool has too many | the surplus drains; too few again: its labels come off |
| an old pool, its stages are satisfied | it drains. Of another revision: only beside a new |
| | chain, encode before diffuse before decode, each once the one before is gone: an encoder |
| | leaves when its journeys have ended, so these end on the content that they began on |
| the target lacks workers, no room | an old worker drains, one at a time, never the last of a |
| | stage of the only revision that serves |
| that last one stands in the way | it is replaced: the stage has no worker meanwhile, and the |
| | router holds the queue. Of another revision: its whole chain goes, being broken anyway |
| no room, and nothing old to take | `Infeasible`, at once |
| a pod cannot be placed in time | where room would help, an old worker drains (as without room); |
| | else the growth is undone: `Infeasible`, and another try after `retry_s` |
| a pod does not become ready in time | undone likewise, where something else serves |
| undone, and nothing serves any more | an old chain whose Deployments are still there comes back |
| nothing serves and nothing could | pods are left to wait: taking them away would help nobody |
| suspended | everything drains, then goes: encode before diffuse before decode, as above |

While a new revision cannot come up, the old one keeps the size that it has.
"""

from dataclasses import replace

from tridentserve.domain.ids import Revision
from tridentserve.domain.plans import PlacementPlan
from tridentserve.planner.pools import (
    NO_MEMORY,
    Attempt,
    MarkDraining,
    Patience,
    PoolKey,
    PoolState,
    RemovePool,
    Room,
    SetReplicas,
    Step,
    TransitionMemory,
    UnmarkDraining,
    Wait,
)
from tridentserve.planner.protocols import Infeasible
from tridentserve.planner.rollout import Rollout

__all__ = [
    "NO_MEMORY",
    "Attempt",
    "MarkDraining",
    "Patience",
    "PoolKey",
    "PoolState",
    "RemovePool",
    "Room",
    "SetReplicas",
    "Step",
    "TransitionMemory",
    "UnmarkDraining",
    "Wait",
    "next_steps",
]

_DEFAULT = Patience()


def next_steps(
    observed: tuple[PoolState, ...],
    target: PlacementPlan,
    revision: Revision,
    room: Room,
    memory: TransitionMemory,
    now: float,
    patience: Patience = _DEFAULT,
) -> tuple[tuple[Step, ...], TransitionMemory]:
    """What can be done now, in order; carrying out only a beginning of it is safe too.

    Args:
        observed: every pool of the pipeline, whatever its revision, that has a Deployment or pods.
        target: pools of the plan in force; without workers (suspended) everything is drained.
        revision: of the spec as it is now; pools of any other are on their way out.
        room: bounds what may be added.
        memory: of the last call; `NO_MEMORY` at first.
        now: in Unix time.
        patience: deadlines.

    Returns:
        The steps, none where all is as it should be, and the memory, with what is infeasible.
    """
    rollout = Rollout(observed, target, revision, room)
    if not rollout.wants:
        return _suspended(rollout, now, patience), NO_MEMORY
    attempts = {key: _watched(rollout, key, memory, now) for key in rollout.wants}
    infeasible = {one.label: one for one in memory.infeasible if one.until_s > now}
    _retire(rollout)
    refused = _expire(rollout, attempts, now, patience)
    _shed_surplus(rollout, attempts, now)
    if not _bring_back(rollout, attempts, now):
        refused += _grow(rollout, attempts, now, patience)
    infeasible |= {one.label: one for one in refused}
    steps = rollout.steps() + rollout.removals(_removable(rollout))
    wait = _wait(rollout, attempts, now, patience)
    remembered = tuple(one for one in attempts.values() if one is not None)
    return (
        tuple(steps if wait is None else [*steps, wait]),
        TransitionMemory(
            attempts=remembered + _lessons(rollout, memory), infeasible=tuple(infeasible.values())
        ),
    )


def _lessons(rollout: Rollout, memory: TransitionMemory) -> tuple[Attempt, ...]:
    """Pools of this revision that never came up and that the plan does not ask for now.

    Once it asks for them again, they must not cost the last worker of their stage a second time.
    """
    return tuple(
        one
        for one in memory.attempts
        if one.gave_up and one.pool.revision == rollout.revision and one.pool not in rollout.wants
    )


Attempts = dict[PoolKey, Attempt | None]


def _suspended(rollout: Rollout, now: float, patience: Patience) -> tuple[Step, ...]:
    """Let everything drain, then go, each stage when the ones before it are gone.

    A journey that has begun needs the later stages yet, and an encoder stays until its journeys
    have ended; drained all at once, they would wait for workers that nobody makes.
    """
    for key in rollout.olds:
        if rollout.earlier_gone(key):
            rollout.retire(key, "suspended")
    steps = rollout.steps() + rollout.removals(rollout.olds)
    if any(rollout.state(key).holds for key in rollout.olds):
        steps.append(Wait(reason="workers drain", until_s=now + patience.tick_s))
    return tuple(steps)


def _failed(attempt: Attempt | None, now: float) -> bool:
    return attempt is not None and (attempt.failed_until_s or 0.0) > now


def _watched(
    rollout: Rollout, key: PoolKey, memory: TransitionMemory, now: float
) -> Attempt | None:
    """The growth of a target pool, with the moment from which its deadline counts."""
    known = next((one for one in memory.attempts if one.pool == key), None)
    routable = rollout.state(key).routable
    if known is not None and _failed(known, now):
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


def _retire(rollout: Rollout) -> None:
    """Let old pools drain whose stages the target serves as it should."""
    chain = rollout.serves(rollout.revision)
    for key in rollout.olds:
        if not rollout.satisfied(key.stages):
            continue
        if key.revision == rollout.revision:
            rollout.retire(key, "its stages are served by the pools of the plan")
        elif chain and rollout.earlier_gone(key):
            rollout.retire(key, f"revision {rollout.revision} has a complete chain")


def _shed_surplus(rollout: Rollout, attempts: Attempts, now: float) -> None:
    """Label as many workers of each target pool as it has too many, and let labelled ones go."""
    for key, wanted in rollout.wants.items():
        state, attempt = rollout.state(key), attempts[key]
        if attempt is not None and _failed(attempt, now):
            wanted = min(wanted, attempt.kept)
        surplus = max(0, state.pods - wanted)
        if surplus != state.draining:
            rollout.mark(key, surplus, f"{wanted} wanted")
        if state.desired > wanted:
            unlabelled = state.pods - min(surplus, state.draining)
            rollout.scale(key, min(state.desired, max(wanted, unlabelled)), f"{wanted} wanted")


def _expire(
    rollout: Rollout, attempts: Attempts, now: float, patience: Patience
) -> list[Infeasible]:
    """Deal with growth that takes too long: make room where that helps, else undo it."""
    refused = []
    for key, attempt in attempts.items():
        if attempt is None or _failed(attempt, now):
            continue
        state, waited_s = rollout.state(key), now - attempt.since_s
        unplaced = state.unschedulable > 0 and waited_s >= patience.unschedulable_s
        if rollout.pending(key) <= 0 or not (unplaced or waited_s >= patience.start_s):
            continue
        if unplaced and state.insufficient and _make_room(rollout, attempts, attempt, now):
            attempts[key] = replace(attempt, since_s=now)
            continue
        if unplaced:
            refused.append(_refusal(rollout, key, now, patience))
        attempts[key] = replace(attempt, since_s=now)
        if rollout.anything_serves() or _returning(rollout, key):
            if not unplaced:
                refused.append(_refusal(rollout, key, now, patience))
            attempts[key] = replace(
                attempt,
                since_s=now,
                failed_until_s=now + patience.retry_s,
                kept=state.routable,
                gave_up=rollout.untouched(key),
            )
    return refused


def _make_room(rollout: Rollout, attempts: Attempts, attempt: Attempt, now: float) -> bool:
    """Whether room is on its way for a pod that the scheduler cannot place, or can be made."""
    key = attempt.pool
    if rollout.leaving_percent(key) > 0:
        return True
    if _stuck(rollout, attempts, now):
        return False
    untouched = rollout.untouched(key)
    replacing = untouched and not attempt.gave_up and not rollout.progressing(key)
    if rollout.free_up(key, key.percent, replacing=replacing):
        return True
    # One more worker of a stage that is up already has time until the old pools go.
    return rollout.progressing(key) or (not untouched and rollout.olds_hold(key))


def _stuck(rollout: Rollout, attempts: Attempts, now: float) -> bool:
    """Whether a stage of the target cannot come up, so that no old worker should go for others."""
    return any(_failed(one, now) and rollout.untouched(key) for key, one in attempts.items())


def _refusal(rollout: Rollout, key: PoolKey, now: float, patience: Patience) -> Infeasible:
    """One worker more than there are of a shape, whatever their revision, was too many."""
    alike = [key, *(old for old in rollout.olds if old.shape == key.shape)]
    there = sum(rollout.state(one).routable + rollout.state(one).draining for one in alike)
    return Infeasible(label=key.shape.label, workers=there + 1, until_s=now + patience.retry_s)


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


def _bring_back(rollout: Rollout, attempts: Attempts, now: float) -> bool:
    """Where nothing serves since the target failed, let an old chain serve again, and make room.

    True where that is the way to go; where there is no such chain, the target is tried anew.
    """
    stuck = [key for key, one in attempts.items() if _failed(one, now) and rollout.untouched(key)]
    if not stuck or rollout.anything_serves():
        return False
    returning = {old: key for key in stuck for old in _returning(rollout, key)}
    for old, key in returning.items():
        if rollout.state(old).desired < 1:
            rollout.scale(old, 1, f"serves again, since {key.label} does not come up")
    if any(old.revision != rollout.revision for old in returning):
        for key in rollout.wants:
            rollout.retire(key, "of no use without the rest of its chain")
    if not returning:
        for key in stuck:
            attempts[key] = None
    return bool(returning)


def _grow(rollout: Rollout, attempts: Attempts, now: float, patience: Patience) -> list[Infeasible]:
    """Raise target pools as far as there is room; free room for the neediest that lacks it."""
    planned = {
        key: max(rollout.state(key).desired, rollout.state(key).pods) for key in rollout.wants
    }
    growing = [
        key
        for key, wanted in rollout.wants.items()
        if rollout.state(key).desired < wanted and not _failed(attempts[key], now)
    ]
    free = {key: rollout.free_percent(key) for key in growing}
    short: dict[bool, PoolKey] = {}
    waiting = list(growing)
    while waiting:
        key = min(waiting, key=lambda one: _need(rollout, one, planned[one]))
        kind = key.shape.devices > 0
        room = free[key]
        if planned[key] >= rollout.wants[key]:
            waiting.remove(key)
        elif room is None or (room >= key.percent and kind not in short):
            planned[key] += 1
            for other in growing:
                left = free[other]
                if left is not None and (other.shape.devices > 0) == kind:
                    free[other] = left - key.percent
        else:
            short.setdefault(kind, key)
            waiting.remove(key)
    for key in growing:
        grown = min(planned[key], rollout.wants[key])
        rollout.scale(key, max(grown, rollout.state(key).desired), f"{rollout.wants[key]} wanted")
    return [
        refusal
        for key in short.values()
        for refusal in _free_for(
            rollout, attempts, key, free[key] or 0, planned[key] == 0, now, patience
        )
    ]


def _need(rollout: Rollout, key: PoolKey, planned: int) -> tuple[bool, float, PoolKey]:
    """Whose growth comes first: stages without a worker, then who has the least of its wish."""
    return (not (planned == 0 and rollout.untouched(key)), planned / rollout.wants[key], key)


def _free_for(
    rollout: Rollout,
    attempts: Attempts,
    key: PoolKey,
    free: int,
    first: bool,
    now: float,
    patience: Patience,
) -> list[Infeasible]:
    """Have old workers make room for one more of a target pool; refuse it where none can."""
    lacking = key.percent - free - rollout.leaving_percent(key)
    if lacking <= 0:
        return []
    attempt = attempts[key]
    gave_up = attempt is not None and attempt.gave_up
    stuck = _stuck(rollout, attempts, now)
    if not stuck:
        untouched = first and rollout.untouched(key)
        replacing = untouched and not gave_up and not rollout.progressing(key)
        rollout.free_up(key, lacking, replacing=replacing)
    if rollout.leaving_percent(key) or (rollout.olds_hold(key) and not stuck and not gave_up):
        return []
    return [_refusal(rollout, key, now, patience)]


def _removable(rollout: Rollout) -> list[PoolKey]:
    """Old pools that nobody could want back."""
    complete = all(rollout.state(key).routable >= wanted for key, wanted in rollout.wants.items())
    return [
        key
        for key in rollout.olds
        if complete or (key.revision == rollout.revision and rollout.satisfied(key.stages))
    ]


def _wait(rollout: Rollout, attempts: Attempts, now: float, patience: Patience) -> Wait | None:
    """Until when to do nothing unless something changes; None where all is as it should be."""
    waits = []
    for key, attempt in attempts.items():
        if attempt is None:
            continue
        if _failed(attempt, now):
            until_s = attempt.failed_until_s or now
            waits.append(Wait(reason=f"{key.label} is tried again later", until_s=until_s))
        elif rollout.pending(key) > 0:
            unplaced = rollout.state(key).unschedulable > 0
            limit_s = patience.unschedulable_s if unplaced else patience.start_s
            reason = f"{rollout.state(key).routable} of {rollout.wants[key]} of {key.label} ready"
            waits.append(Wait(reason=reason, until_s=attempt.since_s + limit_s))
    leaving = [key for key in rollout.olds if rollout.state(key).holds]
    if leaving or any(rollout.state(key).terminating for key in rollout.wants):
        waits.append(Wait(reason="old workers drain", until_s=now + patience.tick_s))
    return min(waits, key=lambda one: one.until_s, default=None)
