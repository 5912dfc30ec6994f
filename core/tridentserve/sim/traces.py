"""Reads the public trace format: one `Request(name=value, …)` a line, values being literals.

The files themselves belong to their authors and are not part of this project: the user names a
path. Nothing in a line is executed; it is parsed as an expression of which only literals are taken.
"""

import ast
from collections.abc import Callable
from typing import TypeVar

from tridentserve.domain.shapes import Shape
from tridentserve.errors import InvalidFieldError
from tridentserve.sim.workload import LATEST_S, MOST, Ask

Value = TypeVar("Value")


def parse_trace(text: str, file: str, steps: int | None = None) -> tuple[Ask, ...]:
    """The requests of a trace file.

    Args:
        text: content of the file.
        file: its name, for errors.
        steps: instead of the file's own number; the files' are not those of the published results.

    Raises:
        InvalidFieldError: a line is no such record; names file, line and field.
    """
    asks: list[Ask] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = _fields(line, f"{file}:{number}")
        ask = _ask(fields, f"{file}:{number}", steps)
        if asks and ask.at_s < asks[-1].at_s:
            raise InvalidFieldError(f"{file}:{number}: timestamp", "must not be before the last")
        asks.append(ask)
    return tuple(asks)


def _fields(line: str, where: str) -> dict[str, object]:
    """Keyword arguments of the call that a line is."""
    try:
        call = ast.parse(line.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("no call")
        if call.func.id != "Request" or call.args:
            raise ValueError("no Request")
        return {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError):
        raise InvalidFieldError(where, "must be Request(name=value, …) with literals") from None


def _ask(fields: dict[str, object], where: str, steps: int | None) -> Ask:
    def field(name: str, least: float, kind: Callable[[float], Value]) -> Value:
        value = fields.get(name)
        if name not in fields:
            raise InvalidFieldError(f"{where}: {name}", "is missing")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        most = LATEST_S if name == "timestamp" else MOST
        if not number or not least <= float(str(value)) <= most:
            raise InvalidFieldError(
                f"{where}: {name}", f"{value!r}; must be from {least:g} to {most:g}"
            )
        return kind(float(str(value)))

    return Ask(
        at_s=field("timestamp", 0, float),
        shape=Shape(
            height=field("height", 1, int),
            width=field("width", 1, int),
            frames=field("num_frames", 1, int),
        ),
        steps=field("num_inference_steps", 1, int) if steps is None else steps,
        id=None,
    )
