"""How far a profile is off, from what was measured: cell by cell, by stage, by worker.

All on logarithms of measured / predicted, so that twice and half are as far from 1. With n the
measurements of a cell and r their ratio, m the measured cells of a stage and R the mean of their
logarithms, and F the mean over the measured cells of all stages:

    stage = clip((m R + 2 F) / (m + 2))
    cell  = (n r + 0.5 stage) / (n + 0.5)
    told  = what the profile says x e^cell

So a cell that was measured soon speaks for itself, and one that was not follows its stage, which
follows the hardware as a whole while little of the stage was seen. The first measurement of all
says how fast this hardware is against the profile's. Each measured cell has one vote, however
often it ran: else the mean would follow the mix of requests. A batch that the profile lacks has one
only where it took longer than as many single pictures should have, and those were not measured.
Stages are clipped to a tenth and ten times; a profile that is further off describes other hardware.

A worker's ratio is the same against what is told of its calls, whoever runs them, shrunk towards 1
by five calls and clipped to a half and twice: it is the worker's speed against the others'.

>>> votes = StageVotes()
>>> votes.change(Stage.DIFFUSE, None, log(2))
>>> round(exp(votes.stage_log(Stage.DIFFUSE)), 3), round(exp(votes.stage_log(Stage.DECODE)), 3)
(2.0, 2.0)
>>> votes.change(Stage.DECODE, None, log(1))
>>> round(exp(votes.stage_log(Stage.DIFFUSE)), 3), round(exp(votes.stage_log(Stage.DECODE)), 3)
(1.587, 1.26)
>>> round(exp(shrunk_cell(log(3), 1, log(1.5))), 3)
2.381
"""

from dataclasses import dataclass
from math import exp, log

from tridentserve.domain.stages import STAGES, Stage

_CELL_PRIOR = 0.5
"""Measurements that the stage's ratio counts for in a cell: between cells profiles are further off
than measurements of one cell differ."""
_STAGE_PRIOR = 2.0
"""Cells that the hardware's ratio counts for in a stage."""
_STAGE_LIMIT = log(10)
_WORKER_PRIOR = 5.0
_WORKER_LIMIT = log(2)
_WORKER_WEIGHT = 0.05


def shrunk_cell(own_log: float, count: int, stage_log: float) -> float:
    """Logarithm of a cell's correction: its own, and its stage's while it has few measurements."""
    return (count * own_log + _CELL_PRIOR * stage_log) / (count + _CELL_PRIOR)


class StageVotes:
    """The measured cells' ratios, by stage."""

    def __init__(self) -> None:
        """Begin without a vote: every correction is 1."""
        self._totals = dict.fromkeys(STAGES, 0.0)
        self._numbers = dict.fromkeys(STAGES, 0)

    def change(self, stage: Stage, before: float | None, after: float | None) -> None:
        """Take one cell's vote for another; None where it had or has none."""
        for sign, vote in ((-1, before), (1, after)):
            if vote is not None:
                self._totals[stage] += sign * vote
                self._numbers[stage] += sign

    def stage_log(self, stage: Stage) -> float:
        """Logarithm of the correction of a stage's cells that were never measured."""
        everywhere = sum(self._numbers.values())
        if not everywhere:
            return 0.0
        hardware = sum(self._totals.values()) / everywhere
        number = self._numbers[stage]
        mean = (self._totals[stage] + _STAGE_PRIOR * hardware) / (number + _STAGE_PRIOR)
        return _clipped(mean, _STAGE_LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRatio:
    """How long one worker takes against what is told of its calls."""

    mean_log: float = 0.0
    count: int = 0

    def observed(self, measured_s: float, told_s: float) -> "WorkerRatio":
        """The ratio after one more call; both are positive."""
        count = self.count + 1
        weight = max(1 / count, _WORKER_WEIGHT)
        call = _clipped(log(measured_s / told_s), 2 * _WORKER_LIMIT)
        return WorkerRatio(mean_log=self.mean_log + weight * (call - self.mean_log), count=count)

    @property
    def factor(self) -> float:
        """Times as long as others take, between a half and twice."""
        shrunk = self.mean_log * self.count / (self.count + _WORKER_PRIOR)
        return exp(_clipped(shrunk, _WORKER_LIMIT))


def _clipped(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
