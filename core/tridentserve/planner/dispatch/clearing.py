"""When the devices of a worker should be vacant, as far as that can be foreseen.

What runs ends when its clock says (`running`), what a decision started when its option says, and
what is vacant is so now. Devices that another worker leases are left out: nobody here knows their
end. What a worker's devices come to in one list is kept within a decision, until something starts
there; who only compares workers asks `clears`, which makes no list.
"""

from bisect import bisect_right
from math import inf

from tridentserve.domain.ids import WorkerId
from tridentserve.planner.dispatch.floor import Floor
from tridentserve.planner.dispatch.options import Option
from tridentserve.planner.dispatch.places import Place
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.state import State


class Clearing:
    """When devices clear, within one decision."""

    def __init__(self, state: State, floor: Floor, running: Running, now: float) -> None:
        """Nothing was started yet."""
        self._state, self._floor, self._running, self._now = state, floor, running, now
        self._started: dict[WorkerId, list[float]] = {}
        self._known: dict[WorkerId, list[float]] = {}

    def took(self, place: Place, option: Option | None) -> None:
        """Somebody starts; `option` is None where nobody knows for how long."""
        ends_s = inf if option is None else self._now + option.mean_s
        self._known.pop(place.worker.id, None)
        self._started.setdefault(place.worker.id, []).extend([ends_s] * len(place.devices))

    def vacant_s(self, name: WorkerId) -> list[float]:
        """When each device of a worker should be vacant, the soonest first; Unix time."""
        known = self._known.get(name)
        if known is not None:
            return known
        running = self._running.ends_in_order(self._state, name, self._now)
        moments = [self._now] * self._floor.vacant(name) + self._started.get(name, [])
        moments += [max(self._now, ends_s) for ends_s in running]
        moments.sort()
        self._known[name] = moments
        return moments

    def clears(self, name: WorkerId, degree: int) -> tuple[float, int] | None:
        """When a worker should have so many vacant devices, and how many more it has then.

        The answer of `vacant_s`, without a list; None where it has not as many.
        """
        if name in self._started:
            moments = self.vacant_s(name)
            if len(moments) < degree:
                return None
            clear_s = moments[degree - 1]
            return clear_s, bisect_right(moments, clear_s) - degree
        vacant = self._floor.vacant(name)
        running = self._running.ends_in_order(self._state, name, self._now)
        if vacant + len(running) < degree:
            return None
        clear_s = self._now if degree <= vacant else max(self._now, running[degree - vacant - 1])
        return clear_s, vacant + bisect_right(running, clear_s) - degree

    def puts_off_s(self, name: WorkerId, option: Option) -> float:
        """By how much a call that starts now puts off the moment when a worker is all vacant."""
        moments = self.vacant_s(name)
        clear_s = moments[-1] if moments else self._now
        return max(0.0, self._now + option.mean_s - clear_s)
