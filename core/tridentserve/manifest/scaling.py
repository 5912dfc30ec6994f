"""How fast and how far a pipeline may grow and shrink, in the words of the HPA."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tridentserve.domain.pipeline import Behavior as DomainBehavior
from tridentserve.domain.pipeline import ScalingRule
from tridentserve.manifest.base import ApiObject, MapList, Rule


class PolicyType(StrEnum):
    """What the value of a policy counts."""

    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which policy wins."""

    MAX = "Max"


class Policy(ApiObject):
    """By how much a stage may change within a period."""

    type: PolicyType = Field(
        description="Pods counts workers, Percent is a share of the stage's current size."
    )
    value: int = Field(ge=1, le=1000, description="Workers, or percent.")
    period_seconds: int = Field(default=15, ge=1, le=1800, description="Length of the period.")


def _have_one_period(scaling: "Scaling") -> bool:
    return len({policy.period_seconds for policy in scaling.policies}) <= 1


class Scaling(ApiObject):
    """One direction of scaling."""

    rules = (
        Rule(
            cel="self.policies.all(policy, policy.periodSeconds == self.policies[0].periodSeconds)",
            message="must all have the same periodSeconds",
            field=".policies",
            holds=_have_one_period,
        ),
    )

    stabilization_window_seconds: int = Field(
        ge=0,
        le=3600,
        description="How long a change must have been asked for before it is made, in seconds.",
    )
    tolerance_percent: int = Field(
        default=10,
        ge=0,
        le=100,
        description="A change smaller than this share of the current size is left alone.",
    )
    select_policy: SelectPolicy = Field(
        default=SelectPolicy.MAX, description="Max: the policy that allows most decides."
    )
    policies: Annotated[tuple[Policy, ...], MapList("type")] = Field(
        min_length=1, max_length=2, description="At most one by Pods and one by Percent."
    )

    def to_domain(self) -> ScalingRule:
        """The rule, with 0 for a policy that is not there: it never allows most."""
        values = {policy.type: policy.value for policy in self.policies}
        return ScalingRule(
            stabilization_window_s=self.stabilization_window_seconds,
            tolerance_percent=self.tolerance_percent,
            max_workers=values.get(PolicyType.PODS, 0),
            max_percent=values.get(PolicyType.PERCENT, 0),
            period_s=self.policies[0].period_seconds,
        )


class ScaleUp(Scaling):
    """How a stage may grow."""

    stabilization_window_seconds: int = Field(
        default=0,
        ge=0,
        le=3600,
        description="How long more workers must have been asked for before they come, in seconds.",
    )
    policies: Annotated[tuple[Policy, ...], MapList("type")] = Field(
        default=(
            Policy(type=PolicyType.PODS, value=4),
            Policy(type=PolicyType.PERCENT, value=100),
        ),
        min_length=1,
        max_length=2,
        description="At most one by Pods and one by Percent.",
    )


class ScaleDown(Scaling):
    """How a stage may shrink."""

    stabilization_window_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="How long fewer workers must have been enough before some go, in seconds.",
    )
    policies: Annotated[tuple[Policy, ...], MapList("type")] = Field(
        default=(Policy(type=PolicyType.PERCENT, value=100),),
        min_length=1,
        max_length=2,
        description="At most one by Pods and one by Percent.",
    )


class Behavior(ApiObject):
    """How fast a stage may grow and shrink."""

    scale_up: ScaleUp = Field(default=ScaleUp(), description="How a stage may grow.")
    scale_down: ScaleDown = Field(default=ScaleDown(), description="How a stage may shrink.")

    def to_domain(self) -> DomainBehavior:
        """Both rules."""
        return DomainBehavior(
            scale_up=self.scale_up.to_domain(), scale_down=self.scale_down.to_domain()
        )


class Autoscaling(ApiObject):
    """How the placement planner follows the load."""

    interval_seconds: int = Field(
        default=5, ge=1, le=3600, description="Seconds between two looks at the load."
    )
    target_utilization_percent: int = Field(
        default=70,
        ge=1,
        le=95,
        description="Share of a worker's time that is filled on purpose; the rest absorbs bursts.",
    )
    gpu_limit_percent: int = Field(
        default=12800,
        ge=0,
        le=1000000,
        description="Budget of GPUs for the whole pipeline; 100 is one GPU.",
    )
    behavior: Behavior = Field(
        default=Behavior(), description="How fast each stage may grow and shrink."
    )
