"""Reads a recorded day: one JSON object a line, one request each.

| field | | |
| --- | --- | --- |
| `at_s` | required | seconds; the first line is the start of the run |
| `height`, `width` | required | pixels |
| `frames` | 1 | |
| `steps` | required | |
| `guidance` | 0 | |
| `deadline_s` | the rule's | seconds after the arrival |
| `id` | `r` and its number | counted from 0, in six digits |

Unknown fields are refused: a misspelt one would change what is simulated without a word.
"""

import json
from collections.abc import Mapping

from tridentserve.domain.shapes import Shape
from tridentserve.errors import InvalidFieldError
from tridentserve.sim.workload import LATEST_S, MOST, Ask

_REQUIRED = ("at_s", "height", "width", "steps")
_KNOWN = (*_REQUIRED, "frames", "guidance", "deadline_s", "id")


def parse_recording(text: str, file: str) -> tuple[Ask, ...]:
    """The requests of a recording, in order of arrival, the first at 0.

    Raises:
        InvalidFieldError: a line is no such object; names file, line and field.
    """
    asks: list[Ask] = []
    names: set[str] = set()
    start_s = 0.0
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        record = _record(line, where)
        at_s = _number(record, "at_s", where, least=-LATEST_S)
        start_s = start_s if asks else at_s
        ask = _ask(record, where, at_s - start_s)
        if asks and ask.at_s < asks[-1].at_s:
            raise InvalidFieldError(f"{where}: at_s", "must not be before the line above")
        name = ask.name(len(asks))
        if name in names:
            given = "" if ask.id is not None else ", the name of a line that gives none,"
            raise InvalidFieldError(f"{where}: id", f"{name!r}{given} appears twice")
        names.add(name)
        asks.append(ask)
    return tuple(asks)


def _record(line: str, where: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidFieldError(where, f"is no JSON: {error}") from None
    if not isinstance(record, dict):
        raise InvalidFieldError(where, "must be a JSON object")
    for name in record:
        if name not in _KNOWN:
            raise InvalidFieldError(
                f"{where}: {name}", f"is unknown; there are {', '.join(_KNOWN)}"
            )
    for name in _REQUIRED:
        if name not in record:
            raise InvalidFieldError(f"{where}: {name}", "is missing")
    return record


def _ask(record: Mapping[str, object], where: str, at_s: float) -> Ask:
    name = record.get("id")
    if name is not None and (not isinstance(name, str | int) or isinstance(name, bool)):
        raise InvalidFieldError(f"{where}: id", "must be a text or a whole number")
    within = "deadline_s" in record
    return Ask(
        at_s=at_s,
        shape=Shape(
            height=_whole(record, "height", where),
            width=_whole(record, "width", where),
            frames=_whole(record, "frames", where) if "frames" in record else 1,
        ),
        steps=_whole(record, "steps", where),
        guidance=_number(record, "guidance", where) if "guidance" in record else 0.0,
        within_s=_number(record, "deadline_s", where) if within else None,
        id=None if name is None else str(name),
    )


def _number(record: Mapping[str, object], name: str, where: str, least: float = 0.0) -> float:
    value = record[name]
    if isinstance(value, int | float) and not isinstance(value, bool):
        if least <= value <= LATEST_S:
            return float(value)
        raise InvalidFieldError(
            f"{where}: {name}", f"{value!r}; must be from {least:g} to {LATEST_S:g}"
        )
    raise InvalidFieldError(f"{where}: {name}", f"{value!r}; must be a number")


def _whole(record: Mapping[str, object], name: str, where: str) -> int:
    value = record[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
        raise InvalidFieldError(
            f"{where}: {name}", f"{value!r}; must be a whole number from 1 to {MOST}"
        )
    return value
