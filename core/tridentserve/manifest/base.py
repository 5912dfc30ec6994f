"""What every part of the resource has in common: camelCase, frozen, and rules said once.

A rule that ties fields together stands in `rules` as CEL for the API server and as a function for
everyone else; the CRD is generated from the first, and tests hold one against the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

GROUP = "tridentserve.io"
VERSION = "v1alpha1"
KIND = "DiffusionPipeline"
PLURAL = "diffusionpipelines"
API_VERSION = f"{GROUP}/{VERSION}"

Object = dict[str, Any]
"""A Kubernetes object as JSON, from or for an API server; what is read of it has to be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One condition over the fields of an object."""

    cel: str
    """For the API server; must be cheap, so everything that it walks over is bounded."""
    message: str
    """Says what is asked for; static, since the API server budgets expressions in messages."""
    field: str = ""
    """Path below the object of the field to blame, `.min` for one."""
    holds: Callable[[Any], bool]
    """The same condition over the model."""


class ApiObject(BaseModel):
    """A part of the resource: camelCase outside, snake_case inside, nothing unknown."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obey(self) -> Self:
        for rule in self.rules:
            if not rule.holds(self):
                context = {"problem": rule.message, "field": rule.field}
                raise PydanticCustomError("rule", "{problem}", context)
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_set(self, inner: SerializerFunctionWrapHandler) -> Object:
        # The API server keeps an absent list absent. Writing [] would make every object differ
        # from what was applied.
        unset = {
            key
            for name, field in type(self).model_fields.items()
            if getattr(self, name) in (None, (), {})
            for key in (name, field.alias)
        }
        return {key: value for key, value in inner(self).items() if key not in unset}

    def to_manifest(self) -> Object:
        """As JSON for the API server: every default written out, nothing that is not set."""
        return self.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True, slots=True)
class MapList:
    """Marks a list whose items are told apart by one field, as `x-kubernetes-list-type: map`."""

    key: str
    """The field as it is written in the resource."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Refuse a second item with the same key."""
        return core_schema.no_info_after_validator_function(self._unique, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Ask the API server for the same, and for merging items by their key."""
        lists = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}
        return {**handler(schema), **lists}

    def _unique(self, items: tuple[ApiObject, ...]) -> tuple[ApiObject, ...]:
        keys = [item.model_dump(by_alias=True)[self.key] for item in items]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                context = {"field": f"[{position}]", "key": f"{self.key} {key}"}
                raise PydanticCustomError("duplicate", "must not appear twice: {key}", context)
        return items


Percent = Annotated[int, Field(ge=1, le=100)]
"""A share of one unit, never 0."""

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=rf"^{_LABEL}$")]
"""A DNS label."""

SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
"""What names of Kubernetes objects look like."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{SUBDOMAIN}$")]
"""Name of a Kubernetes object: a DNS subdomain."""

PATH_SEGMENT = r"\.?[A-Za-z0-9_][A-Za-z0-9_.+@=~-]*"
"""One part of a path; by its form it is never `.` or `..`."""

RelativePath = Annotated[
    str, Field(min_length=1, max_length=512, pattern=rf"^{PATH_SEGMENT}(/{PATH_SEGMENT})*$")
]
"""A path that stays below the folder that it starts from."""
