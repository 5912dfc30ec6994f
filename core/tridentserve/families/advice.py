"""What a model folder itself advises for requests that leave values out: `tridentserve.json`.

A family knows how models of its kind are usually asked. One that was trained for other sizes,
steps or guidance says so in a file beside its index; what it leaves out, the family fills in:

    {"defaults": {"height": 128, "width": 128, "steps": 20, "guidance": 4.0}}

The file is part of the content digest, so two workers never hold different advice on one model.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace

from tridentserve.errors import InvalidFieldError
from tridentserve.families.folder import ModelFolder
from tridentserve.families.protocol import Defaults

ADVICE = "tridentserve.json"
_KEY = "defaults"
_NAMES = ("height", "width", "steps", "guidance")


def advised(folder: ModelFolder, usual: Defaults) -> Defaults:
    """The folder's own defaults where it has them, else the usual ones of its family.

    Raises:
        InvalidFieldError: the file says something unknown, or a value that no request may have.
    """
    content = folder.optional_object(ADVICE)
    _refuse_unknown(content, (_KEY,), where="")
    asked = content.get(_KEY, {})
    if not isinstance(asked, dict):
        raise InvalidFieldError(f"{ADVICE}: {_KEY}", "is not a JSON object")
    _refuse_unknown(asked, _NAMES, where=f"{_KEY}.")
    shape = usual.shape
    return Defaults(
        shape=replace(
            shape,
            height=_whole(asked, "height", shape.height, usual.size_multiple),
            width=_whole(asked, "width", shape.width, usual.size_multiple),
        ),
        steps=_whole(asked, "steps", usual.steps, 1),
        guidance=_guidance(asked, usual.guidance),
        size_multiple=usual.size_multiple,
    )


def _refuse_unknown(given: Mapping[str, object], known: tuple[str, ...], *, where: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidFieldError(
            f"{ADVICE}: {where}{unknown[0]}", f"is unknown; use {', '.join(known)}"
        )


def _whole(asked: Mapping[str, object], name: str, usual: int, multiple: int) -> int:
    value = asked.get(name, usual)
    if type(value) is not int or value < 1 or value % multiple:
        raise InvalidFieldError(
            f"{ADVICE}: {_KEY}.{name}", f"{value!r} is not a positive multiple of {multiple}"
        )
    return value


def _guidance(asked: Mapping[str, object], usual: float) -> float:
    value = asked.get("guidance", usual)
    # To Python a bool is a number; it reads NaN and Infinity, which JSON does not have, and whole
    # numbers that no float holds.
    number = None if isinstance(value, bool) or not isinstance(value, int | float) else value
    if number is not None and 0 <= number <= sys.float_info.max:
        return float(number)
    raise InvalidFieldError(f"{ADVICE}: {_KEY}.guidance", f"{value!r} is no number from 0 up")
