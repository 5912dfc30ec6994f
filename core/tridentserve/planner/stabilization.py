"""One stage's next size: tolerance, stabilisation windows, policies, dwell of the fraction.

Arithmetic on *capacity*, workers x fraction x devices in percent, so that a stage of 4 workers at
25 % and one of 1 worker at 100 % are the same size. The meaning of windows and policies is that of
the HorizontalPodAutoscaler (`behavior` of autoscaling/v2; kubernetes pkg/controller/podautoscaler):
going up, the least that was recommended within the window; going down, the most; policies count
from the size at the beginning of their period.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil, floor

from tridentserve.domain.pipeline import Behavior, ScalingRule, StageSpec
from tridentserve.domain.plans import Reason
from tridentserve.domain.stages import Stage

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Workers at a fraction."""

    workers: int
    fraction_percent: int
    devices: int

    @property
    def unit_percent(self) -> int:
        """Capacity of one worker."""
        return self.fraction_percent * max(1, self.devices)

    @property
    def capacity_percent(self) -> int:
        """Workers x fraction x devices."""
        return self.workers * self.unit_percent

    @property
    def words(self) -> str:
        """`3 at 50 %` for one."""
        return f"{self.workers} at {self.fraction_percent} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What the placement planner wanted at a moment."""

    at_s: float
    capacity_percent: int
    fraction_percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done at a moment."""

    at_s: float
    capacity_percent: int
    """Added; negative where it was taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageMemory:
    """What one stage remembers; entries older than any window are forgotten."""

    stage: Stage
    recommendations: tuple[Recommendation, ...] = ()
    changes: tuple[Change, ...] = ()
    fraction_changed_s: float | None = None
    gave_s: float | None = None
    """When it last gave devices to another stage."""


def within(spec: StageSpec, size: Size) -> Size:
    """The size that the specification allows, nearest to this one; capacity is kept if it can be.

    A fraction that is not listed (any more) becomes the next larger one, else the largest.
    """
    larger = [one for one in spec.fractions_percent if one >= size.fraction_percent]
    fraction = larger[0] if larger else spec.fractions_percent[-1]
    fitting = Size(workers=0, fraction_percent=fraction, devices=spec.devices_per_worker)
    workers = size.workers
    if fitting.unit_percent != size.unit_percent:
        workers = _workers(size.capacity_percent, fitting.unit_percent)
    return replace(fitting, workers=min(max(workers, spec.min_replicas), spec.max_replicas))


def remember(
    memory: StageMemory, behavior: Behavior, wanted: Size, current: Size, now: float
) -> StageMemory:
    """Add what is wanted now; forget what no window reaches.

    A wish within the tolerance counts as a wish for what there is. With nothing to remember, what
    there is counts as wanted just before, as HorizontalPodAutoscalers do after a restart.
    """
    longest = max(
        behavior.scale_up.stabilization_window_s, behavior.scale_down.stabilization_window_s
    )
    periods = max(behavior.scale_up.period_s, behavior.scale_down.period_s)
    seed = Recommendation(
        at_s=now,
        capacity_percent=current.capacity_percent,
        fraction_percent=current.fraction_percent,
    )
    capacity = wanted.capacity_percent
    if _tolerated(behavior, capacity, current.capacity_percent):
        capacity = current.capacity_percent
    latest = Recommendation(
        at_s=now, capacity_percent=capacity, fraction_percent=wanted.fraction_percent
    )
    known = memory.recommendations or (seed,)
    return replace(
        memory,
        recommendations=(*(one for one in known if one.at_s > now - longest), latest),
        changes=tuple(one for one in memory.changes if one.at_s > now - periods),
    )


