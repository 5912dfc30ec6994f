"""The conditions of a pipeline. Pure.

`problem` is the worst of `problems`:

| condition | True | False | Unknown |
| --- | --- | --- | --- |
| Available | a chain, and a router | otherwise: problem, or what is missing | - |
| Ready | Available, and every pool of the plan complete | otherwise | - |
| Progressing | steps are left to do | nothing to do, or nothing that may be done | - |
| Degraded | a problem | none | - |
| MetricsAvailable | a fresh arrival rate | Prometheus cannot say | not asked yet; no seconds |
| ScalingLimited | bounds or cluster give less than the load asks for | otherwise | - |

`Degraded` may go with `Ready`: a surge that cannot start leaves the old workers serving. `no
seconds`: requests arrive, and how long a stage takes is not known, so that its size is held. That
is so until the first ones are done, and for good where Prometheus does not reach the workers. Where
a profile says how long, nothing is held, and the message tells whose word it is.
No message holds a figure that moves with the load, and the time of a condition moves with its
status alone: a status is written when something has happened, and then only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from tridentserve.domain.ids import Revision
from tridentserve.domain.load import Load
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.profiles import Profile
from tridentserve.domain.stages import STAGES, Stage
from tridentserve.manifest.status import Condition, ConditionStatus, ConditionType
from tridentserve.planner.pools import PoolKey, PoolState
from tridentserve_operator.decide import Decision
from tridentserve_operator.observe import Observation
from tridentserve_operator.problems import Problem

_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the status is made of."""

    spec: PipelineSpec
    revision: Revision
    url: str
    observed: Observation
    decision: Decision
    load: Load
    asked: bool
    """Whether Prometheus has answered or refused at all, so that silence means something."""
    problems: tuple[Problem, ...]
    profile: Profile | None
    """Stands in for what was never measured."""
    profile_problem: Problem | None
    """It keeps nobody from serving, so it never says why a pipeline is not ready."""
    router_current: bool
    """Whether the router's Deployment has rolled to what was written last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """A condition without its time."""

    type: ConditionType
    holds: bool | None
    reason: str
    message: str


_SERVING = _Verdict(
    type=ConditionType.AVAILABLE,
    holds=True,
    reason="Serving",
    message="a router and a ready worker of every stage are there",
)


def conditions(
    old: Iterable[Condition], facts: Facts, generation: int | None, now: float
) -> tuple[Condition, ...]:
    """All six, after a look."""
    old = tuple(old)
    return tuple(_condition(old, one, generation, now) for one in _verdicts(facts))


def blocked(
    old: tuple[Condition, ...],
    problem: Problem,
    observed: Observation,
    generation: int | None,
    now: float,
) -> tuple[Condition, ...]:
    """The conditions of a pipeline that cannot be worked on: all else stays as it was.

    Workers that are there go on serving; those that go are not replaced.
    """
    down = _Verdict(
        type=ConditionType.READY, holds=False, reason=problem.reason, message=problem.message
    )
    verdicts = (
        down,
        _SERVING if serves(observed) else replace(down, type=ConditionType.AVAILABLE),
        _Verdict(
            type=ConditionType.PROGRESSING,
            holds=False,
            reason="Blocked",
            message="nothing is changed until the problem is solved",
        ),
        _degraded((problem,)),
    )
    written = {one.type: _condition(old, one, generation, now) for one in verdicts}
    kept = {one.type: one for one in old}
    merged = kept | written
    return tuple(merged[kind] for kind in ConditionType if kind in merged)


def serves(observed: Observation) -> bool:
    """Whether a request would find a router and a worker of every stage."""
    return observed.router_ready and chain(observed.pools)


def chain(pools: Iterable[PoolState], revision: Revision | None = None) -> bool:
    """Whether a revision (any, or this one) has a routable worker of every stage."""
    served: dict[Revision, set[Stage]] = {}
    for pool in pools:
        if pool.routable:
            served.setdefault(pool.key.revision, set()).update(pool.key.shape.stages)
    if revision is not None:
        return served.get(revision, set()) >= set(STAGES)
    return any(stages >= set(STAGES) for stages in served.values())


def _verdicts(facts: Facts) -> tuple[_Verdict, ...]:
    return (
        _ready(facts),
        _available(facts),
        _progressing(facts),
        _degraded((*facts.problems, *((facts.profile_problem,) if facts.profile_problem else ()))),
        _metrics(facts),
        _limited(facts),
    )


def _available(facts: Facts) -> _Verdict:
    missing = _missing(facts)
    if missing is None:
        return _SERVING
    return _Verdict(
        type=ConditionType.AVAILABLE, holds=False, reason=missing.reason, message=missing.message
    )


def _missing(facts: Facts) -> Problem | None:
    pools = facts.observed.pools
    if serves(facts.observed):
        return None
    if facts.spec.suspend:
        return Problem(reason="Suspended", message="spec.suspend is true: no workers are kept")
    if facts.problems:
        return facts.problems[0]
    if not chain(pools):
        served = {stage for pool in pools if pool.routable for stage in pool.key.shape.stages}
        lacking = [stage for stage in STAGES if stage not in served]
        words = ", ".join(lacking) or "a chain of one revision"
        return Problem(reason="WorkersStarting", message=f"waiting for ready workers: {words}")
    return Problem(reason="RouterStarting", message="waiting for the router to be ready")


def _ready(facts: Facts) -> _Verdict:
    kind = ConditionType.READY
    if facts.spec.suspend:
        message = "spec.suspend is true: no workers are kept"
        return _Verdict(type=kind, holds=False, reason="Suspended", message=message)
    missing = _missing(facts)
    if missing is None and _complete(facts):
        message = "every worker of the plan is ready"
        return _Verdict(type=kind, holds=True, reason="AllReady", message=message)
    if missing is None and facts.problems:
        missing = facts.problems[0]
    if missing is None:
        message = "serving, while workers of the plan are not ready yet"
        missing = Problem(reason="WorkersStarting", message=message)
    return _Verdict(type=kind, holds=False, reason=missing.reason, message=missing.message)


def _complete(facts: Facts) -> bool:
    states = {pool.key: pool for pool in facts.observed.pools}
    wanted = {
        PoolKey(shape=pool.shape, revision=facts.revision): pool.workers
        for pool in facts.decision.plan.pools
    }
    return facts.router_current and all(
        key in states and states[key].routable >= workers for key, workers in wanted.items()
    )


def _progressing(facts: Facts) -> _Verdict:
    kind = ConditionType.PROGRESSING
    if facts.decision.settled and facts.router_current:
        message = "what is there is what the plan asks for"
        return _Verdict(type=kind, holds=False, reason="Settled", message=message)
    message = "on the way to the plan in force"
    return _Verdict(type=kind, holds=True, reason="Changing", message=message)


def _degraded(problems: tuple[Problem, ...]) -> _Verdict:
    kind = ConditionType.DEGRADED
    if not problems:
        return _Verdict(type=kind, holds=False, reason="AsExpected", message="nothing is wrong")
    worst = problems[0]
    return _Verdict(type=kind, holds=True, reason=worst.reason, message=worst.message)


def _metrics(facts: Facts) -> _Verdict:
    kind = ConditionType.METRICS_AVAILABLE
    unmeasured = _unmeasured(facts)
    unknown = [stage for stage in unmeasured if stage not in _profiled(facts.profile)]
    if unknown:
        message = (
            f"requests arrive, but how long they take in {', '.join(unknown)} is not known, so"
            " that the size of it is held: until the first ones are through, and for as long as"
            " Prometheus does not scrape the workers' pods"
        )
        return _Verdict(type=kind, holds=None, reason="SecondsUnknown", message=message)
    if unmeasured:
        message = (
            f"Prometheus knows how many requests arrive; how long they take in"
            f" {', '.join(unmeasured)} is what the profile says, until the first ones are through"
        )
        return _Verdict(type=kind, holds=True, reason="SecondsFromProfile", message=message)
    if facts.load.arrivals_per_s is not None:
        message = "Prometheus knows how many requests arrive"
        return _Verdict(type=kind, holds=True, reason="Fresh", message=message)
    message = f"{facts.load.problem}; until the load is known every size is held"
    if not facts.asked:
        return _Verdict(type=kind, holds=None, reason="NotAsked", message=message)
    return _Verdict(type=kind, holds=False, reason="LoadUnknown", message=message)


def _unmeasured(facts: Facts) -> tuple[Stage, ...]:
    """Stages whose size should follow the requests that arrive, and cannot."""
    if not facts.load.arrivals_per_s or not facts.decision.plan.follows_load:
        return ()
    measured = {time.stage for time in facts.load.seconds}
    return tuple(stage for stage in STAGES if stage not in measured)


def _profiled(profile: Profile | None) -> frozenset[Stage]:
    """Stages that a profile has seconds of, as `Proportional` takes them."""
    samples = () if profile is None else profile.samples
    return frozenset(one.stage for one in samples if one.strategy.degree == one.batch == 1)


def _limited(facts: Facts) -> _Verdict:
    kind = ConditionType.SCALING_LIMITED
    refused = sorted({one.shape.label for one in facts.decision.memory.transition.infeasible})
    if refused:
        message = f"more of {', '.join(refused)} did not find room, or did not become ready in time"
        return _Verdict(type=kind, holds=True, reason="Unobtainable", message=message)
    if facts.decision.plan.limited:
        message = (
            "the load asks for more than replicas.max, gpuLimitPercent or the speed of scaling give"
        )
        return _Verdict(type=kind, holds=True, reason="LimitReached", message=message)
    message = "the load asks for no more than there may be"
    return _Verdict(type=kind, holds=False, reason="WithinLimits", message=message)


def _old(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    return next((one for one in conditions if one.type == kind), None)


def _condition(
    old: Iterable[Condition], verdict: _Verdict, generation: int | None, now: float
) -> Condition:
    status = {
        True: ConditionStatus.TRUE,
        False: ConditionStatus.FALSE,
        None: ConditionStatus.UNKNOWN,
    }[verdict.holds]
    before = _old(old, verdict.type)
    same = before is not None and before.status is status
    since = before.last_transition_time if before and same else _moment(now)
    return Condition(
        type=verdict.type,
        status=status,
        reason=verdict.reason,
        message=verdict.message[:_LIMIT],
        observed_generation=generation,
        last_transition_time=since,
    )


def _moment(now: float) -> datetime:
    return datetime.fromtimestamp(int(now), UTC)
