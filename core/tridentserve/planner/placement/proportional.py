"""As many workers as the arrivals keep busy, each on the smallest slice that is fast enough.

For a stage and a fraction f of its list:

    workers(f)  = arrivals x seconds(f) / target utilisation, rounded up, at least `replicas.min`
    busy(f)     = min(target utilisation, arrivals x seconds(f) / replicas.min)
    response(f) = seconds(f) / (1 - busy(f))

and the choice is the smallest f with workers(f) <= `replicas.max` and response(f) within the
stage's share of the deadline. The deadline is `slo.scalePercent` times the best end-to-end time,
which is the sum of every stage's seconds at its largest fraction; a stage's share of it is its
share of that sum, so it comes down to `slo.scalePercent` times the stage's own seconds at its
largest fraction. Where nothing qualifies, it is the fraction that serves the largest share of the
load, the largest of equals; where its workers exceed `replicas.max`, the plan is `limited`.

`busy` is the most that the workers will be used while the load is as it is: it rises with the load
up to the target and stays there. Taking the utilisation after rounding instead would let the
fraction jump to and fro while the load only rises.

No load is the end of little load: arrivals of 0 make every worker idle, so `replicas.min` workers
at the smallest fraction that alone is fast enough, and nothing changes as the last request leaves.
Arrivals that are *unknown* change nothing: the previous plan is the answer. Seconds that were
never measured at f come from the nearest measured fraction f0 as seconds(f0) x f0 / f, before any
measurement from the profile; a stage of which nothing is known gets `replicas.min` at its largest
fraction, from which it is measured. Where it has workers by a previous plan, it keeps these: an
operator that restarted, or whose Prometheus does not reach the workers, knows no seconds either.

A worker of several devices runs several requests at once, so the seconds of one request say little
about how many it can take. Where classes and their costs are known, seconds(100 %) is then the
share of the whole worker that a request of the mix takes: device-seconds at the largest efficient
degree that the worker has, over its devices.

Worked example: 2.4 requests/s, 0.31 s a request at 50 %, measured nowhere else, target 70 %,
deadline 1,000 %: at 100 % it would take 0.155 s, so its share is 1.55 s. At 25 %: 0.62 s, three
workers, but 0.62 / 0.3 = 2.07 s is too slow. At 50 %: two workers, 0.31 / 0.3 = 1.03 s.

>>> question = Question(
...     stage=Stage.DECODE, fractions_percent=(25, 50, 100), most={25: 4, 50: 4, 100: 4}, least=1,
...     seconds={50: 0.31}, arrivals_per_s=2.4, target=0.7, slo_scale=10.0)
>>> choose(question).fraction_percent, choose(question).workers
(50, 2)
>>> print(choose(question).reason)
2.40 requests/s x 0.31 s at 50 % / 70 % = 2 workers
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log

from tridentserve.domain.load import Load
from tridentserve.domain.pipeline import StageSpec
from tridentserve.domain.plans import PlacementPlan, PoolPlan, Reason
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import Stage
from tridentserve.planner.placement.budget import cut_to_budget, shape_of
from tridentserve.planner.placement.survey import survey
from tridentserve.planner.placement.ways import efficient
from tridentserve.planner.protocols import PlacementInputs

_ROUNDING = 1e-9
"""Lest 2.0000000001 workers become 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One stage, with everything that its choice depends on."""

    stage: Stage
    fractions_percent: tuple[int, ...]
    """Ascending."""
    most: Mapping[int, int]
    """Workers that can be had at each fraction; 0 where none can."""
    least: int
    seconds: Mapping[int, float]
    """Measured seconds of one request by fraction; one at least."""
    arrivals_per_s: float
    target: float
    """Utilisation to aim at, between 0 and 1."""
    slo_scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Fraction and workers of one stage, and why."""

    fraction_percent: int
    workers: int
    limited: bool
    code: str
    reason: str