def next_size(
    spec: StageSpec, behavior: Behavior, current: Size, memory: StageMemory, now: float
) -> tuple[Size, tuple[Reason, ...]]:
    """The size to go to now, given what `remember` has added, and what kept it from the wish."""
    fraction, dwelling = _fraction(spec, behavior, current, memory, now)
    unit = replace(current, fraction_percent=fraction).unit_percent
    latest = memory.recommendations[-1]
    up = [one.capacity_percent for one in _recent(memory, behavior.scale_up, now)]
    down = [one.capacity_percent for one in _recent(memory, behavior.scale_down, now)]
    stable = min(max(current.capacity_percent, min(up)), max(down))
    allowed = _limited(behavior, stable, current.capacity_percent, unit, memory, now)
    workers = min(max(_workers(allowed, unit), spec.min_replicas), spec.max_replicas)
    size = replace(current, workers=workers, fraction_percent=fraction)
    reasons = [*dwelling]
    if stable != latest.capacity_percent:
        grows = latest.capacity_percent > stable
        rule = behavior.scale_up if grows else behavior.scale_down
        reasons.append(_stabilized(spec.stage, rule, grows, size))
    elif allowed != stable:
        grows = stable > current.capacity_percent
        rule = behavior.scale_up if grows else behavior.scale_down
        reasons.append(_rate_limited(spec.stage, rule, grows, size))
    return size, tuple(reasons)


def _workers(capacity_percent: float, unit_percent: int) -> int:
    return ceil(capacity_percent / unit_percent - _ROUNDING)


def _tolerated(behavior: Behavior, wanted: int, current: int) -> bool:
    rule = behavior.scale_up if wanted > current else behavior.scale_down
    return abs(wanted - current) * 100 <= rule.tolerance_percent * current


def _recent(memory: StageMemory, rule: ScalingRule, now: float) -> list[Recommendation]:
    """What was wanted within a window; what is wanted now always is."""
    *earlier, latest = memory.recommendations
    return [one for one in earlier if one.at_s > now - rule.stabilization_window_s] + [latest]


def _fraction(
    spec: StageSpec, behavior: Behavior, current: Size, memory: StageMemory, now: float
) -> tuple[int, tuple[Reason, ...]]:
    """The fraction to run at: the whole window must have wanted another, and the dwell be over."""
    listed = set(spec.fractions_percent)
    up = _listed(_recent(memory, behavior.scale_up, now), listed)
    down = _listed(_recent(memory, behavior.scale_down, now), listed)
    fraction = current.fraction_percent
    if not up or not down:
        return fraction, ()
    stable = min(max(fraction, min(up)), max(down))
    if stable == fraction or memory.fraction_changed_s is None:
        return stable, ()
    rule = behavior.scale_up if stable > fraction else behavior.scale_down
    dwell_s = max(rule.stabilization_window_s, rule.period_s)
    if now - memory.fraction_changed_s >= dwell_s:
        return stable, ()
    message = f"{fraction} % kept: {stable} % is wanted, but changes are {dwell_s} s apart"
    return fraction, (Reason(code="FractionDwell", message=message, stage=spec.stage),)


def _listed(wanted: Iterable[Recommendation], listed: set[int]) -> list[int]:
    return [one.fraction_percent for one in wanted if one.fraction_percent in listed]


def _limited(
    behavior: Behavior, stable: int, current: int, unit: int, memory: StageMemory, now: float
) -> float:
    """Capacity within the policies of the direction, in which they count workers of this unit."""
    rule = behavior.scale_up if stable > current else behavior.scale_down
    changed = sum(one.capacity_percent for one in memory.changes if one.at_s > now - rule.period_s)
    start = (current - changed) / unit
    if stable > current:
        most = max(start + rule.max_workers, ceil(start * (1 + rule.max_percent / 100) - _ROUNDING))
        return min(stable, max(most * unit, current))
    if stable < current:
        least = min(
            start - rule.max_workers, floor(start * (1 - rule.max_percent / 100) + _ROUNDING)
        )
        return max(stable, min(least * unit, current))
    return stable


def _stabilized(stage: Stage, rule: ScalingRule, grows: bool, size: Size) -> Reason:
    code = "ScaleUpStabilized" if grows else "ScaleDownStabilized"
    wish = "more" if grows else "less"
    message = f"{size.words}: {wish} is wanted, but not yet for {rule.stabilization_window_s} s"
    return Reason(code=code, message=message, stage=stage)


def _rate_limited(stage: Stage, rule: ScalingRule, grows: bool, size: Size) -> Reason:
    code = "ScaleUpLimit" if grows else "ScaleDownLimit"
    message = (
        f"{size.words}: no more than {rule.max_workers} workers or {rule.max_percent} %"
        f" in {rule.period_s} s"
    )
    return Reason(code=code, message=message, stage=stage)
