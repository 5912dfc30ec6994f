"""Where the last lines of a log file begin."""

from __future__ import annotations

from pathlib import Path

_BLOCK = 64 * 1024


def start_of_tail(log: Path, lines: int | None) -> int:
    """The offset from which `lines` lines are left; 0 for None or for more than there are.

    Reads backwards, in blocks, so that the end of a huge log costs as little as that of a small
    one.
    """
    if lines is None:
        return 0
    with log.open("rb") as stream:
        offset = size = stream.seek(0, 2)
        missing = lines + 1  # the newline before the first wanted line ends an unwanted one
        if size and _byte(log, size - 1) != b"\n":
            missing -= 1  # the last line is not ended yet
        if lines <= 0:
            return size
        while offset > 0:
            start = max(0, offset - _BLOCK)
            stream.seek(start)
            block = stream.read(offset - start)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                missing -= 1
                if missing == 0:
                    return start + at + 1
            offset = start
    return 0


def _byte(log: Path, offset: int) -> bytes:
    with log.open("rb") as stream:
        stream.seek(offset)
        return stream.read(1)
