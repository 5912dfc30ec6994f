"""What a pipeline's status says of one stage's plan. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tridentserve.domain.stages import Stage
from tridentserve.manifest.status import ConditionStatus, ConditionType, Status

_RATE = re.compile(r"(\d+\.\d+) requests/s")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSeen:
    """One stage at one moment."""

    id: str
    workers: int
    fraction_percent: int
    ready: int
    settled: bool
    """Every worker is ready, all pools but the plan's are gone, nothing is being changed."""
    reason: str

    @property
    def words(self) -> str:
        """`3 at 100 %` for one."""
        return f"{self.workers} at {self.fraction_percent} %"

    @property
    def size(self) -> tuple[int, int]:
        """Workers and fraction."""
        return self.workers, self.fraction_percent

    @property
    def arrivals_per_s(self) -> float | None:
        """The rate that the reason quotes; None where it quotes none."""
        found = _RATE.search(self.reason)
        return float(found[1]) if found else None


def plan_of(status: Status, stage: Stage) -> PlanSeen | None:
    """The plan of a stage; None before there is one."""
    found = next((one for one in status.stages if one.name is stage), None)
    if found is None or status.plan is None or found.fraction_percent is None:
        return None
    reasons = [one.message for one in status.plan.reasons if one.stage is stage]
    pools = [(pool.fraction_percent, pool.ready) for pool in found.pools if pool.desired]
    settled = pools == [(found.fraction_percent, found.desired)] and not _holds(
        status, ConditionType.PROGRESSING
    )
    return PlanSeen(
        id=status.plan.id,
        workers=found.desired,
        fraction_percent=found.fraction_percent,
        ready=found.ready,
        settled=settled,
        reason=reasons[0] if reasons else "",
    )


def _holds(status: Status, kind: ConditionType) -> bool:
    condition = status.condition(kind)
    return condition is not None and condition.status is ConditionStatus.TRUE
