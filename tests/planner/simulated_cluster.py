"""A cluster in virtual time, and an operator that carries transitions out on it.

The cluster does what Kubernetes does with Deployments: it creates pods, places them where there is
room, lets them start after a while, deletes unready pods before ready ones and labelled ones before
others. It notes whatever a transition must never do.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import inf
from random import Random

from hypothesis import strategies as st

from tridentserve.domain.ids import Revision
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.pools import (
    NO_MEMORY,
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
from tridentserve.planner.transitions import next_steps

TICK_S = 1.0
PATIENCE = Patience(unschedulable_s=10.0, start_s=60.0, retry_s=40.0, tick_s=1.0)
SIZES = st.fixed_dictionaries(
    {stage: st.tuples(st.sampled_from([50, 100]), st.integers(1, 3)) for stage in STAGES}
)


def plan(sizes: dict[Stage, tuple[int, int]], devices: int = 1) -> PlacementPlan:
    return PlacementPlan(
        pools=tuple(
            PoolPlan(
                shape=PoolShape(stages=(stage,), devices=devices, fraction_percent=fraction),
                workers=workers,
            )
            for stage, (fraction, workers) in sizes.items()
        ),
        reasons=(),
    )


def percent(target: PlacementPlan) -> int:
    return sum(pool.workers * pool.shape.fraction_percent for pool in target.pools)


def chain_percent(target: PlacementPlan) -> int:
    return sum(pool.shape.fraction_percent for pool in target.pools)


@dataclass
class Pod:
    """One pod; labelled ones drain, those with a moment of going terminate."""

    key: PoolKey
    placed: bool = False
    ready_s: float = 0.0
    labelled: bool = False
    gone_s: float | None = None

    def ready(self, now: float) -> bool:
        """Whether its worker is up."""
        return self.placed and now >= self.ready_s


@dataclass
class SimulatedCluster:
    """Deployments and pods; `capacity` bounds what is placed, None bounds nothing."""

    rng: Random
    capacity: int | None = None
    unplaceable: frozenset[Revision] = frozenset()
    oversized: frozenset[PoolShape] = frozenset()
    """Shapes of which no node can take a pod, whatever is free; the scheduler does not say so."""
    broken: frozenset[Revision | int] = frozenset()
    """Revisions and fractions of which no pod ever becomes ready."""
    now: float = 0.0
    deployments: dict[PoolKey, int] = field(default_factory=dict)
    created_s: dict[PoolKey, float] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    sins: list[str] = field(default_factory=list)
    served: list[bool] = field(default_factory=list)
    peak: int = 0

    def used(self) -> int:
        """What placed pods hold."""
        return sum(pod.key.percent for pod in self.pods if pod.placed)

    def alive(self, key: PoolKey) -> list[Pod]:
        """Pods of a pool that do not terminate."""
        return [pod for pod in self.pods if pod.key == key and pod.gone_s is None]

    def carry_out(self, step: Step) -> None:
        """Do what the operator does with a step."""
        match step:
            case SetReplicas(pool=key, replicas=replicas):
                self.deployments[key] = replicas
                self.created_s.setdefault(key, self.now)
            case MarkDraining(pool=key, pods=count):
                pods = sorted(
                    self.alive(key),
                    key=lambda pod: (not pod.labelled, pod.ready(self.now), pod.placed),
                )
                for pod in pods[:count]:
                    pod.labelled = True
            case UnmarkDraining(pool=key, pods=count):
                for pod in [pod for pod in self.alive(key) if pod.labelled][count:]:
                    pod.labelled = False
            case RemovePool(pool=key):
                if self.deployments.get(key) or self.alive(key):
                    self.sins.append(f"removed {key.label} with pods in it")
                self.deployments.pop(key, None)
                self.created_s.pop(key, None)
            case Wait():
                pass

    def pass_time(self) -> None:
        """Let Deployments, scheduler and nodes work for a tick."""
        self.now += TICK_S
        self.pods = [pod for pod in self.pods if pod.gone_s is None or pod.gone_s > self.now]
        for key, desired in self.deployments.items():
            pods = self.alive(key)
            for _ in range(desired - len(pods)):
                self.pods.append(Pod(key))
            victims = sorted(
                pods, key=lambda pod: (pod.placed, pod.ready(self.now), not pod.labelled)
            )
            for pod in victims[: max(0, len(pods) - desired)]:
                self.delete(pod)
        self.rng.shuffle(self.pods)
        for pod in self.pods:
            if not pod.placed and self._fits(pod):
                pod.placed = True
                pod.ready_s = self.now + self.rng.choice([0.0, 1.0, 3.0, 8.0])
                if self.broken & {pod.key.revision, pod.key.shape.fraction_percent}:
                    pod.ready_s = float("inf")
        holds = Counter[PoolKey]()
        for pod in self.pods:
            holds[pod.key] += 1
        self.peak = max(self.peak, sum(pods * key.percent for key, pods in holds.items()))
        self.served.append(self.serves())

    def _fits(self, pod: Pod) -> bool:
        if pod.key.revision in self.unplaceable or pod.key.shape in self.oversized:
            return False
        return self.capacity is None or self.used() + pod.key.percent <= self.capacity

    def delete(self, pod: Pod) -> None:
        """Let a pod terminate, and note it where it was still serving."""
        if pod.ready(self.now) and not pod.labelled:
            self.sins.append(f"{self.now}: a running worker of {pod.key.label} was not drained")
        pod.gone_s = self.now + (self.rng.choice([1.0, 4.0]) if pod.placed else 0.0)

    def crash(self) -> None:
        """Have some workers restart."""
        for pod in self.pods:
            if pod.ready(self.now) and self.rng.random() < 0.1:
                pod.ready_s = self.now + self.rng.choice([1.0, 6.0])

    def serves(self) -> bool:
        """Whether one revision has a chain."""
        hosted: dict[Revision, set[Stage]] = {}
        for pod in self.pods:
            if pod.gone_s is None and pod.ready(self.now) and not pod.labelled:
                hosted.setdefault(pod.key.revision, set()).update(pod.key.stages)
        return any(found >= set(STAGES) for found in hosted.values())

    def observe(self) -> tuple[PoolState, ...]:
        """What an operator sees."""
        return tuple(
            self._observe(key) for key in {pod.key for pod in self.pods} | {*self.deployments}
        )

    def _observe(self, key: PoolKey) -> PoolState:
        pods = self.alive(key)
        unplaced = [pod for pod in pods if not pod.placed and not pod.labelled]
        helped = key.revision not in self.unplaceable
        return PoolState(
            key=key,
            desired=self.deployments.get(key, 0),
            terminating=sum(pod.key == key and pod.gone_s is not None for pod in self.pods),
            draining=sum(pod.labelled for pod in pods),
            routable=sum(pod.ready(self.now) and not pod.labelled for pod in pods),
            starting=sum(not pod.ready(self.now) and not pod.labelled for pod in pods),
            unschedulable=len(unplaced),
            insufficient=len(unplaced) if helped else 0,
            created_s=self.created_s.get(key, inf),
        )


@dataclass
class Operator:
    """Calls `next_steps` once a tick, like the real one; it may die after any step."""

    cluster: SimulatedCluster
    room: Room
    memory: TransitionMemory = NO_MEMORY
    steps: list[Step] = field(default_factory=list)

    def tick(self, target: PlacementPlan, revision: str, *, dies_after: int | None = None) -> None:
        """Look once; `dies_after` so many steps it restarts and remembers nothing."""
        steps, self.memory = next_steps(
            self.cluster.observe(),
            target,
            Revision(revision),
            self.room,
            self.memory,
            self.cluster.now,
            PATIENCE,
        )
        for step in steps[:dies_after]:
            self.cluster.carry_out(step)
        self.steps += steps
        if dies_after is not None:
            self.memory = NO_MEMORY
        self.cluster.pass_time()

    def run(self, target: PlacementPlan, revision: str, ticks: int = 300) -> None:
        """Look until all is as planned, or the ticks are over."""
        for _ in range(ticks):
            if self.settled(target, revision):
                return
            self.tick(target, revision)

    def settled(self, target: PlacementPlan, revision: str) -> bool:
        """Whether the cluster is exactly as planned, and nothing else is there."""
        wanted = {
            PoolKey(shape=pool.shape, revision=Revision(revision)): pool.workers
            for pool in target.pools
        }
        found = {
            state.key: state.routable
            for state in self.cluster.observe()
            if state.routable == state.pods == state.holds
        }
        return found == wanted == self.cluster.deployments


def operator(capacity: int | None, seed: int = 1, *, gpu: bool = True) -> Operator:
    cluster = SimulatedCluster(rng=Random(seed), capacity=capacity)
    return Operator(cluster=cluster, room=Room(gpu_percent=capacity if gpu else None))


def began(op: Operator, target: PlacementPlan, revision: str = "r1") -> Operator:
    op.run(target, revision, 60)
    assert op.settled(target, revision)
    op.cluster.served.clear()
    op.steps.clear()
    return op


ONE = dict.fromkeys(STAGES, (100, 1))
