"""Preemption at step boundaries: running segments yield their devices, and go on later.

What yields keeps its latents on its worker and goes on there (`resuming`). The devices come with
the victims' next step, so whoever preempts starts in a later decision; until then the worker is
kept free for it. A segment changes at most `cap` times: its epoch counts its changes.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import islice

from tridentserve.domain.dispatch import Resize, Segment, Yield
from tridentserve.domain.ids import Epoch, WorkerId
from tridentserve.planner.dispatch.alone import changeable
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import State

_LOOKED_AT = 16
"""Workers of a kind that are compared, the emptiest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A worker on which there will be room at the next step boundaries."""

    worker: WorkerId
    yields: tuple[Yield, ...]
    """What is to be decided for it; empty where enough yields already."""


def room_by_pausing(
    state: State,
    floor: Floor,
    kinds: Iterable[Kind],
    degree: int,
    excluded: Set[WorkerId],
    may_pause: Callable[[Segment], bool],
    reason: str,
) -> Room | None:
    """The worker on which the fewest devices must yield for a call of this degree.

    Args:
        state: what runs.
        floor: of this decision.
        kinds: whose workers may run the call.
        degree: devices that it needs.
        excluded: workers that must not run it.
        may_pause: who may be a victim.
        reason: for people.
    """
    best: tuple[int, WorkerId, list[Segment]] | None = None
    for name in _candidates(kinds, degree, excluded):
        lacking = degree - len(floor.vacant_devices(state.workers[name])) - _coming(state, name)
        if lacking <= 0:
            return Room(worker=name, yields=())
        victims = _victims(state, name, lacking, may_pause)
        freed = sum(len(one.devices) for one in victims)
        if freed >= lacking and (best is None or (freed, name) < best[:2]):
            best = (freed, name, victims)
    if best is None:
        return None
    yields = (Yield(segment=one.id, epoch=Epoch(one.epoch + 1), reason=reason) for one in best[2])
    return Room(worker=best[1], yields=tuple(yields))


def pauses_of(state: State, segment: Segment) -> int:
    """How often a segment was changed since it started."""
    journey = state.journeys.get(segment.requests[0].request)
    return 0 if journey is None else segment.epoch - journey.epoch


def _candidates(kinds: Iterable[Kind], degree: int, excluded: Set[WorkerId]) -> Iterator[WorkerId]:
    for kind in kinds:
        if kind.concurrent and kind.devices >= degree:
            names = (name for room in reversed(kind.rooms) for name in room)
            yield from islice((name for name in names if name not in excluded), _LOOKED_AT)


def _coming(state: State, name: WorkerId) -> int:
    """Devices that are to be given up already."""
    coming = 0
    for segment in state.running(name):
        match state.pending(segment.id):
            case Yield():
                coming += len(segment.devices)
            case Resize(strategy=strategy):
                coming += len(segment.devices) - strategy.degree
            case None:
                pass
    return coming


def _victims(
    state: State, name: WorkerId, lacking: int, may_pause: Callable[[Segment], bool]
) -> list[Segment]:
    """As few as possible, the widest first."""
    found: list[Segment] = []
    running = [one for one in changeable(state, name) if may_pause(one)]
    for segment in sorted(running, key=lambda one: (-len(one.devices), one.id)):
        if lacking <= 0:
            break
        found.append(segment)
        lacking -= len(segment.devices)
    return found
