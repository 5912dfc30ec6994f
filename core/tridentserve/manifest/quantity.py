"""Amounts as Kubernetes writes them: 500m, 2, 8Gi. Kept as written, never computed with."""

import re
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_LONGEST = 32
_LARGEST = 2**53
"""As a bare number; the API server compares through doubles, in which 2**63 - 1 overflows."""
_PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"


def _checked(value: object) -> int | str:
    match value:
        case int() if not isinstance(value, bool) and 0 <= value <= _LARGEST:
            return value
        case str() if len(value) <= _LONGEST and re.fullmatch(_PATTERN, value):
            return value
        case _:
            raise PydanticCustomError("quantity", "must be an amount such as 2, 500m or 8Gi")


Quantity = Annotated[
    int | str,
    PlainValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            # The pattern is for strings alone: without the bounds, -1 would pass.
            "minimum": 0,
            "maximum": _LARGEST,
            "maxLength": _LONGEST,
            "pattern": _PATTERN,
            "x-kubernetes-int-or-string": True,
        }
    ),
]
"""A resource quantity, not negative."""
