"""Reads scenarios and what they name; says file, line and field of what is wrong."""

from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tridentserve.domain.profiles import Profile
from tridentserve.errors import InvalidFieldError
from tridentserve.manifest import profile_files
from tridentserve.sim.experiment import Experiment, experiment_of
from tridentserve.sim.files import YamlFile, read_text, read_yaml
from tridentserve.sim.recorded import parse_recording
from tridentserve.sim.scenario import Scenario
from tridentserve.sim.traces import parse_trace
from tridentserve.sim.workload import Ask


def read_scenario(path: Path) -> Scenario:
    """A scenario from a YAML file.

    Raises:
        InvalidFieldError: `file:line: field`, and what is wrong.
    """
    return scenario_of(read_yaml(path))


def scenario_of(file: YamlFile) -> Scenario:
    """A scenario from the content of a file.

    Raises:
        InvalidFieldError: `file:line: field`, and what is wrong.
    """
    try:
        return Scenario.model_validate(file.content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        # A field that may be of several types fails as each of them: what reaches deepest into
        # what was written is about the type that was meant, and so is what does not complain of
        # the type: an empty list of classes is too short, not a name that is no text.
        chosen = max(
            found, key=lambda one: (file.depth(one["loc"]), not one["type"].endswith("_type"))
        )
        missing = chosen["type"] == "missing"
        raise file.blame(chosen["loc"], _problem(chosen), missing=missing) from None


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
    return experiment_of(scenario, _profile(scenario, folder), _asks(scenario, folder))


def _profile(scenario: Scenario, folder: Path) -> Profile:
    part = scenario.profile
    if part.file is not None:
        return profile_files.read(
            folder / part.file, assumptions=part.assumptions, variant=part.variant
        )
    assert part.name is not None
    return profile_files.builtin(part.name, assumptions=part.assumptions, variant=part.variant)


def _asks(scenario: Scenario, folder: Path) -> tuple[Ask, ...] | None:
    part = scenario.workload
    if part.file is not None:
        return read_trace(folder / part.file, part.steps)
    if part.recording is not None:
        return read_trace(folder / part.recording)
    return None


def read_trace(path: Path, steps: int | None = None) -> tuple[Ask, ...]:
    """Requests from a file: one JSON object a line, or the public traces' format.

    Args:
        path: of the file; its first character tells the format.
        steps: instead of a public trace's own number; a recording's requests have theirs.

    Raises:
        InvalidFieldError: names file, line and field.
    """
    text = read_text(path)
    if text.lstrip().startswith("Request"):
        return parse_trace(text, str(path), steps)
    if steps is not None:
        raise InvalidFieldError("workload.steps", f"has no effect: each line of {path} has its own")
    return parse_recording(text, str(path))
