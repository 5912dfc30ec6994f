"""Transitions carried out on a simulated cluster, in virtual time, with everything that goes wrong.

The cluster does what Kubernetes does with Deployments: it creates pods, places them where there is
room, lets them start after a while, deletes unready pods before ready ones and labelled ones before
others. It notes whatever a transition must never do.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve.domain.ids import Revision
from tridentserve.domain.plans import PlacementPlan, PoolPlan, PoolShape
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.transitions import (
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
    next_steps,
)

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
    key: PoolKey
    placed: bool = False
    ready_s: float = 0.0
    labelled: bool = False
    gone_s: float | None = None

    def ready(self, now: float) -> bool:
        return self.placed and now >= self.ready_s


@dataclass
class SimulatedCluster:
    """Deployments and pods; `capacity` bounds what is placed, None bounds nothing."""

    rng: Random
    capacity: int | None = None
    unplaceable: frozenset[Revision] = frozenset()
    broken: frozenset[Revision] = frozenset()
    now: float = 0.0
    deployments: dict[PoolKey, int] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    sins: list[str] = field(default_factory=list)
    served: list[bool] = field(default_factory=list)
    peak: int = 0

    def used(self) -> int:
        return sum(pod.key.percent for pod in self.pods if pod.placed)

    def alive(self, key: PoolKey) -> list[Pod]:
        return [pod for pod in self.pods if pod.key == key and pod.gone_s is None]

    def carry_out(self, step: Step) -> None:
        match step:
            case SetReplicas(pool=key, replicas=replicas):
                self.deployments[key] = replicas
            case MarkDraining(pool=key, pods=count):
                pods = sorted(
                    self.alive(key), key=lambda pod: (not pod.labelled, pod.ready(self.now))
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
            case Wait():
                pass

    def pass_time(self) -> None:
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
            if not pod.placed and pod.key.revision not in self.unplaceable:
                if self.capacity is None or self.used() + pod.key.percent <= self.capacity:
                    pod.placed = True
                    pod.ready_s = self.now + self.rng.choice([0.0, 1.0, 3.0, 8.0])
                    if pod.key.revision in self.broken:
                        pod.ready_s = float("inf")
        holds = Counter[PoolKey]()
        for pod in self.pods:
            holds[pod.key] += 1
        self.peak = max(self.peak, sum(pods * key.percent for key, pods in holds.items()))
        self.served.append(self.serves())

    def delete(self, pod: Pod) -> None:
        if pod.ready(self.now) and not pod.labelled:
            self.sins.append(f"{self.now}: a running worker of {pod.key.label} was not drained")
        pod.gone_s = self.now + (self.rng.choice([1.0, 4.0]) if pod.placed else 0.0)

    def crash(self) -> None:
        for pod in self.pods:
            if pod.ready(self.now) and self.rng.random() < 0.1:
                pod.ready_s = self.now + self.rng.choice([1.0, 6.0])

    def serves(self) -> bool:
        hosted: dict[Revision, set[Stage]] = {}
        for pod in self.pods:
            if pod.gone_s is None and pod.ready(self.now) and not pod.labelled:
                hosted.setdefault(pod.key.revision, set()).update(pod.key.stages)
        return any(found >= set(STAGES) for found in hosted.values())

    def observe(self) -> tuple[PoolState, ...]:
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
        )


@dataclass
class Operator:
    """Calls `next_steps` once a tick, like the real one; it may die after any step."""

    cluster: SimulatedCluster
    room: Room
    memory: TransitionMemory = NO_MEMORY
    steps: list[Step] = field(default_factory=list)

    def tick(self, target: PlacementPlan, revision: str, *, dies_after: int | None = None) -> None:
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
        for _ in range(ticks):
            if self.settled(target, revision):
                return
            self.tick(target, revision)

    def settled(self, target: PlacementPlan, revision: str) -> bool:
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


@settings(max_examples=60, deadline=None)
@given(
    first=SIZES,
    second=SIZES,
    third=SIZES,
    revisions=st.lists(st.sampled_from("ab"), min_size=2, max_size=2),
    spare=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_a_chain_always_serves_where_one_fits_beside_the_plan(
    first: dict[Stage, tuple[int, int]],
    second: dict[Stage, tuple[int, int]],
    third: dict[Stage, tuple[int, int]],
    revisions: list[str],
    spare: int,
    seed: int,
) -> None:
    plans = [plan(first), plan(second), plan(third)]
    limit = max(percent(one) for one in plans) + max(chain_percent(one) for one in plans)
    limit += spare * 50
    op = began(operator(limit, seed), plans[0], "a")

    for target, revision in zip(plans[1:], revisions, strict=True):
        op.run(target, revision, 300)
        assert op.settled(target, revision)

    assert all(op.cluster.served)
    assert op.cluster.sins == []
    assert op.cluster.peak <= limit


@settings(max_examples=60, deadline=None)
@given(
    first=SIZES,
    second=SIZES,
    same=st.booleans(),
    spare=st.integers(0, 2),
    seed=st.integers(0, 99),
    known=st.booleans(),
)
def test_it_converges_without_any_room_to_spare(
    first: dict[Stage, tuple[int, int]],
    second: dict[Stage, tuple[int, int]],
    same: bool,
    spare: int,
    seed: int,
    known: bool,
) -> None:
    before, after = plan(first), plan(second)
    limit = max(percent(before), percent(after)) + spare * 50
    op = began(operator(limit, seed, gpu=known), before, "a")

    op.run(after, "a" if same else "b", 900)

    assert op.settled(after, "a" if same else "b")
    assert op.cluster.sins == []
    if known:
        assert op.cluster.peak <= limit


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999))
def test_whatever_crashes_restarts_and_changes_it_ends_where_it_should(
    data: st.DataObject, seed: int
) -> None:
    rng = Random(seed)
    limit = data.draw(st.sampled_from([None, 600, 900]))
    op = operator(limit, seed)
    target, revision = plan(data.draw(SIZES)), "a"
    for _ in range(data.draw(st.integers(1, 4))):
        target, revision = plan(data.draw(SIZES)), data.draw(st.sampled_from("abc"))
        for _ in range(rng.randrange(40)):
            op.cluster.crash()
            dies = rng.choice([None, None, 0, 1, 2])
            op.tick(target, revision, dies_after=dies)

    if limit is not None:
        assert op.cluster.peak <= limit
        op.room = Room(gpu_percent=max(limit, percent(target)))
        op.cluster.capacity = max(limit, percent(target))
    op.run(target, revision, 900)

    assert op.settled(target, revision)
    assert op.cluster.sins == []


@settings(max_examples=30, deadline=None)
@given(
    first=SIZES,
    second=SIZES,
    same=st.booleans(),
    spare=st.sampled_from([0, 50, 600]),
    lag=st.lists(st.booleans(), min_size=8, max_size=8),
    seed=st.integers(0, 99),
)
def test_pods_seen_a_moment_late_cost_no_running_worker(
    first: dict[Stage, tuple[int, int]],
    second: dict[Stage, tuple[int, int]],
    same: bool,
    spare: int,
    lag: list[bool],
    seed: int,
) -> None:
    """The operator's view of Deployments is newer than that of pods, or the other way round."""
    before, after, revision = plan(first), plan(second), "a" if same else "b"
    limit = max(percent(before), percent(after)) + spare
    op = began(operator(limit, seed), before, "a")
    older: dict[PoolKey, PoolState] = {}
    for turn in range(600):
        if op.settled(after, revision):
            break
        newer = {state.key: state for state in op.cluster.observe()}
        late = lag[turn % len(lag)]
        seen = tuple(
            replace(older.get(key, state), desired=state.desired) if late else state
            for key, state in newer.items()
        )
        older = newer
        steps, op.memory = next_steps(
            seen, after, Revision(revision), op.room, op.memory, op.cluster.now, PATIENCE
        )
        for step in steps:
            op.cluster.carry_out(step)
        op.cluster.pass_time()

    assert op.settled(after, revision)
    assert [sin for sin in op.cluster.sins if "not drained" in sin] == []
