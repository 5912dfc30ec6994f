"""Earliest deadline first, whatever the stage, without interrupting what runs."""

from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.offers import Offers
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.ordered import Ordered, Rules
from tridentserve.planner.dispatch.orders import ByDeadline


class EarliestDeadline(Ordered):
    """Whoever must be done first goes first; equal deadlines in order of arrival.

    A deadline before the arrival counts as the arrival, so once a request's deadline has passed,
    nothing that arrives later goes before it, and it waits only for the finite number before it
    and for what runs (with `BACK_FILL` and several degrees, see `Fifo`, not even that is sure).
    With `RESERVATION`, where n before it wait for the same workers at its deadline, it starts at
    most (n + 1) (p + c) later, p being the longest prediction and c the longest call: each in turn
    is promised a worker within p and has it c later at the latest. Workers that are lost are left
    out. Late requests stay in the order; none is given up here.
    """

    def __init__(self, cost: CostModel | None = None, rules: Rules | None = None) -> None:
        """Without a cost model nothing is known, which the usual rules can live with."""
        offers = Offers(Options(cost or CostModel()))
        super().__init__("EarliestDeadline", ByDeadline(), offers, rules or Rules())
