"""ServerFilling-SRPT: full devices first, then the shortest; the opponent for mean latency.

After Grosof, Harchol-Balter and Scheller-Wolf ("Optimal scheduling in the multiserver-job model
under heavy traffic", 2022): where every job needs a power of two of the servers, take the smallest
prefix in the order of remaining work that needs at least as many as there are, and serve the
largest needs of that first. They then fill the servers without a gap, and mean response time is
asymptotically optimal.

Here needs are k* (paper section 1.5), the work is device-seconds of all stages left, and servers
come in nodes, within which the powers of two fill as well. Segments are paused at step boundaries
only, `cap` changes each, and for work of at most half of what they have left, as a pause costs.
Deadlines play no part. Waiting counts as work done at the rate `ageing`, as in `ShortestRemaining`,
and the first in order has a node drained for it where nobody may be paused: so nothing starves.
"""

import heapq
from collections.abc import Sequence

from tridentserve.domain.dispatch import Demand, Segment
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.degrees import KStar, Scene
from tridentserve.planner.dispatch.offers import Offer, Offers
from tridentserve.planner.dispatch.options import Option, Options, k_star
from tridentserve.planner.dispatch.preemptive import CAP, Entry, Preemptive
from tridentserve.planner.dispatch.queues import Priority
from tridentserve.planner.dispatch.running import Running
from tridentserve.planner.state import Journey

AGEING = 0.1
_WORTH_IT = 0.5
"""Share of a victim's remaining work that whoever has it paused may have at most."""


class ServerFilling(Preemptive):
    """The shortest first, packed without gaps."""

    def __init__(self, cost: CostModel, *, cap: int = CAP, ageing: float = AGEING) -> None:
        """Nothing was decided yet.

        Args:
            cost: what stages take.
            cap: pauses and resumptions of one segment.
            ageing: device-seconds of work that a second of waiting makes up for.
        """
        offers = Offers(Options(cost))
        running = Running(offers.options)
        self._shortest = _ByWork(offers.options, running, ageing)
        super().__init__(self._shortest, offers, running, cap)

    def _ahead(self, scene: Scene, line: list[Entry]) -> list[Entry]:
        """The smallest prefix that needs all vacant devices, the largest needs first."""
        vacancies = scene.floor.vacancies(Stage.DIFFUSE)
        vacant = sum(devices * workers for devices, workers in vacancies.items())
        prefix: list[tuple[int, int, Entry]] = []
        while line and vacant > 0:
            entry = heapq.heappop(line)
            work = entry[3]
            if isinstance(work, Segment):
                need = work.strategy.degree
            else:
                need = self._shortest.need(scene.state.journeys[entry[1]])
                self._follow(scene.state, entry, line)
            vacant -= need
            prefix.append((-need, len(prefix), entry))
        return [entry for _, _, entry in sorted(prefix, key=lambda one: one[:2])]


class _ByWork:
    name = "ServerFilling"

    def __init__(self, options: Options, running: Running, ageing: float) -> None:
        self._options, self._running, self._ageing = options, running, ageing

    def need(self, journey: Journey) -> int:
        """Devices that the stage it waits for is to have."""
        best = self._best(journey.demand, journey.stage)
        return 1 if best is None else best.degree

    def within(self, journey: Journey) -> Priority:
        return (journey.demand.arrived_s,)

    def priority(self, journey: Journey) -> Priority:
        """By work; waiting is taken off at one speed for all, so arrivals do instead of a clock."""
        arrived_s = journey.demand.arrived_s
        return (self._work_s(journey) + self._ageing * arrived_s, arrived_s)

    def choices(self, journey: Journey, scene: Scene, now: float) -> Sequence[Offer]:
        return KStar().choices(journey, scene)

    def may_pause(
        self, victim: Segment, journey: Journey, offer: Offer, scene: Scene, now: float
    ) -> bool:
        """It has far more left to do."""
        remaining_s = self._running.remaining_s(scene.state, victim, now)
        if remaining_s is None:
            return False
        return self._work_s(journey) <= _WORTH_IT * remaining_s * victim.strategy.degree

    def _work_s(self, journey: Journey) -> float:
        """Device-seconds of all stages that are left; 0 where one is unknown."""
        demand, total = journey.demand, 0.0
        for stage in STAGES[STAGES.index(journey.stage) :]:
            best = self._best(demand, stage)
            if best is None:
                return 0.0
            total += best.device_s
        return total

    def _best(self, demand: Demand, stage: Stage) -> Option | None:
        batch = demand.pictures(stage)
        return k_star(self._options.anywhere(stage, demand.shape, demand.steps, batch))
