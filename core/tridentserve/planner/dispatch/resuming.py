"""Segments that yielded go on when their worker has room again.

A parked segment's state lies on its worker, so it goes on there or nowhere. Policies that never
interrupt anything still meet parked segments: those of a planner that decided before them.
"""

from collections.abc import Iterator
from dataclasses import replace

from tridentserve.domain.dispatch import Resume, Segment
from tridentserve.domain.ids import Epoch
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.state import State


def resumed(state: State, floor: Floor, name: str) -> Iterator[Resume]:
    """Let go on what can, the longest parked first, before anything new takes the room."""
    for segment in state.parked.values():
        if (place := room_for(state, floor, segment)) is not None:
            floor.take(place, state.journeys[segment.requests[0].request])
            place.seats = 0  # nobody joins a call that has begun
            yield Resume(
                segment=replace(
                    segment, devices=place.devices, epoch=Epoch(segment.epoch + 1), boundary=None
                ),
                reason=f"{name}: its worker has room again",
            )


def room_for(state: State, floor: Floor, segment: Segment) -> Place | None:
    """The place for a parked segment on its own worker, on as many devices as it had."""
    kind = state.roster.kind(segment.worker)
    if kind is None or state.free_slots(segment.worker) < len(segment.requests):
        return None
    worker = state.workers[segment.worker]
    vacant, degree = floor.vacant_devices(worker), segment.strategy.degree
    if len(vacant) < degree:
        return None
    return Place(worker=worker, devices=vacant[:degree], vacant=len(vacant), kind=kind)
