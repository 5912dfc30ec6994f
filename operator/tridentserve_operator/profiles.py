"""The profile that a pipeline names, as its planner gets it.

A ConfigMap is asked for by name, as often as the planner is asked (`autoscaling.intervalSeconds`):
watching would take the right to list all ConfigMaps there are, and keep every one of them. Its text
is read anew only where its resource version has changed.

A profile that is missing or wrong takes nothing away: the one that was read last stays in force,
whichever the pipeline named then. An operator that has none plans as it does without
`spec.profile`, which holds every stage that was not measured. What is wrong becomes a `Problem`,
and it is gone with the next look that finds a good one. An API server that does not answer is no
problem of the profile: it is asked again.

Placement takes the mean over the shapes of a profile. That of FLUX goes up to 4096 x 4096, which
takes 47 times as long as 1024 x 1024; so shapes and steps that `limits` refuse are left out.
"""

import logging
from dataclasses import dataclass, replace

from tridentserve.domain.pipeline import Limits, PipelineSpec
from tridentserve.domain.profiles import Profile
from tridentserve.errors import InvalidFieldError, NotFoundError, UnavailableError
from tridentserve.manifest import profile_served
from tridentserve.manifest.base import Object
from tridentserve.manifest.profile_choice import ConfigMapKey, ProfileChoice
from tridentserve.manifest.profile_served import ServedProfile, believed
from tridentserve.manifest.v1alpha1 import DiffusionPipeline
from tridentserve.planner.cost import CostModel
from tridentserve_operator.kube import Api
from tridentserve_operator.problems import Problem, profile_problem

log = logging.getLogger(__name__)

_NEVER_S = float("-inf")


@dataclass(slots=True, kw_only=True)
class KeptProfile:
    """What is known of one pipeline's profile."""

    served: ServedProfile | None = None
    """Read last; None where the pipeline names none, or none was ever read."""
    problem: Problem | None = None
    """Why the one that is named could not be read."""
    cost: CostModel | None = None
    """Made of what placement may believe of it, for the spec as it was at the last look."""
    choice: ProfileChoice | None = None
    asked_s: float = _NEVER_S
    version: str = ""
    """Of the ConfigMap that was read last; empty where it has to be read again."""

    @property
    def profile(self) -> Profile | None:
        """What may be believed of it; None where nothing is known."""
        return None if self.cost is None else self.cost.profile


async def look(
    api: Api, pipeline: DiffusionPipeline, spec: PipelineSpec, kept: KeptProfile, now: float
) -> None:
    """Bring what is kept up to date; raises nothing, whatever is wrong with the profile."""
    choice = pipeline.spec.profile
    if choice != kept.choice:
        _choose(choice, kept)
    ref = _ref(choice)
    if ref is not None and not kept.asked_s <= now < kept.asked_s + spec.interval_s:
        kept.asked_s = now
        await _ask(api, pipeline, ref, kept)
    profile = None
    if kept.served is not None:
        profile = within(believed(kept.served, spec), spec.limits)
    if profile != kept.profile:
        kept.cost = None if profile is None else _costs(profile, spec)


def next_look_s(spec: PipelineSpec, kept: KeptProfile) -> float | None:
    """When to ask again; None where there is nothing to ask for."""
    return None if _ref(kept.choice) is None else kept.asked_s + spec.interval_s


def within(profile: Profile, limits: Limits) -> Profile:
    """What a profile says of requests that may come; of all, where it knows of none of those."""
    samples = tuple(
        one
        for one in profile.samples
        if one.shape.pixels <= limits.max_pixels and one.shape.frames <= limits.max_frames
    )
    steps = min(profile.steps, limits.max_steps)
    return replace(profile, samples=samples or profile.samples, steps=steps)


def _costs(profile: Profile, spec: PipelineSpec) -> CostModel:
    largest = {stage.stage: stage.fractions_percent[-1] for stage in spec.stages}
    return CostModel(profile, largest_percent=largest)


def _choose(choice: ProfileChoice | None, kept: KeptProfile) -> None:
    kept.choice, kept.asked_s, kept.version, kept.problem = choice, _NEVER_S, "", None
    if choice is not None and choice.name is not None:
        kept.served = profile_served.builtin(choice.name)
    elif _ref(choice) is None:
        kept.served = None


def _ref(choice: ProfileChoice | None) -> ConfigMapKey | None:
    return None if choice is None else choice.config_map_ref


async def _ask(api: Api, pipeline: DiffusionPipeline, ref: ConfigMapKey, kept: KeptProfile) -> None:
    namespace = pipeline.metadata.namespace
    # Forgotten until there is an answer: after a refusal even an unchanged one is read again.
    known, kept.version = kept.version, ""
    try:
        body = await _get(api, namespace, ref.name)
        kept.version = "" if body is None else str(body["metadata"].get("resourceVersion", ""))
        if kept.version and kept.version == known:
            return
        kept.served = profile_served.from_config_map(ref, namespace, body)
        kept.problem = None
    except InvalidFieldError as error:
        kept.problem = profile_problem(error)
    except UnavailableError as error:
        extra = {"pipeline": pipeline.name, "problem": str(error)}
        log.warning("profile not asked for", extra=extra)


async def _get(api: Api, namespace: str, name: str) -> Object | None:
    try:
        return await api.get("ConfigMap", namespace, name)
    except NotFoundError:
        return None
    except InvalidFieldError as error:
        problem = f"ConfigMap {namespace}/{name} cannot be read: {error.problem}"
        raise InvalidFieldError(f"{profile_served.FIELD}.configMapRef", problem) from error
