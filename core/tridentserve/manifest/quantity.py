"""Amounts as Kubernetes writes them: 500m, 2, 8Gi. Kept as written, never computed with."""

import re
from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_LONGEST = 32
_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"


def _checked(value: Any) -> int | str:
    text = str(value)
    known = isinstance(value, int | str) and not isinstance(value, bool)
    if not known or len(text) > _LONGEST or not re.fullmatch(_PATTERN, text):
        raise PydanticCustomError("quantity", "must be an amount such as 2, 500m or 8Gi")
    return value  # type: ignore[no-any-return]


Quantity = Annotated[
    int | str,
    PlainValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": _LONGEST,
            "pattern": _PATTERN,
            "x-kubernetes-int-or-string": True,
        }
    ),
]
"""A resource quantity, not negative."""
