"""Pods, their names, and the workers that they are."""

from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import (
    ContentDigest,
    DeviceId,
    MemoryDomain,
    NodeId,
    PipelineName,
    PoolName,
    Revision,
    WorkerId,
)
from tridentserve.domain.stages import STAGES
from tridentserve.domain.strategy import SINGLE, Strategy
from tridentserve.planner.pools import PoolKey

PIPELINE = PipelineName("default/simulated")
REVISION = Revision("simula")
_DIGEST = ContentDigest("simulated")
_LETTERS = dict(zip(STAGES, "edc", strict=True))


@dataclass(slots=True)
class Pod:
    """One pod; without a node it waits for room."""

    id: WorkerId
    key: PoolKey
    number: int
    node: NodeId | None = None
    devices: tuple[DeviceId, ...] = ()
    ready: bool = False
    labelled: bool = False
    """Drains."""
    deleted: bool = False
    """Its Deployment does without it; it goes when it is idle."""


def worker_of(pod: Pod, slots: int) -> Worker:
    """The worker that a pod on a node is."""
    assert pod.node is not None
    stages = frozenset(pod.key.stages)
    return Worker(
        id=pod.id,
        pipeline=PIPELINE,
        pool=PoolName(pod.key.label),
        revision=REVISION,
        node=pod.node,
        pod_uid=str(pod.id),
        boot_id="1",
        digest=_DIGEST,
        address="",
        devices=pod.devices,
        fraction_percent=pod.key.shape.fraction_percent,
        capable=stages,
        resident=stages,
        strategies=strategies(len(pod.devices)),
        slots=slots,
        concurrent=True,
        domain=MemoryDomain(pod.node),
        draining=pod.labelled,
    )


def pod_name(key: PoolKey, number: int) -> WorkerId:
    """`edc-0001` for one."""
    letters = "".join(_LETTERS[stage] for stage in STAGES if stage in key.stages)
    return WorkerId(f"{letters}-{number:04d}")


def node_id(index: int) -> NodeId:
    """Name of a node by its number.

    >>> node_id(3)
    'n03'
    """
    return NodeId(f"n{index:02d}")


def strategies(devices: int) -> tuple[Strategy, ...]:
    """What a worker with so many devices can do: one device, and groups of powers of two."""
    found = [SINGLE]
    degree = 2
    while degree <= devices:
        found.append(Strategy(ulysses=degree))
        degree *= 2
    return tuple(found)
