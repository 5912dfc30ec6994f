"""Asks for all pictures at once through the router, and shows how they come.

They are written as they are served, and once more together on a sheet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tridentserve.client import (
    Accepted,
    Event,
    Finished,
    GenerationClient,
    MediaPiece,
    StageStarted,
    Step,
)
from tridentserve.errors import TridentServeError

from . import sheet
from .errors import DemoError
from .jobs import Job
from .narrator import Narrator

_TIMEOUT_S = 120.0
_SHOW_S = 0.3


class Board:
    """What each picture is doing now, in one line; pure."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        """Nothing has been heard yet."""
        self._doing = {job.name: "" for job in jobs}

    def hear(self, job: Job, event: Event) -> None:
        """Take an event of a picture."""
        match event:
            case Accepted():
                self._doing[job.name] = "waits"
            case StageStarted(stage=stage):
                self._doing[job.name] = str(stage)
            case Step(step=step, steps=steps):
                self._doing[job.name] = f"diffuse {step}/{steps}"
            case MediaPiece():
                self._doing[job.name] = "arrives"
            case Finished():
                self._doing[job.name] = ""

    @property
    def line(self) -> str:
        """All that are under way; "" when none is."""
        return " | ".join(f"{name} {doing}" for name, doing in self._doing.items() if doing)


async def draw(
    endpoint: str, jobs: Sequence[Job], out: Path, narrator: Narrator
) -> tuple[list[Finished], float]:
    """All pictures, written to `out`: how each was made, and when the first was there.

    Raises:
        DemoError: a request failed.
    """
    board = Board(jobs)
    first_s: list[float] = []

    async def one(client: GenerationClient, job: Job) -> Finished:
        try:
            result = await client.generate(
                job.request, timeout_s=_TIMEOUT_S, on_event=lambda event: board.hear(job, event)
            )
        except TridentServeError as error:
            raise DemoError(f"the picture {job.name} failed: {error}") from error
        (out / job.file_name).write_bytes(result.media[0])
        first_s.append(narrator.seconds)
        narrator.say(
            f"{job.file_name}: {job.prompt!r}, seed {job.seed}, {result.finished.total_s:.2f} s"
        )
        return result.finished

    shower = asyncio.create_task(_show(board, narrator))
    try:
        async with GenerationClient(endpoint) as client:
            finished = await asyncio.gather(*(one(client, job) for job in jobs))
    finally:
        shower.cancel()
    return finished, first_s[0]


async def _show(board: Board, narrator: Narrator) -> None:
    shown = ""
    while True:
        await asyncio.sleep(_SHOW_S)
        if board.line not in ("", shown):
            shown = board.line
            narrator.say(shown)


def write_sheet(
    file: Path, jobs: Sequence[Job], finished: Sequence[Finished], pictures: Path
) -> None:
    """The contact sheet of pictures that lie in a folder."""
    from PIL import Image  # beside torch, in the extra that the stages need

    tiles = []
    for job, one in zip(jobs, finished, strict=True):
        with Image.open(pictures / job.file_name) as picture:
            picture.load()
        note = f"{job.width} x {job.height}, {job.steps} steps, {one.total_s:.2f} s"
        tiles.append(sheet.Tile(picture=picture, prompt=job.prompt, note=note))
    sheet.compose(tiles).save(file)
