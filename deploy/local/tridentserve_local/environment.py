"""Which environment variables and which arguments a container gets. Pure.

The rules are the kubelet's: `envFrom` first, then `env` in order, a later entry winning; `$(NAME)`
is replaced by what was defined before it, `$$(NAME)` is a literal `$(NAME)`, and a reference to
nothing stays as it is (`third_party/forked/golang/expansion` in kubernetes). A missing config map
is an error with the kubelet's words, since people search for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING

from tridentserve.errors import TemporaryError

from .specs import Container, FieldRef, KeyRef, ObjectRef, Pod, ResourceRef
from .wire import parse_quantity

Objects = Mapping[tuple[str, str], Mapping[str, bytes] | None]
"""Contents of config maps and secrets by kind and name; None for one that does not exist."""

_REFERENCE = re.compile(r"\$(\$|\(([^()]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_ENV_NAME = re.compile(r"[^=\x00]+")


class ConfigError(TemporaryError):
    """The container cannot be made from what is there now; it is tried again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pod landed: what `status.*` fields and missing limits refer to."""

    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str]


def expand(text: str, values: Mapping[str, str]) -> str:
    """`text` with `$(NAME)` replaced from `values`.

    >>> expand("$(A) $$(A) $(B) $x", {"A": "1"})
    '1 $(A) $(B) $x'
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def objects_needed(container: Container) -> set[tuple[str, str]]:
    """Kind and name of the config maps and secrets that `resolve` asks for."""
    refs = {(e.object.kind, e.object.name) for e in container.env_from}
    keys = (e.value for e in container.env)
    return {*refs, *((k.object.kind, k.object.name) for k in keys if isinstance(k, KeyRef))}


def resolve(
    container: Container, pod: Pod, place: Place, objects: Objects, base: Mapping[str, str]
) -> dict[str, str]:
    """All variables of a container; `base` is what the node gives to every one.

    Raises:
        ConfigError: a config map, a secret or a key that is not optional is missing.
    """
    values = dict(base)
    for source in container.env_from:
        data = object_contents(source.object, objects)
        for key, value in sorted((data or {}).items()):
            if _ENV_NAME.fullmatch(source.prefix + key):
                values[source.prefix + key] = _text(value)
    for entry in container.env:
        match entry.value:
            case str():
                values[entry.name] = expand(entry.value, values)
            case FieldRef():
                values[entry.name] = field_value(entry.value, pod, place)
            case ResourceRef():
                values[entry.name] = resource_value(entry.value, container, pod, place)
            case KeyRef():
                found = _key(entry.value, pod, objects)
                if found is not None:
                    values[entry.name] = found
    return values


def command_line(container: Container, values: Mapping[str, str]) -> tuple[str, ...]:
    """Command and arguments with variables expanded.

    Raises:
        ConfigError: there is no command; the image that would name one is ignored here.
    """
    if not container.command:
        raise ConfigError(
            f"container {container.name!r} names no command: this node runs processes,"
            f" not images, so it cannot know what {container.image!r} would start"
        )
    return tuple(expand(word, values) for word in (*container.command, *container.args))


def field_value(ref: FieldRef, pod: Pod, place: Place) -> str:
    """The field of the pod, as downward API gives it.

    Raises:
        ConfigError: the node does not know this field.
    """
    subscript = _SUBSCRIPT.fullmatch(ref.path)
    if subscript is not None:
        return (pod.labels if subscript[1] == "labels" else pod.annotations).get(subscript[2], "")
    fields = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "metadata.labels": _lines(pod.labels),
        "metadata.annotations": _lines(pod.annotations),
        "spec.nodeName": pod.node,
        "spec.serviceAccountName": pod.service_account,
        "status.podIP": place.pod_ip,
        "status.podIPs": place.pod_ip,
        "status.hostIP": place.host_ip,
        "status.hostIPs": place.host_ip,
    }
    if ref.path not in fields:
        raise ConfigError(f"fieldRef {ref.path!r} is not supported")
    return fields[ref.path]


def resource_value(ref: ResourceRef, asking: Container | None, pod: Pod, place: Place) -> str:
    """A request or limit in units of its divisor, rounded up; a missing limit is the node's.

    Raises:
        ConfigError: it names a container that the pod does not have.
    """
    container = _named(ref.container, asking, pod)
    section, _, name = ref.resource.partition(".")
    limit = container.limits.get(name, place.allocatable.get(name, "0"))
    written = container.requests.get(name, "0") if section == "requests" else limit
    divisor = parse_quantity(ref.divisor) or 1
    return str(int((parse_quantity(written) / divisor).to_integral_value(ROUND_CEILING)))


def _named(name: str, asking: Container | None, pod: Pod) -> Container:
    if not name and asking is not None:
        return asking
    for container in (*pod.containers, *pod.init_containers):
        if container.name == name:
            return container
    raise ConfigError(f"container {name!r} not found in pod")


def object_contents(ref: ObjectRef, objects: Objects) -> Mapping[str, bytes] | None:
    """The keys of a config map or secret; None when it is missing and optional.

    Raises:
        ConfigError: it is missing.
    """
    data = objects.get((ref.kind, ref.name))
    if data is None and not ref.optional:
        raise ConfigError(f'{ref.kind.lower()} "{ref.name}" not found')
    return data


def _key(ref: KeyRef, pod: Pod, objects: Objects) -> str | None:
    data = object_contents(ref.object, objects)
    if data is None:
        return None
    if ref.key not in data:
        if ref.object.optional:
            return None
        where = f"{ref.object.kind} {pod.namespace}/{ref.object.name}"
        raise ConfigError(f"couldn't find key {ref.key} in {where}")
    return _text(data[ref.key])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _lines(values: Mapping[str, str]) -> str:
    """Labels or annotations in the downward API's form: `key="escaped value"` a line."""
    pairs: Iterable[tuple[str, str]] = sorted(values.items())
    return "\n".join(f'{k}="{_quote(v)}"' for k, v in pairs)


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
