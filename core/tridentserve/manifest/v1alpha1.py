"""The DiffusionPipeline, version v1alpha1: read it, check it, write it.

`parse` is for what people write and refuses unknown fields. `parse_served` is for what an API
server hands out and ignores them: while a cluster is upgraded its CRD is newer than the programs,
and a default of a field that they do not know yet must not stop them.
"""

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, ValidationError

from tridentserve.domain.ids import PipelineName
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.base import ApiObject, ObjectName, Rule
from tridentserve.manifest.spec import Spec
from tridentserve.manifest.status import Condition, ConditionStatus, ConditionType, Status

__all__ = [
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "DiffusionPipeline",
    "Metadata",
    "Spec",
    "Status",
    "parse",
    "parse_served",
]


class Metadata(ApiObject):
    """What is used of an object's metadata; the rest is the API server's and is left aside."""

    model_config = ConfigDict(extra="ignore")

    name: ObjectName
    namespace: str = Field(default="default", max_length=63)
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    labels: dict[str, str] = Field(default={})
    annotations: dict[str, str] = Field(default={})
    deletion_timestamp: str | None = None


class DiffusionPipeline(ApiObject):
    """A diffusion pipeline whose stages are served, placed and scaled apart from one another."""

    rules = (
        Rule(
            cel="self.metadata.name.size() <= 63",
            message="metadata.name must have at most 63 characters, since pods carry it as a label",
            field=".metadata.name",
            holds=lambda self: len(self.metadata.name) <= 63,
        ),
    )

    api_version: Literal["tridentserve.io/v1alpha1"] = "tridentserve.io/v1alpha1"
    kind: Literal["DiffusionPipeline"] = "DiffusionPipeline"
    metadata: Metadata
    spec: Spec = Field(description="What is wished for.")
    status: Status = Field(default=Status(), description="What is; written by the operator alone.")

    @property
    def name(self) -> PipelineName:
        """`namespace/name`."""
        return PipelineName(f"{self.metadata.namespace}/{self.metadata.name}")


def parse(body: Mapping[str, object]) -> DiffusionPipeline:
    """Read a resource that a person wrote.

    Raises:
        InvalidFieldError: names the first wrong field by its path in the resource.
    """
    return _parse(body, None)


def parse_served(body: Mapping[str, object]) -> DiffusionPipeline:
    """Read a resource that an API server handed out; fields unknown to this program are ignored.

    Raises:
        InvalidFieldError: names the first wrong field by its path in the resource.
    """
    return _parse(body, "ignore")


def _parse(body: Mapping[str, object], unknown: Literal["ignore"] | None) -> DiffusionPipeline:
    # Through JSON, whose strict mode takes a string for an enum and an array for a tuple, but no
    # string for a number: just what the API server does.
    text = json.dumps(_without_nulls(body), default=str)
    try:
        return DiffusionPipeline.model_validate_json(
            text, strict=True, extra=unknown, by_alias=True, by_name=False
        )
    except ValidationError as error:
        raise _invalid_field(error) from None


def _without_nulls(value: object) -> object:
    # To the API server null means absent, and the default applies. Below a field that it does not
    # know it would refuse null too; that null says nothing either way.
    if isinstance(value, Mapping):
        return {str(key): _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value


def _invalid_field(error: ValidationError) -> InvalidFieldError:
    first = error.errors(include_url=False, include_input=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    field = f"{path}{first.get('ctx', {}).get('field', '')}".lstrip(".")
    problem = _problem(first["type"], first["msg"]).removeprefix(f"{field} ")
    return InvalidFieldError(field or "resource", problem)


def _problem(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "is not a field of this resource"
        case "missing":
            return "is required"
        case _:
            return message[:1].lower() + message[1:]
