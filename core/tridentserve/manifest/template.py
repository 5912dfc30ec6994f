"""What a user may change in the pods of a stage.

An overlay of listed fields: no service account, no security context, no command. What the operator
itself decides (the GPU count, its own variables and volumes) is refused here rather than
overwritten later.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tridentserve.manifest.affinity import Affinity, LabelKey, Labels, LabelValue
from tridentserve.manifest.base import ApiObject, MapList, ObjectName, Rule
from tridentserve.manifest.quantity import Quantity
from tridentserve.manifest.volumes import Volume, VolumeMount

_OWN_VARIABLES = ("POD_NAME", "POD_NAMESPACE", "POD_UID", "POD_IP", "NODE_NAME")
_OWN_PREFIX = "TRIDENTSERVE_"


class KeyRef(ApiObject):
    """A key of a ConfigMap or Secret of the pipeline's namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap or Secret.")
    key: str = Field(
        min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="The key."
    )
    optional: bool | None = Field(default=None, description="True lets the pod start without it.")


class EnvSource(ApiObject):
    """Where the value of a variable comes from."""

    rules = (
        Rule(
            cel="has(self.configMapKeyRef) != has(self.secretKeyRef)",
            message="must have exactly one of configMapKeyRef and secretKeyRef",
            holds=lambda self: (self.config_map_key_ref is None) != (self.secret_key_ref is None),
        ),
    )

    config_map_key_ref: KeyRef | None = Field(default=None, description="A key of a ConfigMap.")
    secret_key_ref: KeyRef | None = Field(default=None, description="A key of a Secret.")


class EnvVar(ApiObject):
    """One environment variable."""

    rules = (
        Rule(
            cel="!(has(self.value) && has(self.valueFrom))",
            message="must not have both value and valueFrom",
            holds=lambda self: self.value is None or self.value_from is None,
        ),
        Rule(
            cel=f"!self.name.startsWith('{_OWN_PREFIX}') && !(self.name in {list(_OWN_VARIABLES)})",
            message=f"must not be one of {', '.join(_OWN_VARIABLES)} or start with {_OWN_PREFIX},"
            " since the operator sets those",
            field=".name",
            holds=lambda self: (
                not self.name.startswith(_OWN_PREFIX) and self.name not in _OWN_VARIABLES
            ),
        ),
    )

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the variable.",
    )
    value: str | None = Field(default=None, max_length=32768, description="Its value.")
    value_from: EnvSource | None = Field(default=None, description="Where its value comes from.")


class TolerationOperator(StrEnum):
    """How a taint is compared."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiObject):
    """A taint that the pods put up with."""

    rules = (
        Rule(
            cel="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            message="must be Exists where key is left out",
            field=".operator",
            holds=lambda self: self.key is not None or self.operator is TolerationOperator.EXISTS,
        ),
        Rule(
            cel="!has(self.operator) || self.operator != 'Exists' || !has(self.value)"
            " || self.value == ''",
            message="must be left out where operator is Exists",
            field=".value",
            holds=lambda self: self.operator is not TolerationOperator.EXISTS or not self.value,
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="must be NoExecute where tolerationSeconds is given",
            field=".effect",
            holds=lambda self: (
                self.toleration_seconds is None or self.effect is TaintEffect.NO_EXECUTE
            ),
        ),
    )

    key: LabelKey | None = Field(default=None, description="Key of the taint; all if left out.")
    operator: TolerationOperator | None = Field(
        default=None, description="How it is compared; Equal if left out."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: TaintEffect | None = Field(default=None, description="All effects if left out.")
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="For how long, where the effect is NoExecute."
    )


_ResourceMap = dict[str, Quantity]


def _is_without_gpu(resources: "Resources") -> bool:
    return not {"nvidia.com/gpu"} & {*resources.limits, *resources.requests}


class Resources(ApiObject):
    """Requests and limits of the stage's container."""

    rules = (
        Rule(
            cel="!(has(self.limits) && 'nvidia.com/gpu' in self.limits)"
            " && !(has(self.requests) && 'nvidia.com/gpu' in self.requests)",
            message="must not name nvidia.com/gpu, which gpu.count decides",
            holds=_is_without_gpu,
        ),
    )

    limits: _ResourceMap = Field(
        default={}, max_length=16, description="What the container may use at most."
    )
    requests: _ResourceMap = Field(
        default={}, max_length=16, description="What is set aside for the container."
    )

    @property
    def names(self) -> frozenset[str]:
        """Every resource that is named, as a limit or a request."""
        return frozenset(self.limits) | frozenset(self.requests)


class Template(ApiObject):
    """What is laid over the pods of a stage."""

    rules = (
        Rule(
            cel="!has(self.volumeMounts) || self.volumeMounts.all(mount, has(self.volumes)"
            " && self.volumes.exists(volume, volume.name == mount.name))",
            message="must each name one of volumes",
            field=".volumeMounts",
            holds=lambda self: (
                {mount.name for mount in self.volume_mounts}
                <= {volume.name for volume in self.volumes}
            ),
        ),
    )

    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=512,
        pattern=r"^[^\s]+$",
        description="Image of the stage; the operator's choice where left out.",
    )
    resources: Resources | None = Field(
        default=None, description="Requests and limits of the stage's container."
    )
    node_selector: Labels = Field(
        default={}, max_length=32, description="Labels that a node must have."
    )
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=32, description="Taints that the pods put up with."
    )
    affinity: Affinity | None = Field(default=None, description="Where the pods may run.")
    env: Annotated[tuple[EnvVar, ...], MapList("name")] = Field(
        default=(),
        max_length=64,
        description="Further environment variables.",
    )
    volumes: Annotated[tuple[Volume, ...], MapList("name")] = Field(
        default=(),
        max_length=16,
        description="Further volumes.",
    )
    volume_mounts: Annotated[tuple[VolumeMount, ...], MapList("mountPath")] = Field(
        default=(),
        max_length=32,
        description="Where the volumes are seen.",
    )
