"""Volumes that a pipeline may bring: none that reaches into the node or holds a token."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tridentserve.manifest.base import ApiObject, Name, ObjectName, RelativePath, Rule
from tridentserve.manifest.quantity import Quantity

FileMode = Annotated[int, Field(ge=0, le=0o777, description="Permission bits of the files.")]


class KeyToPath(ApiObject):
    """Where one key of a ConfigMap or Secret becomes a file."""

    key: str = Field(min_length=1, max_length=253, description="The key.")
    path: RelativePath = Field(description="Path of the file below the mount.")
    mode: FileMode | None = None


_ITEMS = Field(default=(), max_length=64, description="Which keys; all of them where left out.")
_OPTIONAL = Field(default=None, description="True lets the pod start without it.")


class ConfigMapVolume(ApiObject):
    """Files from a ConfigMap."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    items: tuple[KeyToPath, ...] = _ITEMS
    default_mode: FileMode | None = None
    optional: bool | None = _OPTIONAL


class SecretVolume(ApiObject):
    """Files from a Secret."""

    secret_name: ObjectName = Field(description="Name of the Secret.")
    items: tuple[KeyToPath, ...] = _ITEMS
    default_mode: FileMode | None = None
    optional: bool | None = _OPTIONAL


class Medium(StrEnum):
    """What an empty folder is made of."""

    MEMORY = "Memory"


class EmptyDirVolume(ApiObject):
    """A folder that lives as long as the pod."""

    medium: Medium | None = Field(
        default=None, description="Memory; the node's disk where left out."
    )
    size_limit: Quantity | None = Field(default=None, description="How much it may hold.")


class ClaimVolume(ApiObject):
    """A persistent volume."""

    claim_name: ObjectName = Field(description="Name of the PersistentVolumeClaim.")
    read_only: bool | None = Field(default=None, description="True forbids writing.")


class ConfigMapProjection(ApiObject):
    """Files from a ConfigMap, beside others."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    items: tuple[KeyToPath, ...] = _ITEMS
    optional: bool | None = _OPTIONAL


class SecretProjection(ApiObject):
    """Files from a Secret, beside others."""

    name: ObjectName = Field(description="Name of the Secret.")
    items: tuple[KeyToPath, ...] = _ITEMS
    optional: bool | None = _OPTIONAL


class ProjectedSource(ApiObject):
    """One source of a projected volume."""

    rules = (
        Rule(
            cel="has(self.configMap) != has(self.secret)",
            message="must have exactly one of configMap and secret",
            holds=lambda self: (self.config_map is None) != (self.secret is None),
        ),
    )

    config_map: ConfigMapProjection | None = Field(default=None, description="From a ConfigMap.")
    secret: SecretProjection | None = Field(default=None, description="From a Secret.")


class ProjectedVolume(ApiObject):
    """Several sources in one folder."""

    sources: tuple[ProjectedSource, ...] = Field(
        min_length=1, max_length=16, description="What to put there."
    )
    default_mode: FileMode | None = None


_KINDS = ("config_map", "secret", "empty_dir", "persistent_volume_claim", "projected")


class Volume(ApiObject):
    """A volume of one of the permitted types."""

    rules = (
        Rule(
            cel="[has(self.configMap), has(self.secret), has(self.emptyDir),"
            " has(self.persistentVolumeClaim), has(self.projected)].filter(x, x).size() == 1",
            message="must have exactly one of configMap, secret, emptyDir,"
            " persistentVolumeClaim and projected",
            holds=lambda self: sum(getattr(self, kind) is not None for kind in _KINDS) == 1,
        ),
        Rule(
            cel="!self.name.startsWith('tridentserve-')",
            message="must not start with tridentserve-, which the operator's own volumes do",
            field=".name",
            holds=lambda self: not self.name.startswith("tridentserve-"),
        ),
    )

    name: Name = Field(description="What volumeMounts call it.")
    config_map: ConfigMapVolume | None = Field(default=None, description="Files of a ConfigMap.")
    secret: SecretVolume | None = Field(default=None, description="Files of a Secret.")
    empty_dir: EmptyDirVolume | None = Field(default=None, description="An empty folder.")
    persistent_volume_claim: ClaimVolume | None = Field(
        default=None, description="A persistent volume."
    )
    projected: ProjectedVolume | None = Field(default=None, description="Several in one folder.")


OPERATORS_FOLDER = "/var/run/tridentserve"
"""Below it the operator mounts its own volumes in a worker."""


class VolumeMount(ApiObject):
    """Where a volume is seen in the container."""

    rules = (
        Rule(
            cel=f"!self.mountPath.startsWith('{OPERATORS_FOLDER}')",
            message=f"must not lie in {OPERATORS_FOLDER}, where the operator mounts its own",
            field=".mountPath",
            holds=lambda self: not self.mount_path.startswith(OPERATORS_FOLDER),
        ),
    )

    name: Name = Field(description="One of volumes.")
    mount_path: str = Field(
        min_length=2, max_length=512, pattern=r"^/[^:]+$", description="Absolute path."
    )
    sub_path: RelativePath | None = Field(default=None, description="Only this path of the volume.")
    read_only: bool | None = Field(default=None, description="True forbids writing.")
