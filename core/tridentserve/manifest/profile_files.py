"""Profiles from files: checked on load, blamed by file, line or field, assumptions replaced.

>>> profile = builtin("cogvideox", assumptions={"decode_s": 24})
>>> profile.assumption("decode_s"), profile.usable_bytes
(24.0, 45000000000)

The paper's four pipelines ship with the package: the authors' figures digit for digit, repairs of
their evident errors by name, and what they did not publish as assumptions. A file is read whole
whenever it is asked for; nothing is remembered.
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from tridentserve.domain.profiles import Profile
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest.profile_figures import Assumptions
from tridentserve.manifest.profile_samples import profile_of
from tridentserve.manifest.profile_schema import RAW, ProfileFile

BUILTIN_NAMES = ("cogvideox", "flux", "hunyuanvideo", "sd3")

REPAIRED = "repaired"
"""The usual variant: evident errors of the source replaced."""

_NONE: Mapping[str, float] = MappingProxyType({})


def builtin(
    name: str, *, assumptions: Mapping[str, float] = _NONE, variant: str = REPAIRED
) -> Profile:
    """One of the profiles that ship with the package.

    Args:
        name: one of `BUILTIN_NAMES`.
        assumptions: other values by name, in the unit of the file.
        variant: `raw` for the table digit for digit, or a set of repairs that the file names.

    Raises:
        InvalidFieldError: no such profile, assumption or variant, or a value that cannot be.
    """
    if name not in BUILTIN_NAMES:
        raise InvalidFieldError("profile", f"{name!r} is none of {', '.join(BUILTIN_NAMES)}")
    file = files("tridentserve.manifest").joinpath("profiles", f"{name}.json")
    return _load(file.read_text(encoding="utf-8"), file.name, assumptions, variant)


def read(
    path: Path, *, assumptions: Mapping[str, float] = _NONE, variant: str = REPAIRED
) -> Profile:
    """A profile from a file of the same format.

    Raises:
        InvalidFieldError: it cannot be read or is wrong; names the file and the line or field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFieldError(str(path), f"cannot be read: {error}") from error
    return _load(text, str(path), assumptions, variant)


def parse(text: str, origin: str) -> Profile:
    """A profile from the text of such a file, in its usual variant.

    Args:
        text: JSON.
        origin: what messages call the file.

    Raises:
        InvalidFieldError: it is wrong; the field is the origin with the line or the field in it.
    """
    return _load(text, origin, _NONE, REPAIRED)


def _load(text: str, origin: str, assumptions: Mapping[str, float], variant: str) -> Profile:
    try:
        file = ProfileFile.model_validate(json.loads(text, object_pairs_hook=_unique))
    except json.JSONDecodeError as error:
        place = f"{origin}:{error.lineno}:{error.colno}"
        raise InvalidFieldError(place, f"is not JSON: {error.msg}") from error
    except ValidationError as error:
        raise _blamed(origin, error) from error
    except InvalidFieldError as error:
        raise InvalidFieldError(f"{origin}: {error.field}", error.problem) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or brackets as deep: nobody's profile, but whoever reads
        # it for others must not end by it.
        raise InvalidFieldError(origin, f"cannot be read: {error}") from error
    variants = (RAW, REPAIRED, *file.diffuse.repairs)
    if variant not in variants:
        known = ", ".join(dict.fromkeys(variants))
        raise InvalidFieldError("variant", f"{variant!r} is none of {known} ({origin})")
    swept = file.model_copy(update={"assumptions": _swept(file.assumptions, assumptions, origin)})
    try:
        return profile_of(swept, variant)
    except OverflowError as error:
        raise InvalidFieldError(origin, f"holds numbers that cannot be: {error}") from error


def _swept(usual: Assumptions, values: Mapping[str, float], origin: str) -> Assumptions:
    figures = usual.model_dump()
    for name, value in values.items():
        if name not in figures:
            known = ", ".join(figures)
            raise InvalidFieldError(f"assumptions.{name}", f"is none of {known} ({origin})")
        figures[name] |= {"value": value, "source": "chosen by the caller"}
    try:
        return Assumptions.model_validate(figures)
    except ValidationError as error:
        raise _blamed("assumptions", error) from error


def _blamed(origin: str, error: ValidationError) -> InvalidFieldError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return InvalidFieldError(f"{origin}: {field}", first["msg"])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidFieldError(key, "must not appear twice")
        found[key] = value
    return found
