"""Pods on nodes: who holds which devices, who is up, who drains.

It does what Kubernetes does with Deployments, as far as placement can tell: creates pods, gives
each its devices on one node where there is room, lets it start for as long as that takes, deletes
labelled ones first, and frees devices when a worker is gone. The steps that it carries out are
those of `planner.transitions`, the ones that the operator carries out on a cluster.

What happens by itself (a pod is ready) is handed to the caller as a moment; the fleet has no clock.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tridentserve.domain.cluster import Cluster, Device, Worker
from tridentserve.domain.ids import (
    DeviceId,
    NodeId,
    WorkerId,
)
from tridentserve.domain.plans import PlacementPlan, PoolPlan
from tridentserve.domain.stages import Stage
from tridentserve.planner.pools import (
    MarkDraining,
    PoolKey,
    PoolState,
    RemovePool,
    SetReplicas,
    Step,
    UnmarkDraining,
)
from tridentserve.sim.pods import REVISION, Pod, node_id, pod_name, worker_of
from tridentserve.sim.scenario import ClusterPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What carrying out steps has led to."""

    placed: tuple[Pod, ...] = ()
    """Start now."""
    draining: tuple[WorkerId, ...] = ()
    back: tuple[Worker, ...] = ()
    """Serve again."""


@dataclass(slots=True)
class _Node:
    id: NodeId
    free: list[DeviceId]
    there: bool = True
    all: tuple[DeviceId, ...] = field(default=())


