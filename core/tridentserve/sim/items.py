"""What can stand on the agenda of a run."""

from dataclasses import dataclass

from tridentserve.domain.dispatch import Demand
from tridentserve.domain.ids import NodeId, WorkerId


@dataclass(frozen=True, slots=True)
class Due:
    """A call is done, or reaches a step; void where its version has passed."""

    call: int
    version: int


@dataclass(frozen=True, slots=True)
class Arrives:
    """A request is there."""

    demand: Demand
    best_s: float


@dataclass(frozen=True, slots=True)
class Rings:
    """An alarm that a planner asked for; void where another is earlier."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Fails:
    """A node goes away."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Returns:
    """A node is back."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Started:
    """A pod is ready."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Killed:
    """A pod that drains has had its time."""

    worker: WorkerId
    since_s: float
    """When it was told to; a drain that was called off meanwhile kills nobody."""


@dataclass(frozen=True, slots=True)
class Look:
    """The placement planner is asked."""


@dataclass(frozen=True, slots=True)
class Move:
    """The transition to the plan in force goes on."""


Item = Due | Arrives | Rings | Fails | Returns | Started | Killed | Look | Move
