"""What the operator answers: `status` of a DiffusionPipeline. No figure in it changes fast."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tridentserve.domain.stages import Stage as StageName
from tridentserve.manifest.base import ApiObject, MapList

CamelCaseWord = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9_])?$")
]
Message = Annotated[str, Field(max_length=4096)]
Count = Annotated[int, Field(ge=0)]


class ConditionType(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    """A chain, and as many workers ready as desired."""
    AVAILABLE = "Available"
    """A chain: a ready worker of every stage of one revision."""
    PROGRESSING = "Progressing"
    """On the way from one plan to the next."""
    DEGRADED = "Degraded"
    """Something is wrong that does not go away by itself."""
    METRICS_AVAILABLE = "MetricsAvailable"
    """The load is known."""
    SCALING_LIMITED = "ScalingLimited"
    """The load asks for more than the limits or the cluster give."""


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiObject):
    """One aspect of the state, in the shape that all of Kubernetes uses."""

    type: CamelCaseWord = Field(
        description="What it is about: Ready, Available, Progressing, Degraded, MetricsAvailable"
        " or ScalingLimited; other programs may add their own."
    )
    status: ConditionStatus = Field(description="Whether it holds.")
    reason: CamelCaseWord = Field(description="Why, as one word for machines.")
    message: Message = Field(default="", description="Why, as a sentence for people.")
    observed_generation: Count | None = Field(
        default=None, description="Generation of the spec that it speaks of."
    )
    last_transition_time: datetime = Field(description="When its status changed last.")


class PoolStatus(ApiObject):
    """Workers of one stage, fraction and revision."""

    name: str = Field(max_length=63, description="Name of its Deployment.")
    fraction_percent: Count = Field(description="Size of its workers.")
    revision: str = Field(max_length=63, description="Revision of its pods.")
    desired: Count = Field(description="Workers that there should be.")
    ready: Count = Field(description="Workers that are ready.")
    gave_up: bool = Field(
        default=False,
        description="None of its workers became ready in time, so that they were taken back, and"
        " the last worker that serves in their place is not taken away for them again.",
    )


class StageStatus(ApiObject):
    """How a stage stands."""

    name: StageName = Field(description="The stage.")
    desired: Count = Field(description="Workers that there should be.")
    ready: Count = Field(description="Workers that are ready.")
    summary: str = Field(default="", max_length=32, description="ready/desired, for printing.")
    fraction_percent: Count | None = Field(
        default=None, description="Size of the workers that the plan asks for."
    )
    pools: Annotated[tuple[PoolStatus, ...], MapList("name")] = Field(
        default=(), max_length=64, description="Its pools."
    )


class PlanReason(ApiObject):
    """Why the plan is as it is."""

    code: CamelCaseWord = Field(description="One word for machines.")
    stage: StageName | None = Field(
        default=None, description="The stage that it is about; all where left out."
    )
    message: Message = Field(default="", description="A sentence for people, with its figures.")


class PlanStatus(ApiObject):
    """The placement plan in force."""

    id: str = Field(max_length=63, description="Hash of the plan's content.")
    reasons: tuple[PlanReason, ...] = Field(
        default=(), max_length=64, description="Why it is as it is."
    )


class LastFailure(ApiObject):
    """What went wrong last with a pod of the pipeline."""

    pod: str = Field(max_length=253, description="Name of the pod.")
    component: str = Field(
        default="", max_length=63, description="encode, diffuse, decode or router."
    )
    exit_code: int | None = Field(default=None, description="How its process ended.")
    message: Message = Field(default="", description="The last thing that it said.")


class Status(ApiObject):
    """What is."""

    observed_generation: Count | None = Field(
        default=None, description="Generation of the spec that the rest speaks of."
    )
    url: str | None = Field(
        default=None, max_length=512, description="Where applications call GenerationService."
    )
    revision: str | None = Field(
        default=None, max_length=63, description="Revision of the pods that are wished for."
    )
    conditions: Annotated[tuple[Condition, ...], MapList("type")] = Field(
        default=(), max_length=16, description="The state, aspect by aspect."
    )
    stages: Annotated[tuple[StageStatus, ...], MapList("name")] = Field(
        default=(), max_length=3, description="How each stage stands."
    )
    plan: PlanStatus | None = Field(default=None, description="The placement plan in force.")
    last_failure: LastFailure | None = Field(
        default=None, description="What went wrong last with a pod of the pipeline."
    )

    def condition(self, type_: ConditionType) -> Condition | None:
        """The condition of this type, None where it is not there yet."""
        return next((found for found in self.conditions if found.type == type_), None)
