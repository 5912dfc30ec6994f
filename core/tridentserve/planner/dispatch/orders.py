"""Orders in which requests are looked at, whatever stage they wait for; the least goes first.

An order says two things: where a request stands among its own class, which must not change while
it waits (`within`), and where the first of a class stands among those of the others (`priority`).
"""

from dataclasses import dataclass
from typing import Protocol

from tridentserve.domain.stages import Stage
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.queues import Priority
from tridentserve.planner.state import Journey


class Order(Protocol):
    """Who goes first."""

    def within(self, journey: Journey) -> Priority:
        """Place among requests of the same class; fixed while it waits."""
        ...

    def priority(self, journey: Journey) -> Priority:
        """Place among all that wait."""
        ...


@dataclass(frozen=True, slots=True)
class ByArrival:
    """Whoever arrived first goes first."""

    def within(self, journey: Journey) -> Priority:
        """By arrival."""
        return (journey.demand.arrived_s,)

    def priority(self, journey: Journey) -> Priority:
        """By arrival."""
        return (journey.demand.arrived_s,)


@dataclass(frozen=True, slots=True)
class ByDeadline:
    """Whoever must be done first goes first; equal deadlines in order of arrival.

    A deadline before the arrival counts as the arrival, so nobody can ask to be always first.
    """

    def within(self, journey: Journey) -> Priority:
        """By deadline."""
        demand = journey.demand
        return (max(demand.deadline_s, demand.arrived_s), demand.arrived_s)

    def priority(self, journey: Journey) -> Priority:
        """By deadline."""
        return self.within(journey)


@dataclass(frozen=True, slots=True)
class ByRemaining:
    """Whoever has the least to do goes first, its waiting taken off.

    What is subtracted grows at the same speed for all, so remaining + ageing x arrived orders them
    at any moment alike. What is unknown counts as nothing: it goes first, and so gets known.
    """

    options: Options
    ageing: float
    """Seconds of work that a second of waiting makes up for; with 0 the longest may starve."""

    def within(self, journey: Journey) -> Priority:
        """By arrival: members of a class have the same to do."""
        return (journey.demand.arrived_s,)

    def priority(self, journey: Journey) -> Priority:
        """By what remains, and by age."""
        remaining_s = self.options.remaining_s(journey) or 0.0
        arrived_s = journey.demand.arrived_s
        return (remaining_s + self.ageing * arrived_s, arrived_s)


@dataclass(frozen=True, slots=True)
class BegunFirst:
    """Those past encode before those that wait for it: a pipeline run as one block goes on."""

    order: Order

    def within(self, journey: Journey) -> Priority:
        """As the order says."""
        return self.order.within(journey)

    def priority(self, journey: Journey) -> Priority:
        """The begun ones first, both groups in order."""
        return (float(journey.stage is Stage.ENCODE), *self.order.priority(journey))
