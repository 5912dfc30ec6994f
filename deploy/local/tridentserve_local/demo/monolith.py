"""Runs `reference` beside everything else, and compares its pictures with the served ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import DemoError
from .jobs import Job
from .narrator import Narrator

_DRAWN_WITHIN_S = 300.0
"""After all else is done. The first import of torch on a cold machine reads a gigabyte."""


class Monolith:
    """The process that draws with diffusers alone; a context manager."""

    def __init__(self, model: Path, out: Path, jobs: Sequence[Job], narrator: Narrator) -> None:
        """Nothing starts yet. `model` is a folder, `out` gets a PNG for each job."""
        self._model, self._out, self._jobs, self._narrator = model, out, jobs, narrator
        self._errors = out / "errors.log"
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread(target=self._read, name="monolith", daemon=True)

    def __enter__(self) -> Self:
        """Start it."""
        self._out.mkdir(parents=True, exist_ok=True)
        fields = [asdict(job) | {"file_name": job.file_name} for job in self._jobs]
        command = [sys.executable, "-m", "tridentserve_local.demo.reference"]
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [*command, str(self._model), str(self._out), json.dumps(fields)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # Ctrl-C is for the demo, which then ends this one too.
                start_new_session=True,
            )
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, wherever it stands."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()

    def wait_for_pictures(self) -> None:
        """Return once every picture is drawn.

        Raises:
            DemoError: it failed, or takes too long.
        """
        assert self._process is not None
        try:
            code = self._process.wait(_DRAWN_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise DemoError("the monolithic pipeline takes too long") from None
        self._reader.join()
        if code != 0:
            raise DemoError(f"the monolithic pipeline failed: {self._last_words()}")

    def _environment(self) -> dict[str, str]:
        # torch leaves folders among the temporary files of whoever imports it.
        temporary = {"TMPDIR": str(self._model.parent)}
        return {**os.environ, **temporary, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        drawn = 0
        with self._process.stdout as lines:
            for line in lines:
                drawn += "drawn" in json.loads(line)
                if drawn == len(self._jobs):
                    self._narrator.say(f"monolith: drew the same {drawn} pictures with diffusers")

    def _last_words(self) -> str:
        lines = self._errors.read_text().splitlines()
        return f"{lines[-1] if lines else 'it said nothing'} (all of it in {self._errors})"


def differing(jobs: Sequence[Job], served: Path, drawn: Path) -> list[str]:
    """Names of the files whose pixels are not the same, bit for bit, in both folders."""
    return [
        job.file_name
        for job in jobs
        if _pixels(served / job.file_name) != _pixels(drawn / job.file_name)
    ]


def _pixels(file: Path) -> tuple[str, tuple[int, int], bytes]:
    from PIL import Image  # beside torch, in the extra that the stages need

    with Image.open(file) as picture:
        return picture.mode, picture.size, picture.tobytes()