class Fleet:
    """Every pod of one pipeline, on nodes that are alike."""

    def __init__(
        self, cluster: ClusterPart, slots: Callable[[Iterable[Stage]], int], memory_bytes: int
    ) -> None:
        """Nodes without pods; `slots` are those of a worker that hosts these stages."""
        self._slots, self._memory_bytes = slots, memory_bytes
        self._nodes: dict[NodeId, _Node] = {}
        for index in range(cluster.nodes):
            node = node_id(index)
            devices = [
                DeviceId(f"{node}/gpu{number}") for number in range(cluster.devices_per_node)
            ]
            self._nodes[node] = _Node(id=node, free=list(devices), all=tuple(devices))
        self._pods: dict[WorkerId, Pod] = {}
        self._replicas: dict[PoolKey, int] = {}
        self._hints: dict[PoolKey, dict[NodeId, int]] = {}
        self._leaving: set[WorkerId] = set()
        self._made = 0

    # --- what there is ----------------------------------------------------------------------------

    @property
    def pods(self) -> tuple[Pod, ...]:
        """All of them, the oldest first."""
        return tuple(self._pods.values())

    def pod(self, worker: WorkerId) -> Pod | None:
        """A pod by name."""
        return self._pods.get(worker)

    @property
    def devices(self) -> int:
        """Devices of all nodes that are there."""
        return sum(len(node.all) for node in self._nodes.values() if node.there)

    @property
    def leaving(self) -> bool:
        """Whether deleted pods are still there."""
        return bool(self._leaving)

    @property
    def held(self) -> int:
        """Devices that pods hold."""
        return sum(len(pod.devices) for pod in self._pods.values())

    def worker(self, pod: Pod) -> Worker:
        """The worker that a pod is."""
        return worker_of(pod, self._slots(pod.key.stages))

    def cluster(self, workers: Iterable[Worker]) -> Cluster:
        """What the placement planner may look at."""
        there = [node for node in self._nodes.values() if node.there]
        return Cluster(
            devices=tuple(
                Device(id=device, node=node.id, memory_bytes=self._memory_bytes)
                for node in there
                for device in node.all
            ),
            workers=tuple(workers),
            free_devices=tuple((node.id, len(node.free)) for node in there),
        )

    def observe(self) -> tuple[PoolState, ...]:
        """Every pool as transitions see it."""
        keys = sorted({*self._replicas, *(pod.key for pod in self._pods.values())})
        return tuple(self._state(key) for key in keys)

    def _state(self, key: PoolKey) -> PoolState:
        pods = [pod for pod in self._pods.values() if pod.key == key]
        alive = [pod for pod in pods if not pod.deleted]
        serving = [pod for pod in alive if not pod.labelled]
        waiting = sum(pod.node is None for pod in serving)
        return PoolState(
            key=key,
            desired=self._replicas.get(key, 0),
            terminating=len(pods) - len(alive),
            draining=len(alive) - len(serving),
            routable=sum(pod.ready for pod in serving),
            starting=sum(not pod.ready for pod in serving),
            unschedulable=waiting,
            insufficient=waiting,
        )

    # --- what is done -----------------------------------------------------------------------------

    def hint(self, plan: PlacementPlan) -> None:
        """Remember on which nodes a plan wants its workers."""
        self._hints = {
            PoolKey(shape=pool.shape, revision=REVISION): dict(pool.nodes) for pool in plan.pools
        }

    def install(self, pools: Iterable[PoolPlan]) -> tuple[Pod, ...]:
        """Pods of a placement at the start of the run; those without a node found no room."""
        keys = []
        for pool in pools:
            key = PoolKey(shape=pool.shape, revision=REVISION)
            self._replicas[key] = self._replicas.get(key, 0) + pool.workers
            self._hints.setdefault(key, {})
            for node, workers in pool.nodes:
                self._hints[key][node] = self._hints[key].get(node, 0) + workers
            keys += [key] * pool.workers
        # The largest first, so that small ones do not break up the nodes that these need.
        for key in sorted(keys, key=lambda one: (-one.shape.devices, one)):
            self._create(key)
        self._schedule()
        return self.pods

    def carry_out(self, steps: Iterable[Step]) -> Changes:
        """Do what the operator does with each step, then place whatever there is room for."""
        draining: list[WorkerId] = []
        back: list[Worker] = []
        for step in steps:
            match step:
                case SetReplicas(pool=key, replicas=replicas):
                    self._scale(key, replicas)
                case MarkDraining(pool=key, pods=count):
                    draining += self._mark(key, count)
                case UnmarkDraining(pool=key, pods=count):
                    back += self._unmark(key, count)
                case RemovePool(pool=key):
                    self._replicas.pop(key, None)
        return Changes(placed=self._schedule(), draining=tuple(draining), back=tuple(back))

    def ready(self, worker: WorkerId) -> Worker | None:
        """A pod has started; None where it is gone, or is to go."""
        pod = self._pods.get(worker)
        if pod is None or pod.deleted:
            return None
        pod.ready = True
        return self.worker(pod)

    def reap(self, idle: Callable[[WorkerId], bool]) -> tuple[WorkerId, ...]:
        """Remove deleted pods that nothing runs on; their devices are free then."""
        if not self._leaving:
            return ()
        gone = [pod for pod in self._pods.values() if pod.deleted and idle(pod.id)]
        for pod in gone:
            self._remove(pod)
        return tuple(pod.id for pod in gone)

    def place_waiting(self) -> tuple[Pod, ...]:
        """Give devices to pods that wait for them."""
        return self._schedule()

    def kill(self, worker: WorkerId) -> bool:
        """Remove a pod that drains, whatever runs on it; False where it does not any more."""
        pod = self._pods.get(worker)
        if pod is None or not pod.labelled:
            return False
        self._remove(pod)
        return True

    def lose(self, node: NodeId) -> tuple[WorkerId, ...]:
        """A node is gone, with its pods; their Deployments make new ones."""
        self._nodes[node].there = False
        lost = [pod for pod in self._pods.values() if pod.node == node]
        for pod in lost:
            self._remove(pod)
            if not pod.deleted and not pod.labelled:
                self._create(pod.key)
        return tuple(pod.id for pod in lost)

    def restore(self, node: NodeId) -> None:
        """A node is back, empty."""
        self._nodes[node].there = True

    # --- pods -------------------------------------------------------------------------------------

    def _create(self, key: PoolKey) -> None:
        self._made += 1
        pod = Pod(id=pod_name(key, self._made), key=key, number=self._made)
        self._pods[pod.id] = pod

    def _remove(self, pod: Pod) -> None:
        del self._pods[pod.id]
        self._leaving.discard(pod.id)
        if pod.node is not None:
            node = self._nodes[pod.node]
            node.free = [one for one in node.all if one in node.free or one in pod.devices]

    def _scale(self, key: PoolKey, replicas: int) -> None:
        self._replicas[key] = replicas
        alive = [pod for pod in self._pods.values() if pod.key == key and not pod.deleted]
        for _ in range(replicas - len(alive)):
            self._create(key)
        order = sorted(alive, key=lambda pod: (pod.ready, not pod.labelled, -pod.number))
        for pod in order[: max(0, len(alive) - replicas)]:
            pod.deleted = True
            self._leaving.add(pod.id)
            if pod.node is None or not pod.ready:
                self._remove(pod)

    def _mark(self, key: PoolKey, count: int) -> list[WorkerId]:
        alive = [pod for pod in self._pods.values() if pod.key == key and not pod.deleted]
        order = sorted(alive, key=lambda pod: (not pod.labelled, pod.ready, self._wanted(pod)))
        marked = [pod for pod in order[:count] if not pod.labelled]
        for pod in marked:
            pod.labelled = True
        return [pod.id for pod in marked if pod.ready]

    def _wanted(self, pod: Pod) -> tuple[bool, int]:
        """Those go first that are not on a node of the plan, then the youngest."""
        hint = self._hints.get(pod.key, {})
        return (pod.node in hint, -pod.number)

    def _unmark(self, key: PoolKey, count: int) -> list[Worker]:
        labelled = [
            pod
            for pod in self._pods.values()
            if pod.key == key and pod.labelled and not pod.deleted
        ]
        for pod in labelled[count:]:
            pod.labelled = False
        return [self.worker(pod) for pod in labelled[count:] if pod.ready]

    def _schedule(self) -> tuple[Pod, ...]:
        placed = []
        for pod in self._pods.values():
            if pod.node is None and not pod.deleted:
                node = self._room(pod)
                if node is not None:
                    count = pod.key.shape.devices
                    pod.node, pod.devices = node.id, tuple(node.free[:count])
                    node.free = node.free[count:]
                    placed.append(pod)
        return tuple(placed)

    def _room(self, pod: Pod) -> _Node | None:
        """A node that the plan names and that lacks a worker of the pool, else the fullest."""
        count = pod.key.shape.devices
        fitting = [one for one in self._nodes.values() if one.there and len(one.free) >= count]
        hint = self._hints.get(pod.key, {})
        on = [other.node for other in self._pods.values() if other.key == pod.key]
        return min(
            fitting,
            key=lambda node: (on.count(node.id) >= hint.get(node.id, 0), len(node.free), node.id),
            default=None,
        )
