"""The demo's folders: what it writes for people, and where its models lie meanwhile."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tridentserve_local.toolchain.checkout import ROOT

from .errors import DemoError
from .jobs import JOBS

LOGS, MONOLITH, SHEET = "logs", "monolith", "sheet.png"
"""What lies in the output folder beside the pictures."""

SHAPES = ROOT / "examples" / "models" / "shapes"
"""The model that draws, as it comes with the project."""


@contextmanager
def emptied(output: Path) -> Iterator[None]:
    """Take away what an earlier demo wrote there, and nothing else; keep a second demo out.

    Raises:
        DemoError: another demo writes there now.
    """
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"another demo writes to {output}; wait for its end, or give --output FOLDER"
            ) from None
        for folder in (LOGS, MONOLITH):
            shutil.rmtree(output / folder, ignore_errors=True)
        for name in (SHEET, *(job.file_name for job in JOBS)):
            (output / name).unlink(missing_ok=True)
        yield


@contextmanager
def models(*, stay: Callable[[], bool], shapes: Path = SHAPES) -> Iterator[Path]:
    """A folder with a copy of the model `shapes`, taken away at the end unless it is to stay.

    A copy, since its path is a plain one whatever that of the checkout is: one with a colon, for
    one, could not stand among the roots that the operator allows.

    Raises:
        DemoError: the checkout has no such model.
    """
    if not (shapes / "model_index.json").is_file():
        raise DemoError(f"the model {shapes} is missing; check the project out as a whole")
    folder = Path(tempfile.mkdtemp(prefix="tridentserve-demo-"))
    try:
        shutil.copytree(shapes, folder / "shapes")
        yield folder
    finally:
        if not stay():
            shutil.rmtree(folder, ignore_errors=True)
