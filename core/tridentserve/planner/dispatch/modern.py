"""Modern opponents by name, and ours where it interrupts, beside the baselines of the paper.

| name | policy | interrupts |
| --- | --- | --- |
| `DeadlineAware/Elastic` | ours, with degrees re-decided at step boundaries | resizes |
| `TetriRounds` | least degrees in rounds, leftovers handed out | nothing |
| `TetriRounds/Elastic` | the same, leftovers to what runs as well | resizes |
| `EdfPreemptive` | deadlines first, cheapest degree on time | pauses |
| `ServerFilling` | shortest work first, packed without gaps | pauses |
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from tridentserve.planner.cost import CostModel
from tridentserve.planner.dispatch.deadline_aware import DeadlineAware
from tridentserve.planner.dispatch.desk import Settings
from tridentserve.planner.dispatch.edf_preemptive import EdfPreemptive
from tridentserve.planner.dispatch.redecision import Redecision
from tridentserve.planner.dispatch.server_filling import ServerFilling
from tridentserve.planner.dispatch.tetri_rounds import TetriRounds
from tridentserve.planner.protocols import DispatchPlanner

MODERN: Mapping[str, Callable[[CostModel], DispatchPlanner]] = MappingProxyType(
    {
        "DeadlineAware/Elastic": lambda cost: DeadlineAware(
            cost, Settings(redecision=Redecision())
        ),
        "TetriRounds": TetriRounds,
        "TetriRounds/Elastic": lambda cost: TetriRounds(cost, growth=Redecision()),
        "EdfPreemptive": EdfPreemptive,
        "ServerFilling": ServerFilling,
    }
)
