"""What is there, counted: pools, router and pods of one pipeline at a moment.

Pure: the indexes are read by whoever calls. Everything is level-based, so a look that is a little
behind only makes the next step wait, or asks for the same thing twice.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from tridentserve.domain.ids import PoolName
from tridentserve.planner.pools import PoolKey, PoolState
from tridentserve_operator.views import (
    ROUTER,
    DeploymentView,
    ObjectView,
    PodView,
    PoolIdentity,
)

LOST_S = 120.0
"""A pod that is still there so long after its grace has no kubelet that could end it: its node is
gone. Nothing waits for it, or whatever drains after it would wait until somebody removes the node.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything of one pipeline that was seen."""

    deployments: tuple[DeploymentView, ...] = ()
    """Of its pools, by name."""
    router: DeploymentView | None = None
    pods: tuple[PodView, ...] = ()
    """Of pools and router, by name; those that ended for good or were lost are left out."""
    pools: tuple[PoolState, ...] = ()
    """Every pool that has a Deployment or pods, whatever its revision."""
    versions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Resource versions of its Services, ServiceAccounts and RoleBindings, by kind and name."""

    def deployment(self, key: PoolKey) -> DeploymentView | None:
        """The Deployment of a pool."""
        return next(
            (one for one in self.deployments if one.pool and pool_key(one.pool) == key), None
        )

    def pods_of(self, key: PoolKey) -> tuple[PodView, ...]:
        """Pods of a pool, terminating ones included."""
        return tuple(pod for pod in self.pods if pod.pool and pool_key(pod.pool) == key)

    @property
    def router_ready(self) -> bool:
        """Whether a router takes requests."""
        return any(pod.ready and not pod.deleting for pod in self.pods if pod.component == ROUTER)

    @property
    def fractions(self) -> Mapping[PoolName, int]:
        """Fraction of every pool, by the name that metrics carry."""
        return {
            one.pool.name: one.pool.shape.fraction_percent for one in self.deployments if one.pool
        }


def observation(
    owner_uid: str,
    deployments: Iterable[DeploymentView],
    pods: Iterable[PodView],
    now: float,
    others: Iterable[ObjectView] = (),
) -> Observation:
    """Put together what the indexes hold of one pipeline, at a moment in Unix time.

    Objects of a deleted namesake are about to be collected and count for nothing.
    """
    own = sorted(
        (one for one in deployments if one.owner_uid == owner_uid), key=lambda one: one.name
    )
    pooled = tuple(one for one in own if one.pool is not None)
    there = tuple(sorted((pod for pod in pods if not _is_over(pod, now)), key=lambda pod: pod.name))
    return Observation(
        deployments=pooled,
        router=next((one for one in own if one.pool is None), None),
        pods=there,
        pools=pool_states(pooled, there),
        versions={
            (one.kind, one.name): one.version for one in others if one.owner_uid == owner_uid
        },
    )


def pool_key(pool: PoolIdentity) -> PoolKey:
    """A pool as the planner names it."""
    return PoolKey(shape=pool.shape, revision=pool.revision)


def pool_states(
    deployments: Collection[DeploymentView], pods: Iterable[PodView]
) -> tuple[PoolState, ...]:
    """Count the pods of every pool, each once."""
    desired = {
        pool_key(one.pool): 0 if one.deleting else one.replicas for one in deployments if one.pool
    }
    created_s = {pool_key(one.pool): one.created_s for one in deployments if one.pool}
    counts: dict[PoolKey, Counter[str]] = {key: Counter() for key in desired}
    for pod in pods:
        if pod.pool is not None:
            count = counts.setdefault(pool_key(pod.pool), Counter())
            state = _state(pod)
            count[state] += 1
            if state == "starting" and pod.unschedulable:
                count["unschedulable"] += 1
                count["insufficient"] += "Insufficient" in pod.unschedulable
    return tuple(
        PoolState(key=key, desired=desired.get(key, 0), created_s=created_s.get(key, inf), **count)
        for key, count in sorted(counts.items())
    )


def _is_over(pod: PodView, now: float) -> bool:
    return pod.finished or (pod.deleting and now > pod.leaves_s + LOST_S)


def _state(pod: PodView) -> str:
    if pod.deleting:
        return "terminating"
    if pod.draining:
        return "draining"
    return "routable" if pod.ready else "starting"


def victims(pods: Iterable[PodView], wanted: int) -> tuple[PodView, ...]:
    """Which pods of a pool to label as draining, so that at least `wanted` carry the label.

    Those that carry it already count; then come those that no node took, those that are not ready,
    and the youngest.
    """
    return tuple(pod for pod in _in_order_of_leaving(pods)[:wanted] if not pod.draining)


def spared(pods: Iterable[PodView], wanted: int) -> tuple[PodView, ...]:
    """Which pods of a pool to take the label off, so that at most `wanted` carry it."""
    return tuple(pod for pod in _in_order_of_leaving(pods)[wanted:] if pod.draining)


def _in_order_of_leaving(pods: Iterable[PodView]) -> list[PodView]:
    # A total order: asking twice, of a view that is a little behind, names the same pods.
    return sorted(
        (pod for pod in pods if not pod.deleting),
        key=lambda pod: (
            not pod.draining,
            pod.ready,
            not pod.unschedulable,
            -pod.created_s,
            pod.name,
        ),
    )
