"""Where pods may run: the affinity of Kubernetes, field by field.

Typed rather than passed through, so that a misspelt field is refused when the pipeline is applied
and not when its first pod is made.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tridentserve.manifest.base import ApiObject, Name, Rule

LabelKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=316,
        pattern=r"^([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    ),
]
"""Key of a label or a taint: an optional prefix and a name."""

LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]
"""Value of a label."""

Labels = dict[str, LabelValue]
"""Labels by key. CRDs cannot say what keys look like; the API server does when a pod is made."""

Weight = Annotated[int, Field(ge=1, le=100, description="Weight beside the other preferences.")]


class NodeOperator(StrEnum):
    """How a node's label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


class LabelOperator(StrEnum):
    """How a pod's label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


def _fits_in_values(requirement: "NodeRequirement | LabelRequirement") -> bool:
    return bool(requirement.values) == (requirement.operator not in ("Exists", "DoesNotExist"))


_VALUES_FIT = Rule(
    cel="(self.operator in ['Exists', 'DoesNotExist'])"
    " != (has(self.values) && size(self.values) > 0)",
    message="must be empty for Exists and DoesNotExist, and not empty for the other operators",
    field=".values",
    holds=_fits_in_values,
)


class NodeRequirement(ApiObject):
    """One condition on a node."""

    rules = (
        _VALUES_FIT,
        Rule(
            cel="!(self.operator in ['Gt', 'Lt'])"
            " || (size(self.values) == 1 && self.values[0].matches('^-?[0-9]+$'))",
            message="must be a single integer for Gt and Lt",
            field=".values",
            holds=lambda self: (
                self.operator not in ("Gt", "Lt")
                or (len(self.values) == 1 and self.values[0].removeprefix("-").isdecimal())
            ),
        ),
    )

    key: LabelKey = Field(description="Label of the node, or name of its field.")
    operator: NodeOperator = Field(description="How the value is compared.")
    values: tuple[LabelValue, ...] = Field(
        default=(), max_length=32, description="Values to compare with."
    )


class NodeTerm(ApiObject):
    """Conditions on a node that must all hold."""

    match_expressions: tuple[NodeRequirement, ...] = Field(
        default=(), max_length=16, description="Conditions on the node's labels."
    )
    match_fields: tuple[NodeRequirement, ...] = Field(
        default=(), max_length=16, description="Conditions on the node's fields."
    )


class NodeSelector(ApiObject):
    """Terms of which one must hold."""

    node_selector_terms: tuple[NodeTerm, ...] = Field(
        min_length=1, max_length=16, description="Terms of which one must hold."
    )


class PreferredNodes(ApiObject):
    """A wish for nodes."""

    weight: Weight
    preference: NodeTerm = Field(description="The nodes that are preferred.")


class NodeAffinity(ApiObject):
    """Which nodes a pod may run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        default=None, description="Nodes other than these are out of the question."
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredNodes, ...] = Field(
        default=(), max_length=16, description="Nodes that are preferred."
    )


class LabelRequirement(ApiObject):
    """One condition on labels."""

    rules = (_VALUES_FIT,)

    key: LabelKey = Field(description="Key of the label.")
    operator: LabelOperator = Field(description="How the value is compared.")
    values: tuple[LabelValue, ...] = Field(
        default=(), max_length=32, description="Values to compare with."
    )


class LabelSelector(ApiObject):
    """Conditions on labels that must all hold."""

    match_labels: Labels = Field(
        default={}, max_length=32, description="Labels that must be equal."
    )
    match_expressions: tuple[LabelRequirement, ...] = Field(
        default=(), max_length=16, description="Further conditions."
    )


class PodTerm(ApiObject):
    """Pods to be near to, or away from."""

    topology_key: LabelKey = Field(description="Label of nodes whose equal values mean near.")
    label_selector: LabelSelector | None = Field(default=None, description="Which pods.")
    namespaces: tuple[Name, ...] = Field(
        default=(), max_length=32, description="In which namespaces; this pod's where left out."
    )
    namespace_selector: LabelSelector | None = Field(
        default=None, description="In the namespaces with such labels too."
    )


class PreferredPods(ApiObject):
    """A wish for neighbours."""

    weight: Weight
    pod_affinity_term: PodTerm = Field(description="The pods in question.")


class PodAffinity(ApiObject):
    """Which pods a pod should be near to, or away from."""

    required_during_scheduling_ignored_during_execution: tuple[PodTerm, ...] = Field(
        default=(), max_length=16, description="Must hold."
    )
    preferred_during_scheduling_ignored_during_execution: tuple[PreferredPods, ...] = Field(
        default=(), max_length=16, description="Should hold."
    )


class Affinity(ApiObject):
    """Where pods may run, as Kubernetes has it."""

    node_affinity: NodeAffinity | None = Field(default=None, description="Which nodes.")
    pod_affinity: PodAffinity | None = Field(default=None, description="Near to which pods.")
    pod_anti_affinity: PodAffinity | None = Field(default=None, description="Away from which pods.")