def seconds_at(seconds: Mapping[int, float], fraction_percent: int) -> float:
    """Seconds at a fraction: measured, or estimated from the nearest one by ratio.

    >>> seconds_at({50: 0.3}, 25)
    0.6
    """
    if fraction_percent in seconds:
        return seconds[fraction_percent]
    nearest = min(seconds, key=lambda one: (abs(log(one / fraction_percent)), -one))
    return seconds[nearest] * nearest / fraction_percent


def workers_needed(question: Question, fraction_percent: int) -> int:
    """Workers(f), before `replicas.max`; at least one, `replicas.min` of 0 is not for us."""
    offered = question.arrivals_per_s * seconds_at(question.seconds, fraction_percent)
    return max(1, question.least, ceil(offered / question.target - _ROUNDING))


def fast_enough(question: Question, fraction_percent: int) -> bool:
    """Whether response(f) is within the stage's share of the deadline."""
    seconds = seconds_at(question.seconds, fraction_percent)
    largest = question.fractions_percent[-1]
    share = question.slo_scale * seconds_at(question.seconds, largest)
    busy = min(question.target, question.arrivals_per_s * seconds / max(1, question.least))
    return seconds <= share * (1 - busy) * (1 + _ROUNDING)


def choose(question: Question) -> Choice:
    """The smallest fraction that is enough, else the largest of those that serve the most."""
    possible = [one for one in question.fractions_percent if question.most[one] > 0]
    for fraction in possible:
        workers = workers_needed(question, fraction)
        if workers <= question.most[fraction] and fast_enough(question, fraction):
            return _choice(question, fraction, workers)
    fraction = max(
        possible or question.fractions_percent,
        key=lambda one: (min(1.0, question.most[one] / workers_needed(question, one)), one),
    )
    return _choice(question, fraction, workers_needed(question, fraction))


def _choice(question: Question, fraction: int, needed: int) -> Choice:
    workers = min(needed, max(1, question.most[fraction]))
    seconds = seconds_at(question.seconds, fraction)
    counted = f"{needed} worker{'' if needed == 1 else 's'}"
    reason = (
        f"{question.arrivals_per_s:.2f} requests/s x {seconds:.3g} s at {fraction} %"
        f" / {question.target * 100:.0f} % = {counted}"
    )
    limited = needed > workers
    if limited:
        reason += f", of which {workers} can be had"
    code = "TooManyReplicas" if limited else "Proportional"
    return Choice(
        fraction_percent=fraction, workers=workers, limited=limited, code=code, reason=reason
    )


class Proportional:
    """Workers in proportion to arrivals x seconds, on the smallest fraction that is enough."""

    def plan(self, inputs: PlacementInputs) -> PlacementPlan:
        """The placement for the load as it is; the previous one where the load is unknown."""
        if inputs.load.arrivals_per_s is None and inputs.previous is not None:
            problem = inputs.load.problem or "the arrival rate is unknown"
            held = Reason(code="LoadUnknown", message=f"held: {problem}")
            return PlacementPlan(
                pools=inputs.previous.pools, reasons=(held,), limited=inputs.previous.limited
            )
        choices = [(stage, _choose(stage, inputs)) for stage in inputs.spec.stages]
        plan = PlacementPlan(
            pools=tuple(
                PoolPlan(shape=shape_of(stage, choice.fraction_percent), workers=choice.workers)
                for stage, choice in choices
            ),
            reasons=tuple(
                Reason(code=choice.code, message=choice.reason, stage=stage.stage)
                for stage, choice in choices
            ),
            limited=any(choice.limited for _, choice in choices),
        )
        return cut_to_budget(plan, inputs.spec)


