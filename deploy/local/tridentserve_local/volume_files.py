"""Which files a configMap, secret, downwardAPI or projected volume holds. Pure.

Tokens are the exception: they have to be asked for, and `volumes` adds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .environment import (
    ConfigError,
    Objects,
    Place,
    field_value,
    object_contents,
    resource_value,
)
from .specs import FieldFile, FieldRef, Files, ObjectFiles, Pod


class File(NamedTuple):
    """Content and permission bits."""

    content: bytes
    mode: int


def objects_needed(files: Files) -> set[tuple[str, str]]:
    """Kind and name of the config maps and secrets that `render` asks for."""
    wanted = (s.object for s in files.sources if isinstance(s, ObjectFiles))
    return {(ref.kind, ref.name) for ref in wanted}


def render(files: Files, pod: Pod, place: Place, objects: Objects) -> dict[str, File]:
    """Files by path relative to the volume; a later source wins over an earlier one.

    Raises:
        ConfigError: an object or key that is not optional is missing.
    """
    found: dict[str, File] = {}
    for source in files.sources:
        match source:
            case ObjectFiles():
                found |= _object_files(source, files.mode, objects)
            case FieldFile():
                mode = files.mode if source.mode is None else source.mode
                found[source.path] = File(_field(source, pod, place).encode(), mode)
    return found


def _object_files(source: ObjectFiles, mode: int, objects: Objects) -> Mapping[str, File]:
    data = object_contents(source.object, objects)
    if data is None:
        return {}
    if not source.items:
        return {key: File(content, mode) for key, content in data.items()}
    found = {}
    for item in source.items:
        if item.key in data:
            found[item.path] = File(data[item.key], mode if item.mode is None else item.mode)
        elif not source.object.optional:
            raise ConfigError(f"references non-existent config key: {item.key}")
    return found


def _field(source: FieldFile, pod: Pod, place: Place) -> str:
    if isinstance(source.value, FieldRef):
        return field_value(source.value, pod, place)
    return resource_value(source.value, None, pod, place)
