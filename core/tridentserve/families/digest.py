"""The content digest: whether two workers read the same model.

It covers the whole folder, also the parts that a worker does not load: every path and size, the
text of every JSON file, and the header of every safetensors file (names, types, shapes, offsets of
its tensors). So it takes milliseconds and not the minutes that hashing weights would take, and a
fine-tuned copy with the same shapes and sizes but other numbers goes unnoticed: replace a model by
another folder, not by writing into it.

Hidden files are left out (download caches keep times there), and so is `lost+found`, which
volumes have.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from tridentserve.domain.ids import ContentDigest
from tridentserve.errors import InvalidFieldError

_IGNORED = "lost+found"
_MAX_HEADER_BYTES = 100_000_000  # what the safetensors library itself allows


def content_digest(folder: Path) -> ContentDigest:
    """The digest of a model folder.

    Raises:
        InvalidFieldError: something in it cannot be read, or is no safetensors file; names it.
    """
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        name = path.relative_to(folder).as_posix()
        try:
            size = path.stat().st_size
            content = _content(path, size, name)
        except OSError as error:
            raise InvalidFieldError(name, f"cannot be read: {error.strerror}") from error
        # Lengths first: without them, a name could end where another's content begins.
        for part in (name.encode(), str(size).encode(), content):
            digest.update(struct.pack("<Q", len(part)))
            digest.update(part)
    return ContentDigest(digest.hexdigest())


def _files(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    # Links are followed, since model caches consist of them; a circle is walked once. A folder that
    # two names lead to counts under both: which one is seen first would depend on the directory.
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InvalidFieldError(str(folder), f"cannot be read: {error.strerror}") from error
    for path in paths:
        if not os.path.isdir(path):
            yield path
        elif path.name != _IGNORED:
            yield from _files(path, above | {real})


def _content(path: Path, size: int, name: str) -> bytes:
    if path.suffix == ".json":
        return path.read_bytes()
    if path.suffix != ".safetensors":
        return b""
    with path.open("rb") as file:
        prefix = file.read(8)
        header_bytes = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if header_bytes > min(size - 8, _MAX_HEADER_BYTES):
            raise InvalidFieldError(
                name, f"is no safetensors file ({size} bytes); copy the model again"
            )
        return prefix + file.read(header_bytes)