def _choose(stage: StageSpec, inputs: PlacementInputs) -> Choice:
    """One stage's choice, from what is known of it."""
    most = {one: _most(stage, one, inputs) for one in stage.fractions_percent}
    seconds = _worker_seconds(stage, inputs) or _seconds(stage, inputs.load, inputs.profile)
    arrivals = inputs.load.arrivals_per_s
    if arrivals is None or not seconds:
        unknown = "the arrival rate" if arrivals is None else f"seconds of {stage.stage}"
        return _held(stage, most, inputs.previous, unknown) or _least(stage, most, unknown)
    return choose(
        Question(
            stage=stage.stage,
            fractions_percent=stage.fractions_percent,
            most=most,
            least=stage.min_replicas,
            seconds=seconds,
            arrivals_per_s=arrivals,
            target=inputs.spec.target_utilization_percent / 100,
            slo_scale=inputs.spec.slo_scale_percent / 100,
        )
    )


def _held(
    stage: StageSpec, most: Mapping[int, int], previous: PlacementPlan | None, unknown: str
) -> Choice | None:
    """What the stage has, where that may still be had; not to know is no reason to shrink."""
    pools = previous.pools if previous is not None else ()
    alone = [pool for pool in pools if pool.shape.stages == (stage.stage,)]
    if len(alone) != 1 or most.get(alone[0].shape.fraction_percent, 0) < 1:
        return None
    fraction = alone[0].shape.fraction_percent
    workers = min(alone[0].workers, most[fraction])
    return Choice(
        fraction_percent=fraction,
        workers=workers,
        limited=False,
        code="SecondsUnknown",
        reason=f"{unknown} not known: {workers} at {fraction} % held",
    )


def _least(stage: StageSpec, most: Mapping[int, int], unknown: str) -> Choice:
    """Where to begin: `replicas.min` at the largest fraction that can be had."""
    possible = [one for one in stage.fractions_percent if most[one] > 0]
    fraction = possible[-1] if possible else stage.fractions_percent[-1]
    return Choice(
        fraction_percent=fraction,
        workers=stage.min_replicas,
        limited=False,
        code="NothingKnown",
        reason=f"{unknown} not known yet: replicas.min = {stage.min_replicas} at {fraction} %",
    )


def _most(stage: StageSpec, fraction_percent: int, inputs: PlacementInputs) -> int:
    """`replicas.max`, or what is left of it where the cluster could not provide as many."""
    shape = shape_of(stage, fraction_percent)
    refused = [
        one.workers - 1
        for one in inputs.infeasible
        if one.shape == shape and one.until_s > inputs.now
    ]
    return max(0, min([stage.max_replicas, *refused]))


def _worker_seconds(stage: StageSpec, inputs: PlacementInputs) -> dict[int, float]:
    """Seconds of a whole worker of several devices by request; empty where nobody knows."""
    seen = survey(inputs) if stage.devices_per_worker > 1 else None
    if seen is None:
        return {}
    total = sum(one.rate.arrivals_per_s for one in seen.traffic)
    work_s = 0.0
    for traffic in seen.traffic:
        ways = [w for w in traffic.of(stage.stage) if w.degree <= stage.devices_per_worker]
        best = efficient(ways)
        if best is None:
            return {}
        work_s += best.work_s * traffic.rate.arrivals_per_s / total
    return {100: work_s / stage.devices_per_worker}


def _seconds(stage: StageSpec, load: Load, profile: Profile | None) -> dict[int, float]:
    """Measured seconds of a request by fraction, else the profile's mean over its shapes."""
    measured = {
        time.fraction_percent: time.seconds
        for time in load.seconds
        if time.stage is stage.stage and 0 < time.seconds < float("inf")
    }
    if measured or profile is None:
        return measured
    found: dict[int, list[float]] = {}
    for sample in profile.samples:
        if sample.stage is stage.stage and sample.strategy.degree == 1 and sample.batch == 1:
            seconds = sample.fixed_s + sample.step_s * profile.steps
            found.setdefault(sample.fraction_percent, []).append(seconds)
    return {fraction: sum(times) / len(times) for fraction, times in found.items()}
