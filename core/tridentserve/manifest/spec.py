"""The wishes of a user: `spec` of a DiffusionPipeline, with every default."""

import re
from enum import StrEnum

from pydantic import Field

from tridentserve.domain.ids import PipelineName
from tridentserve.domain.pipeline import Limits as DomainLimits
from tridentserve.domain.pipeline import PipelineSpec
from tridentserve.manifest.base import PATH_SEGMENT, SUBDOMAIN, ApiObject, Rule
from tridentserve.manifest.model import ClaimPath, FilePath, model_location
from tridentserve.manifest.profile_choice import ProfileChoice
from tridentserve.manifest.scaling import Autoscaling
from tridentserve.manifest.stages import Stages

_URI = rf"^(pvc://{SUBDOMAIN}(/{PATH_SEGMENT})*|file://(/{PATH_SEGMENT})+)$"


class Dtype(StrEnum):
    """Type of the numbers of a model."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Model(ApiObject):
    """Which model is served."""

    rules = (
        Rule(
            cel=f"self.uri.matches(r'{_URI}')",
            message="must be pvc://CLAIM/PATH or file:///PATH, with plain folder names",
            field=".uri",
            holds=lambda self: re.fullmatch(_URI, self.uri) is not None,
        ),
    )

    uri: str = Field(
        min_length=1,
        max_length=1024,
        description="pvc://CLAIM/PATH: a folder of a persistent volume claim in the pipeline's"
        " namespace. file:///PATH: a folder that the containers see by themselves, where the"
        " operator's settings allow it.",
    )
    dtype: Dtype = Field(
        default=Dtype.BFLOAT16, description="Type of numbers that the model is loaded in."
    )

    @property
    def location(self) -> ClaimPath | FilePath:
        """Where the folder lies."""
        return model_location(self.uri)


class Colocation(StrEnum):
    """Whether stages may share a worker."""

    NEVER = "Never"


class Placement(StrEnum):
    """Name of a placement planner."""

    STATIC = "Static"
    PROPORTIONAL = "Proportional"


class Dispatch(StrEnum):
    """Name of a dispatch planner."""

    FIFO = "Fifo"
    SHORTEST_REMAINING = "ShortestRemaining"
    EARLIEST_DEADLINE = "EarliestDeadline"
    DEADLINE_AWARE = "DeadlineAware"


class Limits(ApiObject):
    """Bounds on what one request may ask for."""

    max_pixels: int = Field(
        default=1048576, ge=1, le=67108864, description="Height times width, in pixels."
    )
    max_frames: int = Field(default=1, ge=1, le=1024, description="Frames; 1 is a picture.")
    max_steps: int = Field(default=100, ge=1, le=1000, description="Denoising steps.")
    max_images: int = Field(default=4, ge=1, le=64, description="Pictures of one request.")
    max_prompt_characters: int = Field(
        default=4000, ge=1, le=100000, description="Length of a prompt, in characters."
    )

    def to_domain(self) -> DomainLimits:
        """The same bounds."""
        return DomainLimits(
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
            max_steps=self.max_steps,
            max_images=self.max_images,
            max_prompt_characters=self.max_prompt_characters,
        )


class Slo(ApiObject):
    """When a request should be done."""

    scale_percent: int = Field(
        default=250,
        ge=100,
        le=100000,
        description="Deadline as a share of the best end-to-end time of the request's shape; 250"
        " is two and a half times. A request may bring its own deadline.",
    )


class Planner(ApiObject):
    """Who decides."""

    placement: Placement = Field(
        default=Placement.PROPORTIONAL,
        description="Where stages live. Static: replicas.min, whatever the load. Proportional:"
        " workers in proportion to the load.",
    )
    dispatch: Dispatch = Field(
        default=Dispatch.DEADLINE_AWARE,
        description="Which request goes next. Fifo: the oldest. ShortestRemaining: the one with"
        " the least left to do, its waiting taken off. EarliestDeadline: the most urgent."
        " DeadlineAware: the most urgent that can be on time, on as many devices as that is worth.",
    )


class Router(ApiObject):
    """The entry of the pipeline."""

    max_queue: int = Field(
        default=1000, ge=1, le=100000, description="Requests that may wait; more are refused."
    )


def _least_gpu_percent(spec: "Spec") -> int:
    return sum(stage.replicas.min * stage.gpu.count * 100 for _, stage in spec.stages.items())


class Spec(ApiObject):
    """What is wished for."""

    rules = (
        Rule(
            cel=" + ".join(
                f"self.stages.{stage}.replicas.min * self.stages.{stage}.gpu.count * 100"
                for stage in ("encode", "diffuse", "decode")
            )
            + " <= self.autoscaling.gpuLimitPercent",
            message="must cover the GPUs of replicas.min workers of every stage",
            field=".autoscaling.gpuLimitPercent",
            holds=lambda self: _least_gpu_percent(self) <= self.autoscaling.gpu_limit_percent,
        ),
    )

    model: Model = Field(description="Which model is served.")
    profile: ProfileChoice | None = Field(
        default=None,
        description="What stages are expected to take before any request was measured; nothing is"
        " expected where it is left out.",
    )
    stages: Stages = Field(default=Stages(), description="The three stages.")
    colocation: Colocation = Field(
        default=Colocation.NEVER, description="Never: every stage has workers of its own."
    )
    limits: Limits = Field(default=Limits(), description="Bounds on what one request may ask for.")
    slo: Slo = Field(default=Slo(), description="When a request should be done.")
    autoscaling: Autoscaling = Field(
        default=Autoscaling(), description="How the pipeline follows the load."
    )
    planner: Planner = Field(default=Planner(), description="Who decides.")
    router: Router = Field(default=Router(), description="The entry of the pipeline.")
    drain_seconds: int = Field(
        default=120,
        ge=1,
        le=86400,
        description="How long a worker that has to go may finish what it runs, in seconds.",
    )
    suspend: bool = Field(
        default=False, description="True: drain, then keep no workers until it is false again."
    )

    def to_domain(self, name: PipelineName) -> PipelineSpec:
        """What deciders need of it; `name` is `namespace/name`."""
        return PipelineSpec(
            name=name,
            stages=tuple(stage.to_domain(word) for word, stage in self.stages.items()),
            limits=self.limits.to_domain(),
            slo_scale_percent=self.slo.scale_percent,
            placement=self.planner.placement.value,
            dispatch=self.planner.dispatch.value,
            max_queue=self.router.max_queue,
            drain_s=self.drain_seconds,
            suspend=self.suspend,
            interval_s=self.autoscaling.interval_seconds,
            gpu_limit_percent=self.autoscaling.gpu_limit_percent,
            target_utilization_percent=self.autoscaling.target_utilization_percent,
            behavior=self.autoscaling.behavior.to_domain(),
        )
