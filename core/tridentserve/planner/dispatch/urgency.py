"""Who goes first among those with deadlines, and what becomes of those that are late.

Four tiers, the first first:

| tier | who | order |
| --- | --- | --- |
| aged | late by more than `patience` times the seconds that it needs by its fastest degree of all | deadline |
| encode | on time, waits for encode: tenths of a second, and until then it cannot be planned for | latest start |
| on time | can be on time by its fastest degree that is offered (`thrift`) | latest start: deadline less its fastest seconds |
| late | cannot be on time any more | see below, then deadline |

Late ones go by what they still need, the least first, or by their response *ratio*, the seconds that
they waited to those that they need: the first is best for the mean until the large ones wait for
ever, the second hardly worse and fair to all (Hansen 1971, highest response ratio next).

So late work displaces nothing that is on time until it has aged. Where late requests *mingle* they
displace nothing either, and need not wait for that: one that is late goes before those on time that
can still start when it is done, as if it had to start then itself. Short ones hardly wait so, long
ones wait for nearly everybody.

Nothing starves: members of a class stand in the order of their deadlines, and an aged request goes
before all but those aged before it. Deadlines count at least the arrival, so nobody can ask to be always first, and at most
`HORIZON_S` after it, so nobody waits for ever by asking for little.

Who is late is a prefix of its class, found by bisection; nothing is kept from one decision to the
next.
"""  # noqa: E501 - a table

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from tridentserve.domain.ids import RequestId
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.outlook import Outlook
from tridentserve.planner.dispatch.queues import Priority, Queue, Ticket
from tridentserve.planner.state import Journey

HORIZON_S = 4 * 3600.0
"""Deadlines further than this after the arrival count as this."""
PATIENCE = 4.0
_LEAST_S = 1e-3
"""What a request counts as needing at least, where its ratio is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """What becomes of those that are late."""

    patience: float = PATIENCE
    """Times its fastest seconds by which a request is late when it has aged."""
    mingling: bool = False
    """Whether they mingle with those on time."""
    by_ratio: bool = False
    """Whether they go by their response ratio."""


USUAL = Lateness()


class Tier(IntEnum):
    """Groups of requests, the first first."""

    AGED = 0
    ENCODE = 1
    ON_TIME = 2
    LATE = 3


Rank = tuple[int, float, float, RequestId]
"""The least goes first."""


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """Members of one class in one tier, and how far they were gone through.

    Nobody changes one. It is not frozen because every decision makes one for every class that
    waits, and a frozen one takes three times as long to make.
    """

    queue: Queue
    outlook: Outlook
    tier: Tier
    position: int
    end: int
    """First position that is of another tier."""
    now: float
    """Unix time."""
    lateness: Lateness

    @property
    def stage(self) -> Stage:
        """What it waits for."""
        return self.queue.key.stage

    @property
    def request(self) -> RequestId:
        """Whose turn it is."""
        return self.queue.tickets[self.position][1]

    @property
    def due_s(self) -> float:
        """Its deadline, as far as it counts."""
        return self.queue.tickets[self.position][0][0]

    def due_after_s(self, more: int) -> float:
        """The deadline of the one so many places behind, or of the last."""
        return self.queue.tickets[min(self.position + more, self.end - 1)][0][0]

    @property
    def choosy(self) -> bool:
        """Whether the next of its class may take another degree, where this one has no place."""
        is_late = self.tier in (Tier.AGED, Tier.LATE)
        return self.outlook.is_known and not is_late and len(self.outlook.offers) > 1

    @property
    def rank(self) -> Rank:
        """Its place among all that wait."""
        (due_s, arrived_s), request = self.queue.tickets[self.position]
        if self.tier is Tier.LATE and self.lateness.mingling:
            return (Tier.ON_TIME, self.now + self.outlook.fastest_s, due_s, request)
        match self.tier:
            case Tier.AGED:
                order = due_s
            case Tier.LATE if self.lateness.by_ratio:
                order = (arrived_s - self.now) / max(self.outlook.best_s, _LEAST_S)
            case Tier.LATE:
                order = self.outlook.fastest_s
            case _:
                order = due_s - self.outlook.fastest_s
        return (self.tier, order, due_s, request)

    def following(self) -> "Turn | None":
        """The next of its class and tier; None after the last."""
        if self.position + 1 >= self.end:
            return None
        # Spelt out: `dataclasses.replace` takes a multiple of it, for everyone that waits in vain.
        return Turn(
            queue=self.queue,
            outlook=self.outlook,
            tier=self.tier,
            position=self.position + 1,
            end=self.end,
            now=self.now,
            lateness=self.lateness,
        )


def within(journey: Journey) -> Priority:
    """Place among requests of the same class: by deadline, then by arrival."""
    demand = journey.demand
    due_s = max(demand.arrived_s, min(demand.deadline_s, demand.arrived_s + HORIZON_S))
    return (due_s, demand.arrived_s)


def _before(tickets: Sequence[Ticket], due_s: float, end: int) -> int:
    """How many of the first `end` are due before a moment; most often none, or all."""
    if not end or tickets[0][0][0] >= due_s:
        return 0
    if tickets[end - 1][0][0] < due_s:
        return end
    return bisect_left(tickets, ((due_s,),), 0, end)


def turns(
    queue: Queue,
    outlook: Outlook,
    now: float,
    lateness: Lateness = USUAL,
) -> Iterator[Turn]:
    """The first members of a class in every tier.

    Where the outlook is unknown nobody is late: all stand in the order of their deadlines.

    Args:
        queue: the class.
        outlook: of its members, by the degrees that are offered for now.
        now: Unix time.
        lateness: what becomes of those that are late.
    """
    tickets = queue.tickets
    aged = late = 0
    if outlook.is_known:
        late = _before(tickets, now + outlook.fastest_s, len(tickets))
        aged = _before(tickets, now - lateness.patience * outlook.soonest_s, late)
    on_time = Tier.ON_TIME
    if outlook.is_known and queue.key.stage is Stage.ENCODE:
        on_time = Tier.ENCODE
    parts = ((Tier.AGED, 0, aged), (Tier.LATE, aged, late), (on_time, late, len(tickets)))
    for tier, start, end in parts:
        if start < end:
            yield Turn(
                queue=queue,
                outlook=outlook,
                tier=tier,
                position=start,
                end=end,
                now=now,
                lateness=lateness,
            )
