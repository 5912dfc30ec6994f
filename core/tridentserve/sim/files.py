"""Text files as users give them: read whole, and blamed by file, line and field."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from tridentserve.errors import InvalidFieldError

_YAML_LIMIT_BYTES = 1_000_000
"""A YAML file that is larger is some other file."""


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


class YamlFile:
    """A YAML mapping, with the lines of its fields."""

    def __init__(self, text: str, file: str) -> None:
        """Parse.

        Raises:
            InvalidFieldError: it is no YAML, or no mapping; names file and line.
        """
        self._file = file
        try:
            tree = yaml.compose(text, Loader=_Loader)
            content = yaml.load(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = "" if mark is None else f":{mark.line + 1}"
            raise InvalidFieldError(f"{file}{line}", f"is no YAML: {error.problem}") from None
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise InvalidFieldError(file, f"is no YAML: {error}") from None
        if not isinstance(tree, yaml.MappingNode) or not isinstance(content, dict):
            raise InvalidFieldError(f"{file}:1", "must be a mapping of fields")
        self._tree = tree
        self.content: dict[str, object] = content

    def blame(self, path: Sequence[int | str], problem: str, *, missing: bool) -> InvalidFieldError:
        """The error of a field, with the line of the part of it that is there.

        Args:
            path: keys and indices; parts that nobody wrote are left out of the words.
            problem: what is wrong.
            missing: the last parts are of a field that should be there and is not.
        """
        node, known = self._walk(path)
        end = known[-1] + 1 if known else 0
        written = [path[index] for index in known] + (list(path[end:]) if missing else [])
        words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in written)
        where = f"{self._file}:{node.start_mark.line + 1}"
        field = words.lstrip(".")
        return InvalidFieldError(f"{where}: {field}" if field else where, problem)

    def depth(self, path: Sequence[int | str]) -> int:
        """How much of a path is written in the file."""
        return len(self._walk(path)[1])

    def _walk(self, path: Sequence[int | str]) -> tuple[yaml.Node, list[int]]:
        """The last node of a path that is there, and which parts are."""
        node: yaml.Node = self._tree
        known: list[int] = []
        for index, part in enumerate(path):
            found = _child(node, part)
            if found is not None:
                node = found
                known.append(index)
        return node, known


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    match node:
        case yaml.MappingNode(value=pairs):
            return next((value for key, value in pairs if key.value == part), None)
        case yaml.SequenceNode(value=items) if isinstance(part, int) and part < len(items):
            found: yaml.Node = items[part]
            return found
        case _:
            return None


def read_yaml(path: Path) -> YamlFile:
    """A YAML file.

    Raises:
        InvalidFieldError: it cannot be read, or is wrong; names file and line.
    """
    return YamlFile(read_text(path, _YAML_LIMIT_BYTES), str(path))


def read_text(path: Path, limit_bytes: int | None = None) -> str:
    """A text file.

    Raises:
        InvalidFieldError: it cannot be read, or is too large; names it.
    """
    try:
        if limit_bytes is not None and path.stat().st_size > limit_bytes:
            raise InvalidFieldError(str(path), f"has more than {limit_bytes} bytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFieldError(str(path), f"cannot be read: {error}") from None
