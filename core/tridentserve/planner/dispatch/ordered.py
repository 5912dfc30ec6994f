"""Dispatch by a fixed order of requests: the loop that the orders have in common.

Whatever stage they wait for, requests are looked at in one order, and each that some worker can
take starts. Nobody is overtaken on a worker that it could use: a request that cannot start has no
free worker of its own, and one that only a device lease stops holds that device. So a request
waits for those before it in the order and for what runs already, and for nothing else.

Linear in the requests that wait for stages with a free worker, and a logarithm for each that
starts; nothing where no worker is free.
"""

import heapq
from collections.abc import Callable

from tridentserve.domain.cluster import Worker
from tridentserve.domain.dispatch import Action, Cursor, Reserve, Segment, Start
from tridentserve.domain.ids import Epoch, SegmentId
from tridentserve.domain.stages import STAGES
from tridentserve.planner.dispatch.workers import Floor, strategy_of
from tridentserve.planner.state import Journey, State

Priority = tuple[float, ...]


def start_in_order(
    state: State, priority: Callable[[Journey], Priority], name: str
) -> list[Action]:
    """Start what can start, smallest priority first; each `Reserve` comes before its `Start`."""
    if not any(state.queue_length(stage) for stage in STAGES):
        return []  # every request's last event finds nobody waiting, most of the time
    floor = Floor(state)
    queues = {
        stage: [(priority(one), one.demand.id, one) for one in state.waiting(stage)]
        for stage in STAGES
        if floor.open(stage)
    }
    for queue in queues.values():
        heapq.heapify(queue)
    actions: list[Action] = []
    hopeless: set[object] = set()
    while queues := {stage: queue for stage, queue in queues.items() if queue}:
        stage = min(queues, key=lambda one: queues[one][0][:2])
        _, _, journey = heapq.heappop(queues[stage])
        kind = _kind(journey)
        if kind in hopeless:
            continue
        worker = floor.choose(journey)
        if worker is None:
            hopeless.add(kind)  # nothing becomes free within a decision
            continue
        floor.take(worker, journey)
        actions += _actions(floor, journey, worker, name)
        queues = {stage: queue for stage, queue in queues.items() if floor.open(stage)}
    return actions


def _actions(floor: Floor, journey: Journey, worker: Worker, name: str) -> list[Action]:
    """A start, after the reservation of who is to read what it makes."""
    start = Start(segment=_segment(journey, worker), reason=_reason(journey, name))
    consumer, following = floor.consumer(journey, worker), journey.stage.next
    if consumer is None or following is None:
        return [start]
    reserve = Reserve(
        request=journey.demand.id,
        stage=following,
        worker=consumer.id,
        reason=f"{name}: {following} on {consumer.id} would read from {worker.id}",
    )
    return [reserve, start]


def _kind(journey: Journey) -> object:
    """What `Floor.choose` decides by whether there is a worker at all, who is best apart."""
    demand = journey.demand
    key = (demand.shape, demand.steps, demand.guidance)
    return (journey.stage, journey.digest, journey.excluded, demand.pipeline, key)


def _segment(journey: Journey, worker: Worker) -> Segment:
    strategy = strategy_of(worker)
    epoch = Epoch(journey.epoch + 1)
    return Segment(
        id=SegmentId(f"{journey.demand.id}/{journey.stage}/{epoch}"),
        worker=worker.id,
        stage=journey.stage,
        devices=worker.devices[: strategy.degree],
        strategy=strategy,
        requests=(Cursor(request=journey.demand.id),),
        epoch=epoch,
    )


def _reason(journey: Journey, name: str) -> str:
    return f"{name}: first of those that a free worker of {journey.stage} can take"
