"""Reads scenarios and what they name; says file, line and field of what is wrong.

The one part of the simulator that opens files, beside the command.
"""

from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tridentserve.domain.profiles import Profile
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import profile_files
from tridentserve.sim.experiment import Experiment, experiment_of
from tridentserve.sim.recorded import parse_recording
from tridentserve.sim.scenario import Scenario
from tridentserve.sim.traces import parse_trace
from tridentserve.sim.workload import Ask

_SIZE_LIMIT_BYTES = 1_000_000
"""A scenario that is larger is some other file."""


def read_scenario(path: Path) -> Scenario:
    """A scenario from a YAML file.

    Raises:
        InvalidFieldError: `file:line: field`, and what is wrong.
    """
    return parse_scenario(_text(path, _SIZE_LIMIT_BYTES), str(path))


def parse_scenario(text: str, file: str) -> Scenario:
    """A scenario from YAML text; `file` is its name, for errors.

    Raises:
        InvalidFieldError: `file:line: field`, and what is wrong.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise InvalidFieldError(f"{file}{line}", f"is no YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidFieldError(file, f"is no YAML: {error}") from None
    if not isinstance(tree, yaml.MappingNode):
        raise InvalidFieldError(f"{file}:1", "must be a mapping of fields, name: first")
    try:
        return Scenario.model_validate(content)
    except ValidationError as error:
        raise _blamed(error.errors(include_url=False, include_input=False)[0], tree, file) from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that appears twice, which YAML forbids and PyYAML takes silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value} appears twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep))


def _blamed(error: ErrorDetails, tree: yaml.Node, file: str) -> InvalidFieldError:
    """The error of a field, with the line of the part of it that is there."""
    node, path = tree, ""
    for part in error["loc"]:
        found = _child(node, part)
        if found is None and not (error["type"] == "missing" and part == error["loc"][-1]):
            continue  # the name of a choice between types, which nobody wrote
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
        node = found or node
    where = f"{file}:{node.start_mark.line + 1}"
    field = path.lstrip(".")
    return InvalidFieldError(f"{where}: {field}" if field else where, _problem(error))


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    match node:
        case yaml.MappingNode(value=pairs):
            return next((value for key, value in pairs if key.value == part), None)
        case yaml.SequenceNode(value=items) if isinstance(part, int) and part < len(items):
            return items[part]
        case _:
            return None


def _problem(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "is not a field here"
        case "missing":
            return "is required"
        case _:
            message = error["msg"].removeprefix("Value error, ")
            return message[:1].lower() + message[1:]


def read_experiment(scenario: Scenario, folder: Path) -> Experiment:
    """A scenario with its profile and what its files hold; paths are relative to `folder`.

    Raises:
        InvalidFieldError: a file cannot be read or is wrong; names it, the line and the field.
    """
    return experiment_of(scenario, read_profile(scenario, folder), read_asks(scenario, folder))


def read_profile(scenario: Scenario, folder: Path) -> Profile:
    """The true profile of a scenario.

    Raises:
        InvalidFieldError: there is none of that name, variant or assumption, or a bad file.
    """
    part = scenario.profile
    if part.file is not None:
        return profile_files.read(
            folder / part.file, assumptions=part.assumptions, variant=part.variant
        )
    assert part.name is not None
    return profile_files.builtin(part.name, assumptions=part.assumptions, variant=part.variant)


def read_asks(scenario: Scenario, folder: Path) -> tuple[Ask, ...] | None:
    """What a workload's file holds; None where it has none.

    Raises:
        InvalidFieldError: names file, line and field.
    """
    part = scenario.workload
    if part.file is not None:
        path = folder / part.file
        return parse_trace(_text(path), str(path), part.steps)
    if part.recording is not None:
        path = folder / part.recording
        return parse_recording(_text(path), str(path))
    return None


def _text(path: Path, limit_bytes: int | None = None) -> str:
    try:
        if limit_bytes is not None and path.stat().st_size > limit_bytes:
            raise InvalidFieldError(str(path), f"has more than {limit_bytes} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFieldError(str(path), f"cannot be read: {error}") from None


def overridden(scenario: Scenario, **changes: object) -> Scenario:
    """The scenario with other values of top-level fields, checked like a file's.

    Raises:
        InvalidFieldError: a value cannot be; names the field.
    """
    try:
        return Scenario.model_validate(dict(scenario) | changes)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidFieldError(field, _problem(first)) from None
