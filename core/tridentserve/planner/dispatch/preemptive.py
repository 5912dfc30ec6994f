"""The loop of the policies that interrupt: an order over all that wait or are parked.

Requests and parked segments are looked at in one order. A request that has no place may have others
paused at their next step boundary (`pausing`), once in a decision; the worker that will have the
room is kept for it from then on. So is the worker of a parked segment whose turn it is, and where
nobody may be paused the emptiest worker, so that it drains. What a policy adds is the order, whom a
request may interrupt, and at which degree it runs.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

from tridentserve.domain.dispatch import Action, Event, Resume, Segment
from tridentserve.domain.ids import Epoch, RequestId, WorkerId
from tridentserve.domain.stages import STAGES
from tridentserve.planner.dispatch.degrees import Scene
from tridentserve.planner.dispatch.fits import fewest_blocks_broken
from tridentserve.planner.dispatch.guests import least_missed
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.pausing import pauses_of, room_by_pausing
from tridentserve.planner.dispatch.queues import Priority, Queue, Queues
from tridentserve.planner.dispatch.resuming import room_for
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.dispatch.starting import started
from tridentserve.planner.dispatch.workers import eligible
from tridentserve.planner.state import Journey, State

CAP = 4
"""Changes of one segment, pauses and resumptions: what was changed so often runs to its end."""
Entry = tuple[Priority, RequestId, int, Queue | Segment]
"""Place, who, and where in which class, or which parked segment."""


class Policy(Protocol):
    """What tells the preemptive policies apart."""

    name: str

    def within(self, journey: Journey) -> Priority:
        """Place among requests of the same class; fixed while it waits."""
        ...

    def priority(self, journey: Journey) -> Priority:
        """Place among all that wait or are parked."""
        ...

    def choices(self, journey: Journey, scene: Scene, now: float) -> Sequence[Offer]:
        """Degrees that it takes, the best first."""
        ...

    def may_pause(
        self, victim: Segment, journey: Journey, offer: Offer, scene: Scene, now: float
    ) -> bool:
        """Whether a request may have a segment paused."""
        ...


class Preemptive:
    """A planner that pauses what runs for what goes before it."""

    def __init__(self, policy: Policy, offers: Offers, running: Running, cap: int = CAP) -> None:
        """Nothing was decided yet."""
        self._policy, self._offers, self._running, self._cap = policy, offers, running, cap
        self._queues = Queues(policy.within)

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """Start and resume what can, the first in order first; pause for the first that cannot."""
        self._running.see(event, now)
        self._queues.follow(state, event)
        if not self._queues and not state.parked:
            return []
        scene = Scene.of(state, self._offers)
        actions = list(self._serve(scene, now))
        self._queues.expect(actions)
        self._running.note(actions, now)
        return actions

    def _serve(self, scene: Scene, now: float) -> Iterator[Action]:
        line = self._line(scene.state)
        kept: set[WorkerId] = set()
        paused = False
        ahead = self._ahead(scene, line)
        while ahead or line:
            in_line = not ahead
            entry = heapq.heappop(line) if in_line else ahead.pop(0)
            _, request, _, work = entry
            journey = scene.state.journeys[request]
            if isinstance(work, Segment):
                yield from self._resume(scene, work, kept)
                continue
            choices = self._policy.choices(journey, scene, now)
            actions = list(self._start(scene, journey, choices, kept))
            yield from actions
            if actions and in_line:
                self._follow(scene.state, entry, line)
            elif not actions and not paused and choices:
                paused = True
                yield from self._pause(scene, journey, choices[0], kept, now)

    def _ahead(self, scene: Scene, line: list[Entry]) -> list[Entry]:
        """Entries to look at before the rest of the line, taken out of it, others put in."""
        return []

    def _follow(self, state: State, entry: Entry, line: list[Entry]) -> None:
        """The next of a class comes into line."""
        _, _, position, work = entry
        if isinstance(work, Queue) and position + 1 < len(work.tickets):
            following = state.journeys[work.tickets[position + 1][1]]
            heapq.heappush(line, self._entry(following, position + 1, work))

    def _line(self, state: State) -> list[Entry]:
        line = [
            self._entry(state.journeys[queue.tickets[0][1]], 0, queue)
            for stage in STAGES
            for queue in self._queues.of(stage)
        ]
        for segment in state.parked.values():
            line.append(self._entry(state.journeys[segment.requests[0].request], 0, segment))
        heapq.heapify(line)
        return line

    def _entry(self, journey: Journey, position: int, work: Queue | Segment) -> Entry:
        return (self._policy.priority(journey), journey.demand.id, position, work)

    def _start(
        self, scene: Scene, journey: Journey, choices: Sequence[Offer], kept: set[WorkerId]
    ) -> Iterator[Action]:
        for offer in choices:
            spread = any(kind.devices > 1 for kind in offer.kinds)
            place = scene.floor.choose(
                journey,
                offer.degree,
                fit=fewest_blocks_broken,
                near=not spread,
                barred=kept,
                among=offer.kinds,
            )
            if place is not None:
                scene.floor.take(place, journey)
                strategy = self._offers.strategy(place.kind, journey, offer.degree)
                reason = f"{self._policy.name}: first in its order that has a place"
                yield from started(scene.floor, journey, place, strategy, reason)
                return

    def _resume(self, scene: Scene, segment: Segment, kept: set[WorkerId]) -> Iterator[Action]:
        place = None
        if segment.worker not in kept:
            place = room_for(scene.state, scene.floor, segment)
        if place is None:
            kept.add(segment.worker)
            return
        scene.floor.take(place, scene.state.journeys[segment.requests[0].request])
        place.seats = 0  # nobody joins a call that has begun
        yield Resume(
            segment=replace(
                segment, devices=place.devices, epoch=Epoch(segment.epoch + 1), boundary=None
            ),
            reason=f"{self._policy.name}: its turn again",
        )

    def _pause(
        self, scene: Scene, journey: Journey, offer: Offer, kept: set[WorkerId], now: float
    ) -> Iterator[Action]:
        def may_pause(victim: Segment) -> bool:
            return pauses_of(scene.state, victim) < self._cap and self._policy.may_pause(
                victim, journey, offer, scene, now
            )

        reason = f"{self._policy.name}: {journey.demand.id} goes before it"
        # Where scarcer stages need a worker, what was kept for this one would be left to them.
        roster = scene.state.roster
        kinds, excluded = eligible(roster, journey, offer.kinds)
        kinds = least_missed(roster, kinds, journey.stage)
        room = room_by_pausing(
            scene.state, scene.floor, kinds, offer.degree, excluded, may_pause, reason
        )
        if room is not None:
            kept.add(room.worker)
            yield from room.yields
            return
        # Nobody may be paused: without a node that drains, the first in order would wait for ever.
        rooms = (room for kind in kinds for room in reversed(kind.rooms))
        names = (name for room in rooms for name in room if name not in excluded)
        kept.update(islice(names, 1))
