"""Dispatch by a fixed order of requests: the loop that the orders have in common.

Whatever stage they wait for, requests are looked at in one order. Each takes the first of the
degrees that its rule allows for which some worker has room, and what those behind one that cannot
start may do is a third choice (`backfill`). So a policy is an order, a degree rule and a rule of
passing, and nothing that runs is ever interrupted, but for a segment that another planner parked:
that goes on as soon as its worker has room for as many devices as it had.

One decision costs as much as there are classes that wait for stages with a free worker, and a
logarithm for each request that starts; nothing where no worker is free.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tridentserve.domain.dispatch import Action, Event
from tridentserve.domain.ids import RequestId
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.dispatch.backfill import HeadOfLine, Passing, Reservations, Turn
from tridentserve.planner.dispatch.degrees import DegreeRule, Scene, Widest
from tridentserve.planner.dispatch.fits import Fit, tightest
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.orders import Order
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.dispatch.queues import Priority, Queue, Queues
from tridentserve.planner.dispatch.resuming import resumed
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.dispatch.starting import started
from tridentserve.planner.state import Journey, State

_Entry = tuple[Priority, RequestId, int, Queue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How an ordered policy goes about it, the order apart."""

    degrees: DegreeRule = Widest()  # noqa: RUF009 - a frozen value
    passing: Passing = Passing.BACK_FILL
    fit: Fit = tightest
    """Decides between workers that are alike but for their room."""


class Ordered:
    """A planner that looks at requests in an order; the base of the orders by name."""

    def __init__(self, name: str, order: Order, offers: Offers, rules: Rules) -> None:
        """Nothing was decided yet.

        Args:
            name: stands in the reasons.
            order: who is looked at first.
            offers: what the degree rule chooses from.
            rules: everything else.
        """
        self._name, self._order, self._offers, self._rules = name, order, offers, rules
        self._queues = Queues(order.within)
        self._running = Running(offers.options)
        self._reservations = Reservations(self._running)

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """Start what can start, the first in order first; each `Reserve` before its `Start`."""
        self._running.see(event, now)
        self._queues.follow(state, event)
        if not self._queues and not state.parked:
            return []  # every request's last event finds nobody waiting, most of the time
        floor = Floor(state, self._offers.options.most)
        actions = [*resumed(state, floor, self._name), *self._starts(state, floor, now)]
        self._queues.expect(actions)
        self._running.note(actions, now)
        return actions

    def _starts(self, state: State, floor: Floor, now: float) -> Iterator[Action]:
        yield from self._in_order(state, floor, now, STAGES)

    def _in_order(
        self, state: State, floor: Floor, now: float, stages: Sequence[Stage]
    ) -> Iterator[Action]:
        line = [
            self._entry(state, queue, 0)
            for stage in stages
            if state.queue_length(stage) and floor.open(stage)
            for queue in self._queues.of(stage)
        ]
        if not line:
            return
        heapq.heapify(line)
        scene = Scene(state=state, floor=floor, offers=self._offers)
        turn = self._turn(state, now)
        while line:
            _, request, position, queue = heapq.heappop(line)
            journey = state.journeys[request]
            found = self._place(journey, scene, turn)
            if found is None:
                continue  # nothing becomes free within a decision: its class waits
            place, offer = found
            floor.take(place, journey)
            turn.took(place, offer.option)
            strategy = offer.strategy or self._offers.strategy(place.kind, journey, offer.degree)
            yield from started(floor, journey, place, strategy, self._reason(journey))
            if position + 1 < len(queue.tickets):
                heapq.heappush(line, self._entry(state, queue, position + 1))
            if not any(floor.open(stage) for stage in {entry[3].key.stage for entry in line}):
                break
        turn.end()

    def _entry(self, state: State, queue: Queue, position: int) -> _Entry:
        request = queue.tickets[position][1]
        return (self._order.priority(state.journeys[request]), request, position, queue)

    def _turn(self, state: State, now: float) -> Turn:
        match self._rules.passing:
            case Passing.STRICT:
                return HeadOfLine(state.roster)
            case Passing.BACK_FILL:
                return Turn()
            case Passing.RESERVATION:
                return self._reservations.begin(state, now)

    def _place(self, journey: Journey, scene: Scene, turn: Turn) -> tuple[Place, Offer] | None:
        """The first of its degrees that some worker has room for, and where."""
        choices = self._rules.degrees.choices(journey, scene)
        for choice in choices:
            offer = turn.allowed(choice)
            if offer is None:
                continue
            place = scene.floor.choose(
                journey,
                offer.degree,
                fit=self._rules.fit,
                barred=turn.barred(offer),
                among=offer.kinds,
            )
            if place is not None:
                return place, offer
        turn.blocked(journey, choices)
        return None

    def _reason(self, journey: Journey) -> str:
        return f"{self._name}: first of those that a free worker of {journey.stage} can take"
