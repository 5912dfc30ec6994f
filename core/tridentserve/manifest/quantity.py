"""Amounts as Kubernetes writes them: 500m, 2, 8Gi. Kept as written, never computed with."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("quantity", "must be an integer or a string such as 500m or 8Gi")
    return str(value)


Quantity = Annotated[
    str,
    BeforeValidator(_text),
    Field(max_length=32, pattern=_PATTERN),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 32,
            "pattern": _PATTERN,
            "x-kubernetes-int-or-string": True,
        }
    ),
]
"""A resource quantity, not negative."""
