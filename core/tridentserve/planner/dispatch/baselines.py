"""The baselines of the paper's comparison by name, put together from orders and rules (section 2.5).

| name | policy | needs of the placement |
| --- | --- | --- |
| `B1/k` | one degree for the whole pipeline, strict FIFO | co-located workers |
| `B2` | buckets by degree, FIFO in each, whole pipeline | co-located pools and flows |
| `B3` | k* of each request for its whole pipeline, strict FIFO | co-located workers |
| `B3/BackFill` | the same, others may pass | co-located workers |
| `B4` | the same, shortest remaining first | co-located workers |
| `B5` | buckets by degree, FIFO in each, stage by stage | pools of one stage and flows |
| `B6` | k* of each stage, shortest remaining first | any |
| `Fifo/k` | one degree for diffuse, FIFO, stage by stage | any |
| `Ilp` | the published program, corrected | any |
| `Ilp/Published` | the same, late reward and estimate as in the published code | any |
| `EarliestDeadline/KStar` | k* of each stage, with a reservation | any |
| `EarliestDeadline/Largest` | the largest efficient degree that fits, with a reservation | any |
| `EarliestDeadline/BackFill` | the same degree, others may pass, so that wide ones may starve | any |
| `ShortestRemaining/KStar` | k* of each stage, with a reservation, ageing | any |

A pipeline run as a block holds its degree's devices through all three stages: its stages start one
after another on one worker, and what has begun goes before what has not, so nobody gets in between.
`B4` and `B6` are without ageing, as published: long requests may starve.
"""  # noqa: E501 - a table

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tridentserve.domain.stages import Stage
from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.backfill import Passing
from tridentserve.planner.dispatch.degrees import (
    DegreeRule,
    Fixed,
    KStar,
    LargestEfficientThatFits,
)
from tridentserve.planner.dispatch.earliest_deadline import EarliestDeadline
from tridentserve.planner.dispatch.fifo import Fifo
from tridentserve.planner.dispatch.ilp import PUBLISHED, Ilp
from tridentserve.planner.dispatch.offers import WholeOffers
from tridentserve.planner.dispatch.options import Options
from tridentserve.planner.dispatch.ordered import Ordered, Rules
from tridentserve.planner.dispatch.orders import BegunFirst, ByArrival, ByRemaining
from tridentserve.planner.dispatch.planned import AsPlanned
from tridentserve.planner.dispatch.shortest_remaining import ShortestRemaining

DEGREES = (1, 2, 4, 8)
Build = Callable[[CostModel], Ordered]


def _whole(name: str, rule: DegreeRule, passing: Passing, *, shortest: bool = False) -> Build:
    def build(cost: CostModel) -> Ordered:
        options = Options(cost)
        order = BegunFirst(ByRemaining(options, 0.0) if shortest else ByArrival())
        rules = Rules(degrees=rule, passing=passing)
        return Ordered(name, order, WholeOffers(options), rules)

    return build


def _fifo(rule: DegreeRule, passing: Passing = Passing.STRICT) -> Build:
    return lambda cost: Fifo(cost, Rules(degrees=rule, passing=passing))


def _deadline(rule: DegreeRule, passing: Passing = Passing.RESERVATION) -> Build:
    return lambda cost: EarliestDeadline(cost, Rules(degrees=rule, passing=passing))


def _shortest(cost: CostModel) -> Ordered:
    rules = Rules(degrees=KStar(), passing=Passing.BACK_FILL)
    return ShortestRemaining(cost, rules, ageing=0.0)


BASELINES: Mapping[str, Build] = MappingProxyType(
    {
        **{f"B1/{k}": _whole(f"B1/{k}", Fixed(k), Passing.STRICT) for k in DEGREES},
        "B2": _whole("B2", AsPlanned(KStar(), Stage.DIFFUSE), Passing.STRICT),
        "B3": _whole("B3", KStar(), Passing.STRICT),
        "B3/BackFill": _whole("B3/BackFill", KStar(), Passing.BACK_FILL),
        "B4": _whole("B4", KStar(), Passing.BACK_FILL, shortest=True),
        "B5": _fifo(AsPlanned(KStar())),
        "B6": _shortest,
        **{f"Fifo/{k}": _fifo(Fixed(k)) for k in DEGREES},
        "Ilp": Ilp,
        "Ilp/Published": lambda cost: Ilp(cost, PUBLISHED),
        "EarliestDeadline/KStar": _deadline(KStar()),
        "EarliestDeadline/Largest": _deadline(LargestEfficientThatFits()),
        "EarliestDeadline/BackFill": _deadline(LargestEfficientThatFits(), Passing.BACK_FILL),
        "ShortestRemaining/KStar": lambda cost: ShortestRemaining(
            cost, Rules(degrees=KStar(), passing=Passing.RESERVATION)
        ),
    }
)
