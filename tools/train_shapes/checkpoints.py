"""What a training run leaves on disk so that it can go on: one file, replaced as a whole.

A kill at any moment leaves the checkpoint before or the one after. The log is a line a step; lines
after the checkpoint are cut off when a run goes on, since those steps are done again.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write and replace."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    torch.save(dict(state), beside)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def load(path: Path) -> Mapping[str, Any] | None:
    """The state, or None where there is none yet. Reads tensors and numbers only, never code."""
    import torch

    if not path.is_file():
        return None
    state: Mapping[str, Any] = torch.load(path, weights_only=True)
    return state


class Log:
    """Losses by step, one JSON object a line."""

    def __init__(self, path: Path, *, steps_done: int) -> None:
        """Go on after so many steps; later lines go."""
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in _lines(path) if json.loads(line)["step"] < steps_done]
        path.write_text("".join(kept))
        self._file = path.open("a", buffering=1)

    def write(self, **values: float) -> None:
        """Append a line; `step` must be among the values."""
        self._file.write(json.dumps(values) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text().splitlines(keepends=True)
    # A kill can cut the last line.
    return [line for line in lines if line.endswith("\n")]
