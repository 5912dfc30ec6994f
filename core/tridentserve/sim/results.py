"""What a run says: one record a request, what devices did, and what was decided.

Results of equal scenarios are equal, but for `machine`, which tells what the run cost where it ran
and takes no part in comparisons.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from tridentserve.domain.shapes import Shape
from tridentserve.domain.stages import Stage


class Outcome(StrEnum):
    """How a request ended; all but the first are misses."""

    FINISHED = "finished"
    REFUSED = "refused"
    """A planner gave it up."""
    FAILED = "failed"
    """Its stage failed too often."""
    UNFINISHED = "unfinished"
    """The run was over before it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request. Moments are seconds from the start of the run."""

    id: str
    shape: Shape
    steps: int
    arrived_s: float
    deadline_s: float
    ended_s: float | None
    """None where it was unfinished."""
    outcome: Outcome
    best_s: float
    """Its best end-to-end time by the uncorrected profile, all degrees allowed."""
    waited_s: tuple[float, float, float]
    """Before encode, diffuse, decode; parked time is waiting."""
    ran_s: tuple[float, float, float]
    longest_wait_s: float
    """The longest stretch of waiting."""
    degree: int
    """Devices of its diffusion when that ended; 0 where it never began."""
    retries: int
    """Runs of a stage that were lost."""

    @property
    def met(self) -> bool:
        """Whether it was done in time."""
        done = self.outcome is Outcome.FINISHED and self.ended_s is not None
        return done and self.ended_s is not None and self.ended_s <= self.deadline_s

    @property
    def label(self) -> str:
        """Its class, exactly: `768x1360x81`."""
        return f"{self.shape.height}x{self.shape.width}x{self.shape.frames}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Device-seconds."""

    work: tuple[tuple[Stage, float], ...]
    """Devices that computed, by stage; what was lost afterwards included."""
    overhead: float
    """Taken without computing: hand-off, groups, weights, decisions, resizing."""
    held: float
    """Held by workers that were up or starting."""
    lost: float
    """Work whose result was lost."""

    @property
    def idle(self) -> float:
        """Held, and not taken."""
        return max(0.0, self.held - self.overhead - sum(seconds for _, seconds in self.work))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Devices that computed, on average over each of equal stretches of time, by stage."""

    width_s: float
    busy: tuple[tuple[Stage, tuple[float, ...]], ...]
    resident: tuple[tuple[float, tuple[tuple[str, int], ...]], ...]
    """Devices by the stages that their workers host, from each moment on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What planners did."""

    asked: int
    """Events after which the dispatch planner was asked."""
    acted: int
    """Of these, answered with something to be carried out."""
    charged_s: float
    """Simulated seconds that decisions took."""
    starts: int
    resizes: int
    yields: int
    plan_changes: int
    impossible: tuple[str, ...]
    """What could not be carried out: defects of a planner, the first few in words."""
    impossible_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the run cost where it ran, in processor seconds; differs from run to run."""

    run_s: float = 0.0
    decide_s: tuple[float, ...] = ()
    """Of every decision that was charged for."""
    queue: tuple[int, ...] = ()
    """Requests that waited at each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run."""

    scenario: str
    dispatch: str
    placement: str
    seed: int
    devices: int
    arrivals_s: float
    """How long requests arrived."""
    limit_s: float
    """When the run would have been cut off: unfinished requests count as if they ended then."""
    ended_s: float
    """When nothing was left to do."""
    records: tuple[Record, ...]
    usage: Usage
    timeline: Timeline
    decisions: Decisions
    reasons: tuple[str, ...]
    """Of the placement plan in force at the end."""
    machine: Machine = field(default=Machine(), compare=False)
