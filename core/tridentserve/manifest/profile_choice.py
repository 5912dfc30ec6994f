"""Which profile a pipeline begins with: `spec.profile`, as people write it.

It names one and holds none: what is in a ConfigMap is read by whoever needs it (`profile_served`),
so that a file that is wrong refuses no edit of anything else.
"""

from enum import StrEnum

from pydantic import Field

from tridentserve.manifest.base import ApiObject, ObjectName, Rule

DEFAULT_KEY = "profile.json"


class BuiltinProfile(StrEnum):
    """Profiles that ship with the package; the values are `profile_files.BUILTIN_NAMES`."""

    COGVIDEOX = "cogvideox"
    FLUX = "flux"
    HUNYUANVIDEO = "hunyuanvideo"
    SD3 = "sd3"


class ConfigMapKey(ApiObject):
    """A key of a ConfigMap in the pipeline's namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap, in the pipeline's namespace.")
    key: str = Field(
        default=DEFAULT_KEY,
        min_length=1,
        max_length=253,
        pattern=r"^[-._a-zA-Z0-9]+$",
        description="The key whose value is the profile.",
    )


class ProfileChoice(ApiObject):
    """One profile, or none."""

    rules = (
        Rule(
            cel="!(has(self.name) && has(self.configMapRef))",
            message="must not have both name and configMapRef",
            holds=lambda self: self.name is None or self.config_map_ref is None,
        ),
    )

    name: BuiltinProfile | None = Field(
        default=None,
        description="One that ships. They are of NVIDIA L20, and their encode, decode and memory"
        " figures are assumptions; their memory refuses no request.",
    )
    config_map_ref: ConfigMapKey | None = Field(
        default=None,
        description="A file of your own in the same format. Its device is taken for what the nodes"
        " have: requests that it has no memory for are refused.",
    )
