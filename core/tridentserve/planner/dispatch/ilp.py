"""The published dispatch: an integer program for diffuse, the rest derived (paper 1.5, 1.6, 3.3).

At most every half second the requests that wait for diffuse are weighed all at once: each gets no
devices, or one of its efficient degrees on one kind of worker (`ilp_program`). Encode and decode
start at any time on one device, by deadline: with the worker that has their input where that has
room, else on the emptiest.

What the figures of section 3.3 mean: on time is worth 1000 whatever the degree, a device that is
used 1, so among degrees that are on time the largest wins; a penalty for every hand-off of the
worker's type decides between types. Two readings of *late* can be had. As published the worth grows
with lateness, which prefers slow degrees and lets the very late displace those on time. The sound
one falls with lateness and rises with waiting, as the paper's text asks for.

No request is passed for ever where it can run on one device: a late one outweighs all that a node
of eight could do on time once it has waited 8 / `ageing` times its best seconds. Those that need
several devices at once may starve: nothing is ever held back for them. That is the published
policy, not a defect of this one.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from tridentserve.domain.dispatch import Action, WakeAt
from tridentserve.domain.stages import Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.degrees import Fixed
from tridentserve.planner.dispatch.fits import Fit, emptiest
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.ilp_program import Choice, Pool, solve
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.options import EFFICIENT, Option, Options, efficient
from tridentserve.planner.dispatch.ordered import Ordered, Rules
from tridentserve.planner.dispatch.orders import ByDeadline
from tridentserve.planner.dispatch.queues import ClassKey, class_of
from tridentserve.planner.dispatch.starting import started
from tridentserve.planner.linear import Limits, check_solver
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import Journey, State


class Late(Enum):
    """What a late finish is worth."""

    SOUND = "sound"
    INVERTED = "inverted"
    """More, the later it is: the published code."""


class Covers(Enum):
    """What is compared with the deadline."""

    DIFFUSE = "diffuse"
    """The published code; decode then comes on top and makes late what was thought on time."""
    REST = "rest"
    """Diffuse and decode: all that is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IlpSettings:
    """The figures of the published code, and where it may be corrected."""

    window_s: float = 0.5
    """Least time between two solutions."""
    threshold: float = EFFICIENT
    """The least degree is kept where none is efficient (section 5.6)."""
    on_time: float = 1000.0
    late: Late = Late.SOUND
    ageing: float = 0.1
    """Share of `on_time` that a late request gains by waiting for its own best seconds."""
    covers: Covers = Covers.REST
    handoff: float = 1.0
    """Penalty Q for the first hand-off of a worker's type; those of latents count twice."""
    device: float = 1.0
    """Worth of using a device."""
    requests: int = 256
    """The most urgent that are weighed at a time; encode pauses while as many wait for diffuse."""
    fit: Fit = emptiest
    """The node with the most free devices, as published."""
    limits: Limits = Limits()  # noqa: RUF009 - a frozen value


