"""First come, first served: the order of arrival, whatever the stage."""

from tridentserve.domain.dispatch import Action, Event
from tridentserve.planner.dispatch.ordered import Priority, start_in_order
from tridentserve.planner.state import Journey, State


def _arrival(journey: Journey) -> Priority:
    return (journey.demand.arrived_s,)


class Fifo:
    """Whoever arrived first goes first.

    A request waits only for what arrived before it and for what runs already, so nothing starves;
    one that takes long delays everybody behind it.
    """

    def decide(self, state: State, event: Event, now: float) -> list[Action]:
        """Start what can start, in order of arrival."""
        return start_in_order(state, _arrival, "Fifo")
