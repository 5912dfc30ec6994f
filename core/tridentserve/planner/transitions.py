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
| | chain that can take its load, encode before diffuse before decode, each once the one before |
| | is gone: an encoder leaves when its journeys have ended, so these end on the content that |
| | they began on |
| the target lacks workers, no room | old workers drain: for the first of each stage, and once the |
| | target serves for the others; so many that no more than a quarter is on its way down or up, or |
| | one; never the last of a stage of the only revision that serves, and none that only restarts |
| that last one stands in the way | it is replaced: the stage has no worker meanwhile, and the |
| | router holds the queue. Of another revision: its whole chain goes, being broken anyway |
| a stage has none, its pods no room | pools that have workers yield: what no node took of them |
| | is taken back, and where nothing old is left to take, one worker |
| no room, and nothing old to take | `Infeasible`, at once |
| a pod cannot be placed in time | where room would help, an old worker drains (as without room); |
| | else the growth is undone: `Infeasible`, and another try after `retry_s` |
| a pod does not become ready in time | undone likewise, where something else serves |
| undone, and nothing serves any more | the oldest chain whose Deployments are still there comes |
| | back: the one that served |
| nothing serves and nothing could | pods are left to wait: taking them away would help nobody |
| an old revision that never served | it drains, and goes, where another serves |
| suspended | everything drains, then goes: encode before diffuse before decode, as above |

While a new revision cannot come up, the old one keeps the size that it has.
"""

from tridentserve.domain.ids import Revision
from tridentserve.domain.plans import PlacementPlan
from tridentserve.planner.attempts import Attempts, failed, watched
from tridentserve.planner.expiry import bring_back, expire
from tridentserve.planner.growth import grow
from tridentserve.planner.pools import (
    NO_MEMORY,
    Attempt,
    Patience,
    PoolKey,
    PoolState,
    Room,
    Step,
    TransitionMemory,
    Wait,
)
from tridentserve.planner.protocols import Infeasible
from tridentserve.planner.rollout import Rollout

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
    recent = {one: at_s for one, at_s in memory.served if now - at_s < patience.unschedulable_s}
    rollout = Rollout(observed, target, revision, room, frozenset(recent))
    if not rollout.wants:
        return _suspended(rollout, now, patience), NO_MEMORY
    recent |= {one: now for one in rollout.revisions() if rollout.serves(one)}
    attempts = {key: watched(rollout, key, memory, now) for key in rollout.wants}
    infeasible = {one.shape: one for one in memory.infeasible if _holds(rollout, one, now)}
    _retire(rollout)
    refused = expire(rollout, attempts, now, patience)
    _shed_surplus(rollout, attempts, now)
    if not bring_back(rollout, attempts, now):
        refused += grow(rollout, attempts, now, patience)
    infeasible |= {one.shape: one for one in refused}
    steps = rollout.steps() + rollout.removals(_removable(rollout))
    wait = _wait(rollout, attempts, now, patience)
    remembered = tuple(one for one in attempts.values() if one is not None)
    if wait is not None:
        steps.append(wait)
    return tuple(steps), TransitionMemory(
        attempts=remembered + _lessons(rollout, memory),
        served=tuple(sorted(recent.items())) if steps else (),
        infeasible=tuple(infeasible.values()),
    )


def _holds(rollout: Rollout, one: Infeasible, now: float) -> bool:
    """Whether what could not be had is still not there, and still asked for by the same spec."""
    return (
        one.until_s > now
        and one.revision == rollout.revision
        and rollout.routable_of(one.shape) < one.workers
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


def _retire(rollout: Rollout) -> None:
    """Let old pools drain whose stages the target serves as it should."""
    chain = rollout.serves(rollout.revision)
    for key in rollout.olds:
        if rollout.abandoned(key):
            rollout.retire(key, "another edit came before it served")
        elif not rollout.satisfied(key.stages):
            continue
        elif key.revision == rollout.revision:
            rollout.retire(key, "its stages are served by the pools of the plan")
        elif chain and rollout.dispensable(key.revision) and rollout.earlier_gone(key):
            rollout.retire(key, f"revision {rollout.revision} has a complete chain")


def _shed_surplus(rollout: Rollout, attempts: Attempts, now: float) -> None:
    """Label as many workers of each target pool as it has too many, and let labelled ones go."""
    for key, wanted in rollout.wants.items():
        state, attempt = rollout.state(key), attempts[key]
        if attempt is not None and failed(attempt, now):
            wanted = min(wanted, attempt.kept)
        if rollout.yields(key):
            wanted = min(wanted, rollout.placed(key) - (key in rollout.giving))
        surplus = max(0, state.pods - wanted)
        if surplus != state.draining:
            rollout.mark(key, surplus, f"{wanted} wanted")
        if state.desired > wanted:
            unlabelled = state.pods - min(surplus, state.draining)
            rollout.scale(key, min(state.desired, max(wanted, unlabelled)), f"{wanted} wanted")


def _removable(rollout: Rollout) -> list[PoolKey]:
    """Old pools that nobody could want back."""
    complete = all(rollout.state(key).routable >= wanted for key, wanted in rollout.wants.items())
    return [
        key
        for key in rollout.olds
        if complete
        or rollout.abandoned(key)
        or (key.revision == rollout.revision and rollout.satisfied(key.stages))
    ]


def _wait(rollout: Rollout, attempts: Attempts, now: float, patience: Patience) -> Wait | None:
    """Until when to do nothing unless something changes; None where all is as it should be."""
    waits = []
    for key, attempt in attempts.items():
        if attempt is None:
            continue
        if failed(attempt, now):
            until_s = attempt.failed_until_s or now
            waits.append(Wait(reason=f"{key.label} is tried again later", until_s=until_s))
        elif attempt.unplaced_s is not None:
            reason = f"{attempt.unplaced} of {key.label} without a node"
            until_s = attempt.unplaced_s + patience.unschedulable_s
            waits.append(Wait(reason=reason, until_s=until_s))
        if rollout.loading(key) > 0:
            reason = f"{attempt.routable} of {rollout.wants[key]} of {key.label} ready"
            waits.append(Wait(reason=reason, until_s=attempt.since_s + patience.start_s))
    leaving = [key for key in rollout.olds if rollout.state(key).holds]
    if leaving or any(rollout.state(key).terminating for key in rollout.wants):
        waits.append(Wait(reason="old workers drain", until_s=now + patience.tick_s))
    return min(waits, key=lambda one: one.until_s, default=None)
