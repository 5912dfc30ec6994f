"""Earliest deadline first, cheapest degree on time, pausing at step boundaries: a modern opponent.

After GENSERVE (arXiv 2604.04335) and GF-DiT (arXiv 2606.13501), as described in section 4 of
`docs/paper.md`, for one pipeline: requests in the order of deadlines; each takes the fewest
device-seconds by which it is on time, where it fits best; one that finds no place has running
diffusion paused at the next step, if that has a later deadline and the slack to make up for it.
Requests that are late take the largest efficient degree that fits, in the same order. Batches of
different shapes, and degrees that change while a request runs, are left out.

Nothing starves: what arrives after a deadline has a later one, a segment changes at most `cap`
times, and its worker is kept for it when it is first in order.
"""

from collections.abc import Sequence

from tridentserve.domain.dispatch import Segment
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.degrees import LargestEfficientThatFits, Scene
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.outlook import Outlooks
from tridentserve.planner.dispatch.preemptive import CAP, Preemptive
from tridentserve.planner.dispatch.queues import Priority, class_of
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.dispatch.urgency import within
from tridentserve.planner.state import Journey


class EdfPreemptive(Preemptive):
    """Deadlines first, at the cost of whoever has time."""

    def __init__(self, cost: CostModel, *, cap: int = CAP, store: str = "redis") -> None:
        """Of one segment at most `cap` pauses and resumptions; hand-offs go through `store`."""
        offers = Offers(Options(cost))
        running = Running(offers.options)
        outlooks = Outlooks(cost, offers, store)
        super().__init__(_ByDeadline(outlooks, running), offers, running, cap)


class _ByDeadline:
    name = "EdfPreemptive"

    def __init__(self, outlooks: Outlooks, running: Running) -> None:
        self._outlooks, self._running = outlooks, running

    def within(self, journey: Journey) -> Priority:
        return within(journey)

    def priority(self, journey: Journey) -> Priority:
        return within(journey)

    def choices(self, journey: Journey, scene: Scene, now: float) -> Sequence[Offer]:
        """The cheapest on time, then the dearer ones; late, the largest efficient that fits."""
        outlook = self._outlooks.of(scene.state, class_of(journey), journey)
        left_s = within(journey)[0] - now
        on_time = [
            (one.option.device_s, one.degree, one)
            for one in outlook.offers
            if one.option is not None and outlook.total_s(one.option) <= left_s
        ]
        if outlook.is_known and on_time:
            return [offer for _, _, offer in sorted(on_time)]
        return LargestEfficientThatFits().choices(journey, scene)

    def may_pause(
        self, victim: Segment, journey: Journey, offer: Offer, scene: Scene, now: float
    ) -> bool:
        """It has a later deadline, and keeps it although it waits for the other one."""
        theirs = scene.state.journeys[victim.requests[0].request]
        due_s = within(theirs)[0]
        remaining_s = self._running.remaining_s(scene.state, victim, now)
        if offer.option is None or remaining_s is None or due_s <= within(journey)[0]:
            return False
        outlook = self._outlooks.of(scene.state, class_of(theirs), theirs)
        rest_s = outlook.rest_s + outlook.rest_margin_s
        return now + offer.option.mean_s + remaining_s + rest_s <= due_s
