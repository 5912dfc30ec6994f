"""From the models to the structural schema that a CRD asks for.

pydantic writes JSON Schema with references, nullable alternatives and titles; the API server wants
everything in place, one type a node, and rules beside the object that they speak of. Defaults are
written out whole: the API server checks rules against a default before it fills in the defaults
below it, so `{}` would be refused where a rule reads a defaulted field.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo

from tridentserve.manifest.base import ApiObject, Rule

Schema = dict[str, Any]

_DROPPED = ("$defs", "title", "default", "additionalProperties", "propertyNames")


def structural(model: type[ApiObject], *, defaults: bool = True) -> Schema:
    """The schema of a model, references resolved; without defaults for what is never applied."""
    whole = model.model_json_schema(by_alias=True)
    return _Generator(whole.get("$defs", {}), reachable(model), defaults).schema(whole, model)


def reachable(model: type[ApiObject]) -> dict[str, type[ApiObject]]:
    """Every model that is reachable, by the name that pydantic refers to it with."""
    found = {model.__name__: model}
    pending: list[object] = [model]
    while pending:
        kind = pending.pop()
        arguments = getattr(kind, "__args__", ())
        if isinstance(kind, type) and issubclass(kind, ApiObject) and not arguments:
            found[kind.__name__] = kind
            pending += [field.annotation for field in kind.model_fields.values()]
        pending += arguments
    return found


class _Generator:
    def __init__(
        self,
        definitions: Mapping[str, Schema],
        models: Mapping[str, type[ApiObject]],
        defaults: bool,
    ) -> None:
        self._definitions = definitions
        self._models = models
        self._defaults = defaults

    def schema(self, node: Schema, model: type[ApiObject] | None = None) -> Schema:
        """One node, with what it refers to in place of the reference."""
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            beside = {key: value for key, value in node.items() if key != "$ref"}
            return self.schema({**self._definitions[name], **beside}, self._models.get(name))
        if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
            (kind,) = (choice for choice in node["anyOf"] if choice.get("type") != "null")
            beside = {key: value for key, value in node.items() if key != "anyOf"}
            return self.schema({**kind, **beside}, model)
        return self._translated(node, model)

    def _translated(self, node: Schema, model: type[ApiObject] | None) -> Schema:
        result = {key: value for key, value in node.items() if key not in _DROPPED}
        if "items" in node:
            result["items"] = self.schema(node["items"])
        if isinstance(node.get("additionalProperties"), dict):
            result["additionalProperties"] = self.schema(node["additionalProperties"])
        if model is not None:
            result["properties"] = {
                field.alias or name: self._property(node, name, field)
                for name, field in model.model_fields.items()
            }
            if model.rules:
                result["x-kubernetes-validations"] = [_validation(rule) for rule in model.rules]
        return result

    def _property(self, node: Schema, name: str, field: FieldInfo) -> Schema:
        result = self.schema(node["properties"][field.alias or name])
        default = field.get_default()
        if self._defaults and not field.is_required() and default not in (None, (), {}):
            result["default"] = _plain(default)
        return result


def _plain(default: object) -> object:
    match default:
        case ApiObject():
            return default.to_manifest()
        case Enum():
            return default.value
        case tuple():
            return [_plain(item) for item in default]
        case _:
            return default


def _validation(rule: Rule) -> Schema:
    validation = {"rule": rule.cel, "message": rule.message}
    return {**validation, "fieldPath": rule.field} if rule.field else validation
