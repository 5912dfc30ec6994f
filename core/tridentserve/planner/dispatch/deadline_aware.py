"""Our dispatch: deadlines met at the least price, without a solver (paper sections 4.1 and 5.7).

Requests are looked at by urgency (`urgency`), each at the degree that is worth its price and on
time (`pricing`). Those that need many devices get nodes drained for them (`reservation`), small
calls go where they break the fewest groups of devices, wherever their input lies, for latents are
small (mechanism 3, `fits`), and what idles when nothing waits makes the last one faster
(`water_filling`). While a queue stands, degrees that waste devices are not offered (`thrift`). Each
mechanism can be switched off; what is off falls back to the plainest rule.

Where costs are unknown nothing can be priced: every request takes the widest strategy next to its
input, in the order of deadlines, as `EarliestDeadline` does. So do all on workers of one device,
where there is nothing to choose but the order.

A decision costs as much as there are classes that wait, times degrees, however many wait in each;
nothing where no device is vacant. Of each class only the first `_DEPTH` that cannot start are
tried. What is kept between decisions (queues, clocks, outlooks) only saves time: built anew from
the state it gives the same answers, but for predicted ends of what was started before.
"""

import heapq
from collections.abc import Iterator

from tridentserve.domain.dispatch import Action, Event, Segment
from tridentserve.domain.stages import STAGES
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.clearing import Clearing
from tridentserve.planner.dispatch.degrees import Scene
from tridentserve.planner.dispatch.desk import Desk, Settings
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.outlook import Outlooks
from tridentserve.planner.dispatch.queues import Queues, class_of
from tridentserve.planner.dispatch.redecision import Redecisions
from tridentserve.planner.dispatch.resuming import resumed
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.dispatch.starting import started
from tridentserve.planner.dispatch.urgency import Rank, Tier, Turn, turns, within
from tridentserve.planner.state import State

_DEPTH = 4
"""Members of a class that are tried in vain before the class waits."""
_WHY = {
    Tier.AGED: "late for so long that it goes first",
    Tier.ENCODE: "encode, before it can be planned for",
    Tier.ON_TIME: "the most urgent that can be on time",
    Tier.LATE: "late, and nothing that is on time needs this before it is done",
}

_Entry = tuple[Rank, int, Turn]


class DeadlineAware:
    """Deadlines at the least price."""

    def __init__(self, cost: CostModel | None = None, settings: Settings | None = None) -> None:
        """Without a cost model nothing is known, and the order is that of deadlines."""
        self._settings = settings or Settings()
        cost = cost or CostModel()
        self._offers = Offers(Options(cost))
        self._outlooks = Outlooks(cost, self._offers, self._settings.store)
        self._queues = Queues(within)
        self._running = Running(self._offers.options)

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """Start what is worth starting; each `Reserve` before its `Start`."""
        self._running.see(event, now)
        self._queues.follow(state, event)
        if not self._queues and not state.parked and self._settings.redecision is None:
            return []
        scene = Scene.of(state, self._offers)
        clearing = Clearing(state, scene.floor, self._running, now)
        desk = Desk(self._settings, scene, clearing, len(self._queues), now)
        actions: list[Action] = [*resumed(state, scene.floor, "DeadlineAware")]
        actions += self._starts(scene, desk, now)
        actions += self._changes(scene, desk, now)
        actions += desk.held()
        self._queues.expect(actions)
        self._running.note(actions, now)
        return actions

    def _starts(self, scene: Scene, desk: Desk, now: float) -> Iterator[Action]:
        state, floor = scene.state, scene.floor
        line = self._line(state, floor, desk, now)
        while line:
            _, tried, turn = heapq.heappop(line)
            journey = state.journeys[turn.request]
            found = desk.place(journey, turn)
            tried = tried + 1 if found is None else 0
            if found is not None:
                place, offer = found
                strategy = self._offers.strategy(place.kind, journey, offer.degree)
                yield from started(floor, journey, place, strategy, _reason(turn, offer))
                if not (floor.open(turn.stage) or self._is_open(floor, line)):
                    return
            if tried:
                left = _DEPTH - tried if turn.choosy else 0
                if not left or desk.is_vain(turn, left):
                    continue
            following = turn.following()
            if following is not None:
                heapq.heappush(line, (following.rank, tried, following))

    def _is_open(self, floor: Floor, line: list[_Entry]) -> bool:
        """Whether any worker can take anything of what those in line wait for."""
        return any(floor.open(stage) for stage in {turn.stage for _, _, turn in line})

    def _changes(self, scene: Scene, desk: Desk, now: float) -> Iterator[Action]:
        """What runs already goes on otherwise: more devices where nobody waits, else fewer."""
        settings, state = self._settings.redecision, scene.state
        if settings is None:
            return
        changes = Redecisions(
            settings, state, scene.floor, self._offers.options, self._running, now
        )
        if desk.urgent is not None:
            yield from changes.demotions(desk.urgent, lambda one: self._slack_s(state, one, now))
        elif not desk.waiting:
            yield from changes.growths()

    def _slack_s(self, state: State, segment: Segment, now: float) -> float:
        """Seconds that a running segment may still take and keep the deadline of its request."""
        journey = state.journeys[segment.requests[0].request]
        outlook = self._outlooks.of(state, class_of(journey), journey)
        if not outlook.is_known:
            return 0.0
        return within(journey)[0] - now - outlook.rest_s - outlook.rest_margin_s

    def _line(self, state: State, floor: Floor, desk: Desk, now: float) -> list[_Entry]:
        """The first of every class and tier, as a heap."""
        line: list[_Entry] = []
        for stage in STAGES:
            if not state.queue_length(stage):
                continue
            # Who is urgent may have room made, so it is to be found on a full fleet as well.
            if self._settings.redecision is None and not floor.open(stage):
                continue
            for queue in self._queues.of(stage):
                journey = state.journeys[queue.tickets[0][1]]
                outlook = self._outlooks.of(state, queue.key, journey).by_efficiency(desk.thrift)
                for turn in turns(queue, outlook, now, desk.lateness):
                    line.append((turn.rank, 0, turn))
        heapq.heapify(line)
        return line


def _reason(turn: Turn, offer: Offer) -> str:
    return f"DeadlineAware: {_WHY[turn.tier]}, on {offer.degree}"
