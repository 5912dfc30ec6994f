"""Which running segments are calls of their own, so that their devices may be changed.

A batch is several segments on the same devices in one call (`batches`): none of them can leave, or
use other devices, without the others.
"""

from collections import Counter

from tridentserve.domain.dispatch import Segment
from tridentserve.domain.ids import WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.planner.state import State


def changeable(state: State, worker: WorkerId) -> list[Segment]:
    """Diffusion of one request that runs alone on its devices, and that nothing changes yet."""
    running = state.running(worker)
    users = Counter(device for segment in running for device in segment.devices)
    return [
        segment
        for segment in running
        if segment.stage is Stage.DIFFUSE
        and len(segment.requests) == 1
        and state.pending(segment.id) is None
        and all(users[device] == 1 for device in segment.devices)
    ]
