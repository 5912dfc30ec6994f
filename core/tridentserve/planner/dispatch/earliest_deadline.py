"""Earliest deadline first, whatever the stage, without interrupting what runs."""

from tridentserve.domain.dispatch import Action, Event
from tridentserve.planner.dispatch.ordered import Priority, start_in_order
from tridentserve.planner.state import Journey, State


def _deadline(journey: Journey) -> Priority:
    demand = journey.demand
    return (max(demand.deadline_s, demand.arrived_s), demand.arrived_s)


class EarliestDeadline:
    """Whoever must be done first goes first; equal deadlines in order of arrival.

    A deadline before the arrival counts as the arrival, so nobody can ask to be always first: once
    a request's deadline has passed, nothing that arrives later goes before it, and it waits only
    for the finite number before it. Late requests stay in the order; none is given up here.
    """

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """Start what can start, in order of deadlines."""
        return start_in_order(state, _deadline, "EarliestDeadline")
