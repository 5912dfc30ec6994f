"""Rounds of least degrees, packed, and what is left over handed out: a modern opponent.

After TetriServe (arXiv 2510.01565), as described in section 4 of `docs/paper.md`. Diffusion is
decided once a round. Every request that waits takes the degree of the fewest device-seconds by
which it is on time. A knapsack over the vacant devices chooses as many as it can, those first that
would be late if they waited for another round; as all rewards within a group are equal, taking the
smallest needs first is its optimum, and no dynamic program is needed. Late requests come next. What
is left over makes those faster that start, by seconds saved per device, and if nobody waits then,
and `growth` says what a change costs, those that run: they keep their devices (placement
preservation).

Encode and decode are no part of the original: they start at once, the most urgent first.
Nothing starves as long as its least degree becomes vacant on some worker: whoever is late by
`PATIENCE` times its own seconds goes before all others (`urgency`).
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from tridentserve.domain.dispatch import Action, Event, WakeAt
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.degrees import Scene, Widest
from tridentserve.planner.dispatch.fits import fewest_blocks_broken
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.outlook import Outlooks
from tridentserve.planner.dispatch.queues import Queues
from tridentserve.planner.dispatch.redecision import Redecision, Redecisions
from tridentserve.planner.dispatch.resuming import resumed
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.dispatch.starting import started
from tridentserve.planner.dispatch.urgency import Rank, Tier, Turn, turns, within
from tridentserve.planner.state import State

ROUND_S = 2.0
_LIMIT = 256
"""Requests that are weighed in one round, the most urgent ones."""


@dataclass(slots=True, kw_only=True)
class _Pick:
    """A request of this round, and the degree that it is to have."""

    turn: Turn
    offer: Offer
    pressing: bool
    """Late if it waits for another round."""


class TetriRounds:
    """Decisions about diffusion in rounds."""

    def __init__(
        self,
        cost: CostModel,
        *,
        round_s: float = ROUND_S,
        growth: Redecision | None = None,
        store: str = "redis",
    ) -> None:
        """Nothing was decided yet.

        Args:
            cost: what stages take.
            round_s: between two decisions about diffusion.
            growth: what a change of degree costs; None changes nothing that runs.
            store: what hand-offs are assumed to go through.
        """
        self._round_s, self._growth = round_s, growth
        self._offers = Offers(Options(cost))
        self._outlooks = Outlooks(cost, self._offers, store)
        self._queues = Queues(within)
        self._running = Running(self._offers.options)
        self._next_s = 0.0

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """Start encode and decode; diffusion in its round, which is asked for by `WakeAt`."""
        self._running.see(event, now)
        self._queues.follow(state, event)
        if not self._queues and not state.parked and self._growth is None:
            return []
        scene = Scene.of(state, self._offers)
        actions: list[Action] = [*resumed(state, scene.floor, "TetriRounds")]
        for stage in STAGES:
            if stage is not Stage.DIFFUSE:
                actions += self._at_once(scene, stage, now)
        if now >= self._next_s:
            self._next_s = now + self._round_s
            actions += self._round(scene, now)
        if state.queue_length(Stage.DIFFUSE):
            actions.append(WakeAt(at_s=self._next_s, reason="TetriRounds: the next round"))
        self._queues.expect(actions)
        self._running.note(actions, now)
        return actions

    # --- what starts ------------------------------------------------------------------------------

    def _at_once(self, scene: Scene, stage: Stage, now: float) -> Iterator[Action]:
        for turn in self._urgent(scene.state, stage, now):
            if not scene.floor.open(stage):
                return
            offer = self._least(scene, turn, now)
            if offer is not None:
                yield from self._start(scene, turn, offer)

    def _round(self, scene: Scene, now: float) -> Iterator[Action]:
        vacancies = scene.floor.vacancies(Stage.DIFFUSE)
        vacant = sum(devices * workers for devices, workers in vacancies.items())
        picks: list[_Pick] = []
        weighed = list(self._urgent(scene.state, Stage.DIFFUSE, now)) if vacant else []
        widest = max((devices for devices, workers in vacancies.items() if workers), default=0)
        asked = 0
        for pick in sorted(self._picks(scene, weighed, now), key=_reward):
            if pick.offer.degree > widest:
                # It has to wait for one worker's devices: others may start, but not spread.
                asked += pick.offer.degree
            elif pick.offer.degree <= vacant:
                vacant -= pick.offer.degree
                picks.append(pick)
        _hand_out(picks, vacant - asked)
        for pick in sorted(picks, key=_placing):
            least = self._least(scene, pick.turn, now)
            for offer in (pick.offer, *([least] if least else [])):
                if actions := list(self._start(scene, pick.turn, offer)):
                    yield from actions
                    break
        if self._growth is not None and not scene.state.queue_length(Stage.DIFFUSE):
            options = self._offers.options
            yield from Redecisions(
                self._growth, scene.state, scene.floor, options, self._running, now
            ).growths()

    def _picks(self, scene: Scene, weighed: list[Turn], now: float) -> Iterator[_Pick]:
        for turn in weighed:
            offer = self._least(scene, turn, now)
            if offer is not None:
                left_s = turn.due_s - now - turn.outlook.fastest_s
                yield _Pick(turn=turn, offer=offer, pressing=left_s < self._round_s)

    def _start(self, scene: Scene, turn: Turn, offer: Offer) -> Iterator[Action]:
        journey = scene.state.journeys[turn.request]
        place = scene.floor.choose(
            journey,
            offer.degree,
            fit=fewest_blocks_broken,
            near=not any(kind.devices > 1 for kind in offer.kinds),
            among=offer.kinds,
        )
        if place is not None:
            scene.floor.take(place, journey)
            strategy = self._offers.strategy(place.kind, journey, offer.degree)
            reason = f"TetriRounds: on {offer.degree} in this round"
            yield from started(scene.floor, journey, place, strategy, reason)

    def _least(self, scene: Scene, turn: Turn, now: float) -> Offer | None:
        """The fewest device-seconds by which it is on time, else the fewest of all."""
        if not turn.outlook.is_known:
            journey = scene.state.journeys[turn.request]
            return next(iter(Widest().choices(journey, scene)), None)
        costs = [
            (now + turn.outlook.total_s(option) > turn.due_s, option.device_s, option.degree, offer)
            for offer in turn.outlook.offers
            if (option := offer.option) is not None
        ]
        return min(costs, key=lambda one: one[:3])[3] if costs else None

    def _urgent(self, state: State, stage: Stage, now: float) -> Iterator[Turn]:
        """Those that wait for a stage, the most urgent first, as many as are weighed."""
        line: list[tuple[Rank, Turn]] = []
        for queue in self._queues.of(stage):
            journey = state.journeys[queue.tickets[0][1]]
            outlook = self._outlooks.of(state, queue.key, journey)
            line += [(turn.rank, turn) for turn in turns(queue, outlook, now)]
        heapq.heapify(line)
        for _ in range(_LIMIT):
            if not line:
                return
            _, turn = heapq.heappop(line)
            yield turn
            if (following := turn.following()) is not None:
                heapq.heappush(line, (following.rank, following))


def _reward(pick: _Pick) -> tuple[int, bool, int, Rank]:
    """The aged in turn; then the pressing, those on time, the late, the smallest needs first."""
    tier = pick.turn.tier
    if tier is Tier.AGED:
        return (0, False, 0, pick.turn.rank)
    return (2 if tier is Tier.LATE else 1, not pick.pressing, pick.offer.degree, pick.turn.rank)


def _placing(pick: _Pick) -> tuple[bool, int]:
    """The aged first, since others were made wider by what is left; then the widest."""
    return (pick.turn.tier is not Tier.AGED, -pick.offer.degree)


def _hand_out(picks: list[_Pick], vacant: int) -> None:
    """Double the degree of whoever saves the most seconds per device, until nobody gains."""
    while vacant > 0:
        best: tuple[float, _Pick, Offer] | None = None
        for pick in picks:
            larger = _next_larger(pick)
            if larger is None or larger.option is None or pick.offer.option is None:
                continue
            more = larger.degree - pick.offer.degree
            rate = (pick.offer.option.mean_s - larger.option.mean_s) / more
            if more <= vacant and rate > 0 and (best is None or rate > best[0]):
                best = (rate, pick, larger)
        if best is None:
            return
        _, pick, larger = best
        vacant -= larger.degree - pick.offer.degree
        pick.offer = larger


def _next_larger(pick: _Pick) -> Offer | None:
    offers = pick.turn.outlook.offers
    return next((one for one in offers if one.degree > pick.offer.degree), None)
