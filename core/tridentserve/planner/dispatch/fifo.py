"""First come, first served: the order of arrival, whatever the stage."""

from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.offers import Offers
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.ordered import Ordered, Rules
from tridentserve.planner.dispatch.orders import ByArrival


class Fifo(Ordered):
    """Whoever arrived first goes first.

    By the usual rules (the widest strategy of each worker) a request waits only for what arrived
    before it and for what runs already, so nothing starves; one that takes long delays everybody
    behind it. With rules that choose among several degrees the same holds for `STRICT` and for
    `RESERVATION`; by `BACK_FILL` those that need many devices at once may starve.
    """

    def __init__(self, cost: CostModel | None = None, rules: Rules | None = None) -> None:
        """Without a cost model nothing is known, which the usual rules can live with."""
        offers = Offers(Options(cost or CostModel()))
        super().__init__("Fifo", ByArrival(), offers, rules or Rules())
