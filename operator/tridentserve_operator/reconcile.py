"""One look at one pipeline, from what is watched to what is written.

    watched objects + load + profile -> observe -> decide -> render -> apply -> status

Everything between the first and the last arrow is pure; this module only carries values from one
to the next and keeps what the next look needs.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from tridentserve.domain.load import Load, StageTime
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.domain.plans import PlacementPlan
from tridentserve.domain.stages import Stage
from tridentserve.errors import (
    InvalidFieldError,
    NotFoundError,
    TemporaryError,
    UnavailableError,
)
from tridentserve.manifest.base import Object
from tridentserve.manifest.status import Status
from tridentserve.manifest.v1alpha1 import DiffusionPipeline, parse_served
from tridentserve.planner.pools import MarkDraining, Patience, SetReplicas, UnmarkDraining
from tridentserve.telemetry.metrics import OperatorMetrics
from tridentserve_operator import apply, events, profiles, prometheus
from tridentserve_operator.apply import Applier, Refused, Rendered, Written
from tridentserve_operator.conditions import Facts
from tridentserve_operator.decide import Decision, Memory, decide
from tridentserve_operator.kube import Api
from tridentserve_operator.observe import Observation
from tridentserve_operator.problems import (
    Problem,
    given_up,
    model_problem,
    next_problem_s,
    overdue,
    problems,
    refusal,
)
from tridentserve_operator.profiles import KeptProfile
from tridentserve_operator.render import router
from tridentserve_operator.settings import Settings
from tridentserve_operator.status import blocked_status, new_status, readable

log = logging.getLogger(__name__)

_INVALID_AGAIN_S = 60.0
"""What only an edit can mend is looked at when it is edited, and now and then all the same."""


@dataclass(slots=True, kw_only=True)
class Kept:
    """What one look at a pipeline keeps for the next."""

    memory: Memory = field(default_factory=Memory)
    written: Written = field(default_factory=Written)
    known: tuple[StageTime, ...] = ()
    profile: KeptProfile = field(default_factory=KeptProfile)
    status: Status | None = None
    """As it was written last; nobody else writes it, and the index may be behind."""
    pipeline: DiffusionPipeline | None = None
    rendered: Rendered | None = None
    """Of the generation that `pipeline` has."""


class Reconciler:
    """Looks at pipelines, one call a look."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        metrics: OperatorMetrics,
        answer: Callable[[], prometheus.Answer],
        monotonic: Callable[[], float],
        *,
        reporter: str,
    ) -> None:
        """Talk to `api`; `answer` is Prometheus' latest, its age by `monotonic`."""
        self._api, self._applier = api, Applier(api, settings)
        self._settings, self._metrics = settings, metrics
        self._answer, self._monotonic, self._reporter = answer, monotonic, reporter
        self._patience = Patience(
            unschedulable_s=settings.unschedulable_s,
            start_s=settings.step_timeout_s,
            retry_s=settings.retry_s,
        )
        self._limits = prometheus.Limits(
            answer_age_s=prometheus.MISSED_ANSWERS * settings.load_interval_s + 5.0,
            sample_age_s=settings.load_max_age_s,
        )

    async def look(self, body: Object, observed: Observation, kept: Kept, now: float) -> float:
        """Bring one pipeline a step further; returns the Unix time of the next look.

        Raises:
            TemporaryError: the API server did not take it; another look may go through.
        """
        kept.written.resync(now)
        try:
            pipeline = self._parsed(body, kept)
        except InvalidFieldError as error:
            await self._invalid(body, error, observed, kept, now)
            return now + _INVALID_AGAIN_S
        forbidden = model_problem(pipeline, self._settings)
        # A suspended pipeline only loses pods: nobody should have to allow a folder to free GPUs.
        if forbidden is not None and not pipeline.spec.suspend:
            old, generation = _old(pipeline, kept), _generation(pipeline)
            status = blocked_status(old, generation, forbidden, observed, now)
            await self._report(pipeline, status, kept, now)
            return now + _INVALID_AGAIN_S
        return await self._work(pipeline, observed, kept, forbidden, now)

    async def _work(
        self,
        pipeline: DiffusionPipeline,
        observed: Observation,
        kept: Kept,
        forbidden: Problem | None,
        now: float,
    ) -> float:
        rendered = kept.rendered
        assert rendered is not None
        spec, load = pipeline.spec.to_domain(pipeline.name), self._load(pipeline, observed, kept)
        before = kept.memory
        decision = await self._decide(pipeline, spec, observed, load, kept, now)
        refused = await self._applier.statics(rendered, observed, kept.written, now)
        try:
            refused += await self._applier.pools(
                pipeline, rendered, decision.steps, observed, kept.written, now
            )
        except UnavailableError as error:
            refused.append(error)
        await self._tell(pipeline, decision, before, now)
        facts = Facts(
            spec=spec,
            revision=rendered.revision,
            url=router.url(pipeline),
            observed=observed,
            decision=decision,
            load=load,
            asked=self._answer().asked,
            problems=(
                *((forbidden,) if forbidden is not None else ()),
                *map(_refusal, refused),
                *problems(observed, now),
                *overdue(decision.memory.transition),
                *given_up(decision.memory.transition, decision.plan),
            ),
            profile=kept.profile.profile,
            profile_problem=kept.profile.problem,
            router_current=apply.router_is_current(rendered, observed, kept.written),
        )
        status = new_status(_old(pipeline, kept), _generation(pipeline), facts, now)
        await self._report(pipeline, status, kept, now)
        for one in refused:
            if isinstance(one, UnavailableError):
                raise one  # it is told by now; the next look comes as after any failure
        further = (next_problem_s(observed, now), profiles.next_look_s(spec, kept.profile))
        return min([decision.next_look_s, *(time for time in further if time is not None)])

    async def _decide(
        self,
        pipeline: DiffusionPipeline,
        spec: PipelineSpec,
        observed: Observation,
        load: Load,
        kept: Kept,
        now: float,
    ) -> Decision:
        assert kept.rendered is not None
        await profiles.look(self._api, pipeline, spec, kept.profile, now)
        decision = decide(
            spec,
            kept.rendered.revision,
            observed.pools,
            load,
            kept.memory,
            cost=kept.profile.cost,
            status=_old(pipeline, kept),
            patience=self._patience,
            now=now,
        )
        kept.memory, kept.known = decision.memory, load.seconds
        return decision

    def _parsed(self, body: Object, kept: Kept) -> DiffusionPipeline:
        metadata, known = body["metadata"], kept.pipeline
        if (
            known is not None
            and known.metadata.uid == metadata["uid"]
            and known.metadata.generation == metadata["generation"]
        ):
            return known
        try:
            pipeline = parse_served(body)
        except InvalidFieldError as error:
            if not error.field.startswith("status"):
                raise
            # Somebody wrote nonsense there; it is ours to write, and is written anew.
            pipeline = parse_served({**body, "status": {}})
        if known is not None and known.metadata.uid != pipeline.metadata.uid:
            kept.memory, kept.written, kept.known = Memory(), Written(), ()
            kept.status, kept.profile = None, KeptProfile()
        kept.rendered = apply.render(pipeline, self._settings)
        kept.pipeline = pipeline
        return pipeline

    def _load(self, pipeline: DiffusionPipeline, observed: Observation, kept: Kept) -> Load:
        return prometheus.load_of(
            pipeline.name,
            self._answer(),
            observed.fractions,
            kept.known,
            limits=self._limits,
            now=self._monotonic(),
        )

    async def _invalid(
        self,
        body: Object,
        error: InvalidFieldError,
        observed: Observation,
        kept: Kept,
        now: float,
    ) -> None:
        # A minimal pipeline that can carry a status: the API server let something through that
        # this program cannot read, after a downgrade of the operator for one.
        minimal = {"spec": {"model": {"uri": "pvc://none"}}, "status": {}}
        pipeline = parse_served({**body, **minimal})
        problem = Problem(reason="InvalidSpec", message=f"{error.field}: {error.problem}")
        old = kept.status or readable(body)
        status = blocked_status(old, _generation(pipeline), problem, observed, now)
        await self._report(pipeline, status, kept, now, old=old)

    async def _report(
        self,
        pipeline: DiffusionPipeline,
        status: Status,
        kept: Kept,
        now: float,
        *,
        old: Status | None = None,
    ) -> None:
        self._metrics.conditions(pipeline.name, {one.type: one.status for one in status.conditions})
        old = old if old is not None else _old(pipeline, kept)
        if status == old and kept.written.status:
            kept.status = status
            return
        try:
            await self._applier.status(pipeline, status)
        except NotFoundError:
            return  # deleted meanwhile; its children are collected
        kept.status, kept.written.status = status, True
        for event in events.transitions(
            pipeline, old.conditions, status.conditions, self._reporter, now
        ):
            await self._event(event)

    async def _tell(
        self, pipeline: DiffusionPipeline, decision: Decision, before: Memory, now: float
    ) -> None:
        name, plan = pipeline.name, decision.plan
        for step in decision.steps:
            if isinstance(step, SetReplicas | MarkDraining | UnmarkDraining):
                log.info(
                    "step",
                    extra={
                        "pipeline": name,
                        "step": type(step).__name__,
                        "pool": step.pool.label,
                        "count": step.replicas if isinstance(step, SetReplicas) else step.pods,
                        "why": step.reason,
                    },
                )
        if not decision.changed:
            return
        first = plan.reasons[0].code if plan.reasons else "Unknown"
        self._metrics.plan_changes.labels(name, first).inc()
        was = before.plan
        for reason in plan.reasons:
            stage = reason.stage
            if stage is not None and (was is None or _size(was, stage) != _size(plan, stage)):
                self._metrics.scaling_decisions.labels(name, stage, reason.code).inc()
        log.info("plan changed", extra={"pipeline": name, "plan": plan.id, "because": first})
        await self._event(events.plan_changed(pipeline, plan, self._reporter, now))

    async def _event(self, event: Object) -> None:
        try:
            await self._applier.event(event)
        except (TemporaryError, NotFoundError, InvalidFieldError) as error:
            log.warning("event not posted", extra={"reason": event["reason"], "error": str(error)})


def _refusal(error: Refused) -> Problem:
    if isinstance(error, InvalidFieldError):
        return refusal(error)
    message = f"the API server did not take an object, and is asked again: {error}"
    return Problem(reason="ApplyRefused", message=message)


def _size(plan: PlacementPlan, stage: Stage) -> tuple[tuple[int, int], ...]:
    return tuple(
        (pool.shape.fraction_percent, pool.workers)
        for pool in plan.pools
        if stage in pool.shape.stages
    )


def _old(pipeline: DiffusionPipeline, kept: Kept) -> Status:
    return kept.status if kept.status is not None else pipeline.status


def _generation(pipeline: DiffusionPipeline) -> int | None:
    return pipeline.metadata.generation
