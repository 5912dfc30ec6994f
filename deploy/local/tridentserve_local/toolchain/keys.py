"""Names for what a thing was made from: it is made anew when, and only when, that differs."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

_CHARACTERS = 16


def of_contents(contents: Mapping[str, bytes]) -> str:
    """A short digest of named contents, whatever their order.

    >>> of_contents({"a": b"1", "b": b"2"}) == of_contents({"b": b"2", "a": b"1"})
    True
    >>> of_contents({"a": b"1", "b": b""}) == of_contents({"a": b"", "b": b"1"})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(contents):
        for part in (name.encode(), contents[name]):
            # The length keeps ("ab", "c") apart from ("a", "bc").
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()[:_CHARACTERS]


def of_files(root: Path, files: Iterable[Path], **others: str) -> str:
    """A short digest of files by their path below `root`, and of other named values."""
    contents = {file.relative_to(root).as_posix(): file.read_bytes() for file in files}
    return of_contents(contents | {f"={name}": value.encode() for name, value in others.items()})
