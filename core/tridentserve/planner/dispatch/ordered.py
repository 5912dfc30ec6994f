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

from tridentserve.domain.dispatch import Action
from tridentserve.domain.stages import STAGES
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.starting import started
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
        place = floor.choose(journey)
        if place is None:
            hopeless.add(kind)  # nothing becomes free within a decision
            continue
        floor.take(place, journey)
        strategy = place.kind.widest
        actions += started(floor, journey, place, strategy, _reason(journey, name))
        queues = {stage: queue for stage, queue in queues.items() if floor.open(stage)}
    return actions


def _kind(journey: Journey) -> object:
    """What `Floor.choose` decides by whether there is a worker at all, who is best apart."""
    demand = journey.demand
    key = (demand.shape, demand.steps, demand.guidance)
    return (journey.stage, journey.digest, journey.excluded, demand.pipeline, key)


def _reason(journey: Journey, name: str) -> str:
    return f"{name}: first of those that a free worker of {journey.stage} can take"
