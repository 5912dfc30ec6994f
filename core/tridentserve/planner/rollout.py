"""One look at the pools of a pipeline, with what is meant to become of each.

Facts (who serves, what is free, what is on its way) and the bookkeeping of intentions; which there
should be is decided in `transitions` and the modules that it calls. Everything counts intentions
that this look has added already, so that two rules together never take what each alone could have.
"""

from dataclasses import dataclass

from tridentserve.domain.ids import Revision
from tridentserve.domain.plans import PlacementPlan, PoolShape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.pools import (
    MarkDraining,
    PoolKey,
    PoolState,
    RemovePool,
    Room,
    SetReplicas,
    Step,
    UnmarkDraining,
)

IN_TRANSIT = 0.25
"""Of what a pipeline holds, the most that is neither ready nor about to stay so because old workers
made room for new ones, but for a worker at the least. It is the share that a Deployment takes
unless told otherwise (`maxUnavailable`)."""


@dataclass(slots=True)
class _Intent:
    """What one pool should be told: replicas and labels, and why."""

    replicas: int
    draining: int
    reason: str = ""


class Rollout:
    """Pools as they are, as they are wanted, and as this look would leave them."""

    def __init__(
        self,
        observed: tuple[PoolState, ...],
        target: PlacementPlan,
        revision: Revision,
        room: Room,
        recent: frozenset[Revision] = frozenset(),
    ) -> None:
        """Begin with no intention but to leave everything as it is; `recent` served just now."""
        self.revision = revision
        self._recent = recent
        self._room = room
        self.wants: dict[PoolKey, int] = {}
        for pool in target.pools:
            if pool.workers > 0:
                key = PoolKey(shape=pool.shape, revision=revision)
                self.wants[key] = self.wants.get(key, 0) + pool.workers
        self._states = {state.key: state for state in observed}
        self.needed = frozenset(stage for key in self.wants for stage in key.stages)
        self.olds = sorted(key for key in self._states if key not in self.wants)
        self.giving: set[PoolKey] = set()
        self._intents = {key: self._as_is(key) for key in sorted({*self._states, *self.wants})}

    def _as_is(self, key: PoolKey) -> _Intent:
        state = self.state(key)
        if key in self.wants:
            return _Intent(replicas=state.desired, draining=state.draining)
        # Labelled pods of an old pool go; no label comes off, and nothing new comes but for a pod
        # that was lost: its chain may still be the one that serves.
        kept = max(state.routable + state.starting, state.desired - state.draining)
        return _Intent(replicas=min(state.desired, kept), draining=state.draining, reason="drained")

    # --- facts ------------------------------------------------------------------------------------

    def state(self, key: PoolKey) -> PoolState:
        """A pool as observed; empty where there is none."""
        return self._states.get(key) or PoolState(key=key, desired=0)

    def exists(self, key: PoolKey) -> bool:
        """Whether there is a Deployment or a pod of it."""
        return key in self._states

    def pending(self, key: PoolKey) -> int:
        """Workers that are asked for and not ready."""
        state = self.state(key)
        return max(state.desired, state.pods) - state.routable - state.draining

    def loading(self, key: PoolKey) -> int:
        """Of the pending, those that are on a node, or not seen yet."""
        return max(0, self.pending(key) - self.state(key).unschedulable)

    def placed(self, key: PoolKey) -> int:
        """Workers of a pool that are ready, or on a node on their way there."""
        return self.state(key).routable + self.loading(key)

    def yields(self, key: PoolKey) -> bool:
        """Whether a target pool has workers while another's stage has none and waits for room.

        The scheduler places pods in an order of its own: what is asked for beside that one may take
        its room again and again.
        """
        return self.placed(key) > 0 and any(
            self.state(one).insufficient and not self.placed(one) and self.untouched(one)
            for one in self.wants
            if one.has_devices == key.has_devices
        )

    def left(self, key: PoolKey) -> int:
        """Routable workers of a pool that are not meant to drain."""
        state = self.state(key)
        ready = self._intents[key].draining - state.draining - state.starting
        return state.routable - max(0, ready)

    def has_unready(self, key: PoolKey) -> bool:
        """Whether a pool has a pod that is not ready and not meant to drain."""
        state = self.state(key)
        return self._intents[key].draining < state.draining + state.starting

    def covered(self, revision: Revision, stage: Stage) -> int:
        """Routable workers that host a stage of a revision, those meant to drain left out."""
        return sum(
            self.left(key)
            for key in self._intents
            if key.revision == revision and stage in key.stages
        )

    def routable_of(self, shape: PoolShape) -> int:
        """Routable workers of a shape, whatever their revision."""
        return sum(one.routable for key, one in self._states.items() if key.shape == shape)

    def serves(self, revision: Revision) -> bool:
        """Whether a revision has a complete chain."""
        return all(self.covered(revision, stage) for stage in self.needed)

    def revisions(self) -> list[Revision]:
        """Every revision of which there is a pool."""
        return sorted({key.revision for key in self._intents})

    def old_revisions(self) -> list[Revision]:
        """Every revision but that of the spec, the one that was there first coming first.

        It is the one that served: whatever a complete target replaces is removed, so that younger
        ones are of edits that never were complete.
        """
        first: dict[Revision, float] = {}
        for key in self.olds:
            if key.revision != self.revision:
                since_s = self.state(key).created_s
                first[key.revision] = min(since_s, first.get(key.revision, since_s))
        return sorted(first, key=lambda revision: (first[revision], revision))

    def abandoned(self, key: PoolKey) -> bool:
        """Whether an old pool is of an edit that another came after before it served."""
        return (
            key.revision in self.old_revisions()[1:]
            and not self.serves(key.revision)
            and self.other_serves(key.revision)
            and key.revision not in self._recent
        )

    def other_serves(self, revision: Revision) -> bool:
        """Whether a revision beside this one has a complete chain."""
        return any(self.serves(one) for one in self.revisions() if one != revision)

    def dispensable(self, revision: Revision) -> bool:
        """Whether little is lost when an old revision has no chain any more.

        It has none anyway, or of every stage the target has all that it wants, or the old revision
        no more than a single worker or the share that may be in transit.
        """
        return not self.serves(revision) or all(
            self.satisfied((stage,)) or self._has_little(revision, stage) for stage in self.needed
        )

    def _has_little(self, revision: Revision, stage: Stage) -> bool:
        old, new = self.covered(revision, stage), self.covered(self.revision, stage)
        return old <= max(1, IN_TRANSIT * (old + new))

    def restarts(self, revision: Revision) -> bool:
        """Whether a revision served just now and does not: a worker of it may only restart."""
        return revision in self._recent and not self.serves(revision)

    def anything_serves(self) -> bool:
        """Whether any revision has a complete chain."""
        return any(self.serves(one) for one in self.revisions())

    def satisfied(self, stages: tuple[Stage, ...]) -> bool:
        """Whether the target pools of these stages have all the workers that they should."""
        return all(
            self.state(key).routable >= workers
            for key, workers in self.wants.items()
            if set(key.stages) & set(stages)
        )

    def untouched(self, key: PoolKey) -> bool:
        """Whether a stage of a target pool has no routable worker in any target pool."""
        return any(
            not any(self.left(one) for one in self.wants if stage in one.stages)
            for stage in key.stages
        )

    def earlier_gone(self, key: PoolKey) -> bool:
        """Whether no pool of earlier stages of the same revision holds anything any more."""
        return not any(
            self.state(one).holds
            for one in self.olds
            if one.revision == key.revision and _first(one) < _first(key)
        )

    def free_percent(self, key: PoolKey) -> int | None:
        """What may be added of a pool's kind; None where nobody counts."""
        limit = self._room.limit(key.shape)
        if limit is None:
            return None
        return limit - sum(
            state.holds * state.key.percent
            for state in self._states.values()
            if state.key.has_devices == key.has_devices
        )

    def leaving_percent(self, key: PoolKey) -> int:
        """What pods of a pool's kind hold that drain, terminate or are meant to go."""
        total = 0
        for one, intent in self._intents.items():
            if one.has_devices == key.has_devices:
                state = self.state(one)
                marked = max(0, intent.draining - state.draining)
                fewer = max(0, max(state.desired, state.pods) - intent.replicas)
                total += (state.terminating + marked + fewer) * one.percent
        return total

    def held_percent(self, key: PoolKey) -> int:
        """What pods of a pool's kind have on nodes, those that drain or terminate included."""
        return sum(
            (state.pods + state.terminating - state.unschedulable) * one.percent
            for one, state in self._states.items()
            if one.has_devices == key.has_devices
        )

    def wasted(self, key: PoolKey, before_percent: int) -> bool:
        """Whether old workers left and nothing of the pipeline came in their place.

        So it is where as much is missing of what was held before, as far as it is wanted, as a
        worker holds, and the share that may be in transit. Less may be what nodes have left over.
        """
        wanted = sum(
            n * one.percent for one, n in self.wants.items() if one.has_devices == key.has_devices
        )
        lost = min(before_percent, wanted) - self.held_percent(key)
        return lost >= max(key.percent, IN_TRANSIT * before_percent)

    def progressing(self, key: PoolKey) -> bool:
        """Whether workers of a target pool's kind are on their way up, or about to be."""
        return self.coming_percent(key) > 0

    def coming_percent(self, key: PoolKey) -> int:
        """What target workers of a pool's kind hold that are on their way up, or about to be."""
        total = 0
        for one in self.wants:
            if one.has_devices == key.has_devices:
                more = self._intents[one].replicas - self.state(one).desired
                total += (
                    max(0, self.loading(one), more - self.state(one).unschedulable) * one.percent
                )
        return total

    def ready_percent(self, key: PoolKey) -> int:
        """What routable workers of a pool's kind hold, those meant to drain left out."""
        return sum(
            self.left(one) * one.percent
            for one in self._intents
            if one.has_devices == key.has_devices
        )

    def olds_hold(self, key: PoolKey) -> bool:
        """Whether old pools of a pool's kind hold anything that may come free."""
        return any(self.state(one).holds for one in self.olds if one.has_devices == key.has_devices)

    # --- intentions -------------------------------------------------------------------------------

    def scale(self, key: PoolKey, replicas: int, reason: str) -> None:
        """Mean a pool to have so many replicas."""
        intent = self._intents[key]
        intent.replicas, intent.reason = replicas, reason

    def mark(self, key: PoolKey, draining: int, reason: str) -> None:
        """Mean so many pods of a pool to drain."""
        intent = self._intents[key]
        intent.draining, intent.reason = draining, reason

    def drain_one(self, key: PoolKey, reason: str) -> None:
        """Mean one pod more of a pool to drain."""
        self.mark(key, self._intents[key].draining + 1, reason)

    def retire(self, key: PoolKey, reason: str) -> None:
        """Mean every pod of a pool to go: all are labelled, and those that are already, go."""
        state = self.state(key)
        self.scale(key, min(state.desired, state.routable + state.starting), reason)
        self.mark(key, state.pods, reason)

    def give(self, key: PoolKey) -> bool:
        """Mean the target pool of a kind that has most workers to give one for another's first."""
        kind = [
            one for one in self.wants if one.has_devices == key.has_devices and self.placed(one) > 1
        ]
        self.giving.update([max(kind, key=lambda one: (self.placed(one), one))] if kind else ())
        return bool(kind)

    def steps(self) -> list[Step]:
        """The intentions that differ from what is observed: more, labels, fewer.

        Abandoned pools come first: they go whatever becomes of the rest, and may be in its way.
        """
        early: list[Step] = []
        more: list[Step] = []
        labels: list[Step] = []
        fewer: list[Step] = []
        for key, intent in self._intents.items():
            state = self.state(key)
            if intent.draining > state.draining:
                (early if self.abandoned(key) else labels).append(
                    MarkDraining(pool=key, pods=intent.draining, reason=intent.reason)
                )
            if intent.draining < state.draining:
                labels.append(UnmarkDraining(pool=key, pods=intent.draining, reason=intent.reason))
            if intent.replicas != state.desired or (key in self.wants and not self.exists(key)):
                into = more if intent.replicas >= state.desired else fewer
                into = early if self.abandoned(key) else into
                into.append(SetReplicas(pool=key, replicas=intent.replicas, reason=intent.reason))
        return early + more + labels + fewer

    def removals(self, keys: list[PoolKey]) -> list[Step]:
        """Removal of those pools that are empty."""
        return [
            RemovePool(pool=key, reason="empty, and not in the plan")
            for key in keys
            if not self.state(key).holds and not self._intents[key].replicas
        ]


def _first(key: PoolKey) -> int:
    return min(STAGES.index(stage) for stage in key.stages)
