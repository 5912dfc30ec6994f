"""Devices that a request could start on: what a search for them answers with."""

from dataclasses import dataclass

from tridentserve.domain.cluster import Worker
from tridentserve.domain.ids import DeviceId
from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey

WorkKey = tuple[Stage, Shape, int, int, float]
"""What must be equal to run in one call, beside the worker's own content."""


@dataclass(slots=True, kw_only=True)
class Place:
    """Devices of one worker that a request can start on."""

    worker: Worker
    devices: tuple[DeviceId, ...]
    vacant: int
    """Devices that the worker has to spare, these included."""
    kind: Kind
    key: WorkKey | None = None
    """Of the batch that it joins; None where it is the first."""
    seats: int = 0
    """How many more may join."""


def work_key(journey: Journey) -> WorkKey:
    """The key of the call that a journey waits for; seats count requests of as many pictures."""
    demand, stage = journey.demand, journey.stage
    return (stage, demand.shape, demand.steps, demand.pictures(stage), demand.guidance)
