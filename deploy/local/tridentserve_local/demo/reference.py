"""The process with torch in it: `reference MODEL OUT JOBS` draws with diffusers alone.

It is diffusers' own pipeline, in one process and with none of the stages' code. JOBS is a JSON list
of the fields of `Job`. For each picture a line on stdout says `{"drawn": file, "seconds": s}`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TypedDict

_NICE = 10
"""Nobody waits for this process until all else is done, and it must not slow that down."""


class _Job(TypedDict):
    """Fields of `Job` that the monolith reads."""

    prompt: str
    height: int
    width: int
    steps: int
    guidance: float
    seed: int
    file_name: str


def main(model: Path, out: Path, jobs: list[_Job]) -> None:
    """The monolith: all three stages in this process, with one thread, as workers at 100 % have."""
    os.nice(_NICE)
    import torch
    from diffusers import DiffusionPipeline

    torch.set_num_threads(1)
    pipeline = DiffusionPipeline.from_pretrained(model, **_absent(model), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    for job in jobs:
        began = time.monotonic()
        (picture,) = pipeline(
            prompt=job["prompt"],
            height=job["height"],
            width=job["width"],
            num_inference_steps=job["steps"],
            guidance_scale=job["guidance"],
            generator=torch.Generator("cpu").manual_seed(job["seed"]),
        ).images
        picture.save(out / job["file_name"])
        _tell({"drawn": job["file_name"], "seconds": time.monotonic() - began})


def _absent(model: Path) -> dict[str, None]:
    """What the index says the model has none of; diffusers wants to be told so once more."""
    index = json.loads((model / "model_index.json").read_text())
    return {name: None for name, value in index.items() if value == [None, None]}


def _tell(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
