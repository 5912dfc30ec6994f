"""Which segments a worker has taken on: its slots, and the epochs that it has seen.

| a Run comes with | answer |
| --- | --- |
| an older epoch than this request was seen with | StaleEpochError |
| a segment id that is here already | StaleEpochError |
| a newer epoch, while an older one of its request is here | taken; the older is superseded |
| no slot free in its stage | ExhaustedError |

A slot is taken from admission until the outcome is on its way or the Run is cancelled: a cancelled
one ends at its next step, and whoever comes meanwhile waits that long in the batch list. Pure
bookkeeping.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from tridentserve.domain.ids import Epoch, RequestId, SegmentId
from tridentserve.domain.stages import Stage
from tridentserve.errors import ExhaustedError, StaleEpochError

_REMEMBERED = 10_000
"""Requests whose last epoch is kept; far more than can be on their way at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What admission has to know of a Run."""

    segment: SegmentId
    request: RequestId
    epoch: Epoch
    stage: Stage


class Segments:
    """Tickets that are here, and those of them that hold a slot."""

    def __init__(self, stages: Iterable[Stage], slots: int) -> None:
        """Begin empty, with `slots` of each stage."""
        self._stages, self._slots = tuple(stages), slots
        self._here: dict[SegmentId, Ticket] = {}
        self._holding: set[SegmentId] = set()
        self._epochs: OrderedDict[RequestId, Epoch] = OrderedDict()

    def __len__(self) -> int:
        """Segments that have not ended."""
        return len(self._here)

    def inflight(self, stage: Stage) -> int:
        """Slots of a stage that are taken."""
        return Counter(self._here[segment].stage for segment in self._holding)[stage]

    def full(self) -> frozenset[Stage]:
        """Stages without a free slot."""
        return frozenset(stage for stage in self._stages if self.inflight(stage) >= self._slots)

    def announce(self, ticket: Ticket) -> tuple[SegmentId, ...]:
        """Note its epoch; the answer names the segments of its request that it supersedes.

        Their slots are free from now on; the caller cancels their work.

        Raises:
            StaleEpochError: the request was seen with a newer epoch, or the segment is here.
        """
        self.check_epoch(ticket.request, ticket.epoch)
        if ticket.segment in self._here:
            raise StaleEpochError(f"segment {ticket.segment} is running here already")
        self._remember(ticket)
        superseded = tuple(
            other.segment
            for other in self._here.values()
            if other.request == ticket.request and other.epoch < ticket.epoch
        )
        for segment in superseded:
            self.free(segment)
        return superseded

    def take(self, ticket: Ticket) -> None:
        """Give an announced segment a slot.

        Raises:
            ExhaustedError: none is free.
        """
        if ticket.stage in self.full():
            raise ExhaustedError(f"all {self._slots} slots of {ticket.stage} are taken")
        self._here[ticket.segment] = ticket
        self._holding.add(ticket.segment)

    def check_epoch(self, request: RequestId, epoch: Epoch) -> None:
        """Refuse what is older than known.

        Raises:
            StaleEpochError: the request was seen with a newer epoch.
        """
        latest = self._epochs.get(request, epoch)
        if epoch < latest:
            raise StaleEpochError(f"epoch {epoch} of request {request} is older than {latest}")

    def find(self, segment: SegmentId) -> Ticket | None:
        """A segment that is here."""
        return self._here.get(segment)

    def free(self, segment: SegmentId) -> None:
        """Give its slot back; it may still be ending."""
        self._holding.discard(segment)

    def end(self, segment: SegmentId) -> None:
        """Forget it; no error where it is gone already."""
        self.free(segment)
        self._here.pop(segment, None)

    def _remember(self, ticket: Ticket) -> None:
        self._epochs[ticket.request] = ticket.epoch
        self._epochs.move_to_end(ticket.request)
        while len(self._epochs) > _REMEMBERED:
            self._epochs.popitem(last=False)