PUBLISHED = IlpSettings(late=Late.INVERTED, covers=Covers.DIFFUSE)
"""The shipped constants, but for the filters that contradict each other and the missing bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worth:
    """One choice of a request, before requests are counted together."""

    kind: Kind
    degree: int
    worth: float


_Group = tuple[ClassKey, tuple[_Worth, ...]]


class Ilp(Ordered):
    """Start the best set of requests now, by an integer program."""

    def __init__(self, cost: CostModel | None = None, settings: IlpSettings | None = None) -> None:
        """Nothing was decided yet.

        Raises:
            ImportError: highspy is not installed.
        """
        check_solver("dispatch by Ilp")
        self._settings = settings or IlpSettings()
        options = Options(cost or CostModel())
        rules = Rules(degrees=Fixed(1), fit=self._settings.fit)
        super().__init__("Ilp", ByDeadline(), Offers(options), rules)
        self._due_s = float("-inf")
        """When the next solution may be asked for."""

    def _starts(self, state: State, floor: Floor, now: float) -> Iterator[Action]:
        crowded = state.queue_length(Stage.DIFFUSE) >= self._settings.requests
        stages = (Stage.DECODE,) if crowded else (Stage.DECODE, Stage.ENCODE)
        yield from self._in_order(state, floor, now, stages)
        if not state.queue_length(Stage.DIFFUSE):
            return
        if now >= self._due_s and floor.open(Stage.DIFFUSE):
            self._due_s = now + self._settings.window_s
            yield from self._solved(state, floor, now)
        elif now < self._due_s:
            yield WakeAt(at_s=self._due_s, reason="Ilp: weighs what waits for diffuse then")

    def _solved(self, state: State, floor: Floor, now: float) -> Iterator[Action]:
        groups = self._groups(state, now)
        kinds = list(dict.fromkeys(one.kind for _, found in groups for one in found))
        choices = [
            Choice(group=index, pool=kinds.index(one.kind), degree=one.degree, worth=one.worth)
            for index, (_, found) in enumerate(groups)
            for one in found
        ]
        members = list(groups.values())
        pools = [_pool(kind, state, floor) for kind in kinds]
        counts = solve(choices, [len(one) for one in members], pools, self._settings.limits)
        if counts is None:
            yield WakeAt(at_s=self._due_s, reason="Ilp: found nothing within its bounds")
            return
        widest_first = sorted(range(len(choices)), key=lambda one: -choices[one].degree)
        for index in widest_first:
            choice = choices[index]
            for _ in range(counts[index]):
                yield from self._start(
                    floor, members[choice.group], kinds[choice.pool], choice.degree
                )

    def _start(
        self, floor: Floor, waiting: list[Journey], kind: Kind, degree: int
    ) -> Iterator[Action]:
        """The next of a group, on a worker of the kind, and as many of its like as may join."""
        if not waiting:
            return  # joined the call of another
        place = floor.choose(waiting[0], degree, fit=self._settings.fit, near=False, among=(kind,))
        if place is None:
            return  # the one with room must not be used for it
        strategy = self._offers.strategy(kind, waiting[0], degree)
        reason = f"Ilp: of what waits for diffuse, best on {degree} now"
        for _ in range(kind.slots):
            journey = waiting.pop(0)
            floor.take(place, journey)
            yield from started(floor, journey, place, strategy, reason)
            if not waiting or not place.seats:
                return

    # --- what is weighed --------------------------------------------------------------------------

    def _groups(self, state: State, now: float) -> dict[_Group, list[Journey]]:
        """The most urgent that wait, together where every choice is worth the same."""
        groups: dict[_Group, list[Journey]] = defaultdict(list)
        waiting = sorted(state.waiting(Stage.DIFFUSE), key=_urgency)
        for journey in waiting[: self._settings.requests]:
            worth = tuple(self._worth(state, journey, now))
            if worth:
                groups[class_of(journey), worth].append(journey)
        return groups

    def _worth(self, state: State, journey: Journey, now: float) -> Iterator[_Worth]:
        offers = self._efficient(self._offers.of(state, journey))
        best_s = min((one.option.mean_s for one in offers if one.option), default=0.0)
        for offer in offers:
            worth = self._reward(journey, offer, best_s, now) + self._settings.device * offer.degree
            for kind in offer.kinds:
                handoffs = (Stage.ENCODE not in kind.capable) + 2 * (
                    Stage.DECODE not in kind.capable
                )
                yield _Worth(
                    kind=kind,
                    degree=offer.degree,
                    worth=worth - self._settings.handoff * handoffs,
                )

    def _efficient(self, offers: Sequence[Offer]) -> list[Offer]:
        options = tuple(offer.option for offer in offers if offer.option is not None)
        chosen = efficient(options, self._settings.threshold)
        return [one for one in offers if one.option is None or one.option in chosen]

    def _reward(self, journey: Journey, offer: Offer, best_s: float, now: float) -> float:
        """W_r: what it is worth that the request finishes when it would."""
        settings, demand = self._settings, journey.demand
        late_s = now + self._takes_s(journey, offer.option) - demand.deadline_s
        if late_s <= 0 or offer.option is None or best_s <= 0:
            return settings.on_time
        if settings.late is Late.INVERTED:
            share = min(1.0, 0.1 * (1 + late_s / best_s))
            return min(settings.on_time, int(settings.on_time * share) + offer.degree - 1)
        waited = max(0.0, now - demand.arrived_s) / best_s
        return settings.on_time * (0.5 / (1 + late_s / best_s) + settings.ageing * waited)

    def _takes_s(self, journey: Journey, option: Option | None) -> float:
        if option is None:
            return 0.0
        if self._settings.covers is Covers.DIFFUSE:
            return option.mean_s
        demand = journey.demand
        call = (Stage.DECODE, demand.shape, demand.steps, demand.count)
        decode = self._offers.options.anywhere(*call)
        return option.mean_s + (decode[0].mean_s if decode else 0.0)


def _urgency(journey: Journey) -> tuple[float, float, str]:
    return (journey.demand.deadline_s, journey.demand.arrived_s, journey.demand.id)


def _pool(kind: Kind, state: State, floor: Floor) -> Pool:
    workers = (state.workers[name] for room in kind.rooms for name in room)
    free = tuple(len(floor.vacant_devices(worker)) for worker in workers)
    return Pool(free=free, concurrent=kind.concurrent)
