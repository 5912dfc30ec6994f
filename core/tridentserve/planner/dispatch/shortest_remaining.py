"""Shortest remaining time first, whatever the stage, without interrupting what runs.

The remaining time is that of all stages left, each at its own best degree (`Options.remaining_s`).
"""

from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.offers import Offers
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.ordered import Ordered, Rules
from tridentserve.planner.dispatch.orders import ByRemaining

AGEING = 0.1
"""A tenth: what arrives later than 10 times a request's remaining seconds after it never passes."""


class ShortestRemaining(Ordered):
    """Whoever has the least to do goes first, less `ageing` times the seconds that it waited.

    So a request with `r` seconds to do is passed only by what arrives within `r / ageing` seconds
    after it: a finite number, and it waits for nothing else but what runs (see `Fifo` for
    `BACK_FILL`). With an ageing of 0, the published baseline, long requests may starve.
    """

    def __init__(
        self, cost: CostModel | None = None, rules: Rules | None = None, *, ageing: float = AGEING
    ) -> None:
        """Without a cost model nothing is known, and the order is that of arrival."""
        options = Options(cost or CostModel())
        order = ByRemaining(options, ageing)
        super().__init__("ShortestRemaining", order, Offers(options), rules or Rules())
