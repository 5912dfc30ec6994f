"""A decision to start, as actions: the reservation of who reads the output, then the start."""

from tridentserve.domain.dispatch import Action, Cursor, Reserve, Segment, Start
from tridentserve.domain.ids import Epoch, SegmentId
from tridentserve.domain.strategy import Strategy
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.state import Journey


def started(
    floor: Floor, journey: Journey, place: Place, strategy: Strategy, reason: str
) -> list[Action]:
    """A start, after the reservation of who is to read what it makes.

    Args:
        floor: of this decision; the place is taken by the caller.
        journey: waits for its stage.
        place: where it runs.
        strategy: of as many devices as the place has.
        reason: why here and now, for people.
    """
    start = Start(segment=_segment(journey, place, strategy), reason=reason)
    consumer, following = floor.consumer(journey, place.worker), journey.stage.next
    if consumer is None or following is None:
        return [start]
    reserve = Reserve(
        request=journey.demand.id,
        stage=following,
        worker=consumer.id,
        reason=f"{following} on {consumer.id} would read from {place.worker.id}",
    )
    return [reserve, start]


def _segment(journey: Journey, place: Place, strategy: Strategy) -> Segment:
    epoch = Epoch(journey.epoch + 1)
    return Segment(
        id=SegmentId(f"{journey.demand.id}/{journey.stage}/{epoch}"),
        worker=place.worker.id,
        stage=journey.stage,
        devices=place.devices,
        strategy=strategy,
        requests=(Cursor(request=journey.demand.id),),
        epoch=epoch,
    )
