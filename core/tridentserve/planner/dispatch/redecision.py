"""Mechanism 5: what runs may change its degree at a step boundary, at a cost and not often.

A degree is chosen for the load of a moment, and a long request outlives it. Two changes pay:

* **growth**: nothing waits, and a neighbour left devices vacant. The segment that saves the most
  seconds per device takes them, as far as water-filling (`water_filling`) finds them worth it.
* **demotion**: a request that is on time now, and soon no longer, finds no place. A segment that
  keeps its own deadline on fewer devices gives some up, where that makes the room.

Every change is charged `cost_s` (communication groups to set up; weights and latents stay where
they are), and a segment changes at most `cap` times: its epoch counts them. Nothing is ever paused,
so nothing has to be brought back. Batches are left as they are.

What remains of a segment is what its clock says (`running`); a change takes effect a step later.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from tridentserve.domain.dispatch import Resize, Segment
from tridentserve.domain.ids import DeviceId, Epoch, WorkerId
from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.alone import changeable
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.offers import Offer
from tridentserve.planner.dispatch.options import Option, Options, at_degree
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.dispatch.water_filling import WaterFilling, speeds_up
from tridentserve.planner.roster import Kind
from tridentserve.planner.state import State

Slack = Callable[[Segment], float]
"""Seconds that a segment may still take and keep its own deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redecision:
    """When a change is worth it."""

    cost_s: float = 1.0
    """Seconds that a change costs the segment."""
    cap: int = 2
    """Changes of one segment."""
    gain_s: float = 2.0
    """Seconds that a growth must save, its cost taken off."""
    urgent_s: float = 10.0
    """A request that stays on time for less than this may have others demoted."""
    filling: WaterFilling = WaterFilling()  # noqa: RUF009 - a frozen value
    looked_at: int = 16
    """Workers that are compared, the emptiest first: what bounds the cost of a decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """A segment that may change, and how it would go on at other degrees."""

    segment: Segment
    options: tuple[Option, ...]
    """Of its whole stage, ascending."""
    current: Option
    step_s: float
    """Of one step: its next boundary is at most so far."""
    left_s: float
    """From then on, at the current degree."""

    def left_at(self, option: Option) -> float:
        """The same at another degree."""
        return self.left_s * option.mean_s / self.current.mean_s


class Redecisions:
    """Changes of what runs, within one decision."""

    def __init__(
        self,
        settings: Redecision,
        state: State,
        floor: Floor,
        options: Options,
        running: Running,
        now: float,
    ) -> None:
        """Nothing is changed yet."""
        self._settings, self._state, self._floor = settings, state, floor
        self._options, self._running, self._now = options, running, now

    def growths(self) -> Iterator[Resize]:
        """At most one segment of every worker takes over devices that are vacant there."""
        for name in self._candidates(self._state.roster.kinds(Stage.DIFFUSE), least=1):
            vacant = self._floor.vacant_devices(self._state.workers[name])
            grown = [
                (saved_s / (option.degree - course.current.degree), course, option)
                for course in self._courses(name)
                for saved_s, option in self._best_growth(course, len(vacant))
            ]
            if grown:
                _, course, option = max(grown, key=lambda one: (one[0], one[1].segment.id))
                more = option.degree - course.current.degree
                yield _resize(course, option, vacant[:more], "idle devices save seconds")

    def demotions(self, offer: Offer, slack: Slack) -> Iterator[Resize]:
        """Make room for a call of this degree on one worker, if that can be done.

        Args:
            offer: what has no place.
            slack: of those that run.
        """
        names = tuple(self._candidates(offer.kinds, least=0))
        if any(self._lacking(name, offer) <= 0 for name in names):
            return  # it is on its way
        for name in names:
            lacking = self._lacking(name, offer)
            chosen: list[tuple[_Course, Option]] = []
            for course in self._courses(name):
                smaller = self._smaller(course, slack)
                if lacking > 0 and smaller is not None:
                    chosen.append((course, smaller))
                    lacking -= course.current.degree - smaller.degree
            if lacking <= 0:
                for course, option in chosen:
                    yield _resize(course, option, (), "has time that a more urgent one lacks")
                return

    def _lacking(self, name: WorkerId, offer: Offer) -> int:
        """Devices that are missing on a worker even when all that yields has yielded."""
        lacking = offer.degree - len(self._floor.vacant_devices(self._state.workers[name]))
        for segment in self._state.running(name):
            change = self._state.pending(segment.id)
            if isinstance(change, Resize):
                lacking -= len(segment.devices) - change.strategy.degree
        return lacking

    def _best_growth(self, course: _Course, vacant: int) -> list[tuple[float, Option]]:
        """The seconds that it saves at most, and at which degree; nothing if not worth it."""
        saved = [
            (course.left_s - course.left_at(option) - self._settings.cost_s, option)
            for option in self._larger(course, vacant)
        ]
        worth_it = [one for one in saved if one[0] >= self._settings.gain_s]
        return [max(worth_it, key=lambda one: one[0])] if worth_it else []

    def _larger(self, course: _Course, vacant: int) -> Iterator[Option]:
        last = course.current
        for option in course.options:
            if option.degree <= last.degree:
                continue
            if option.degree - course.current.degree > vacant:
                return
            if not speeds_up(last, option, self._settings.filling):
                return
            yield option
            last = option

    def _smaller(self, course: _Course, slack: Slack) -> Option | None:
        """Half of its devices, if it is still on time then."""
        option = at_degree(course.options, course.current.degree // 2)
        if option is None:
            return None
        ends_s = course.step_s + course.left_at(option) + self._settings.cost_s
        margin_s = option.q90_s - option.mean_s
        return option if ends_s + margin_s <= slack(course.segment) else None

    def _candidates(self, kinds: tuple[Kind, ...], *, least: int) -> Iterator[WorkerId]:
        """Workers to look at, the emptiest first."""
        for kind in kinds:
            if not kind.concurrent or kind.devices < 2:
                continue
            rooms = reversed(kind.rooms[least:])
            yield from islice((n for room in rooms for n in room), self._settings.looked_at)

    def _courses(self, name: WorkerId) -> Iterator[_Course]:
        kind = self._state.roster.kind(name)
        assert kind is not None, "candidates come from kinds"
        for segment in changeable(self._state, name):
            course = self._course(kind, segment)
            if course is not None:
                yield course

    def _course(self, kind: Kind, segment: Segment) -> _Course | None:
        journey = self._state.journeys[segment.requests[0].request]
        if segment.epoch - journey.epoch >= self._settings.cap:
            return None
        demand = journey.demand
        call = (Stage.DIFFUSE, demand.shape, demand.steps, demand.count)
        options = self._options.of(kind, *call)
        current = at_degree(options, segment.strategy.degree)
        remaining_s = self._running.remaining_s(self._state, segment, self._now)
        if current is None or remaining_s is None:
            return None
        step_s = current.mean_s / max(1, demand.steps)
        if remaining_s <= step_s:
            return None  # it ends before a change could take effect
        return _Course(
            segment=segment,
            options=options,
            current=current,
            step_s=step_s,
            left_s=remaining_s - step_s,
        )


def _resize(course: _Course, option: Option, more: tuple[DeviceId, ...], why: str) -> Resize:
    segment = course.segment
    devices = (*segment.devices, *more)[: option.degree]
    return Resize(
        segment=segment.id,
        devices=devices,
        strategy=option.strategy,
        epoch=Epoch(segment.epoch + 1),
        reason=f"from {course.current.degree} to {option.degree} devices: {why}",
    )
