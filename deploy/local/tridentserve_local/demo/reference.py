"""The process with torch in it: `reference MODEL OUT JOBS` makes a tiny model, then its pictures.

The pictures are drawn by diffusers' own pipeline, in one process and with none of the stages' code.
JOBS is a JSON list of the fields of `Job`. Each line on stdout is a JSON object: `{"built": s}`,
then `{"drawn": file, "seconds": s}` for each picture.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tridentserve.families.command import build

_NICE = 10
"""From the model on nobody waits for this process, and it must not slow down who is waited for."""


def main(model: Path, out: Path, jobs: list[dict[str, Any]]) -> None:
    """Build, then draw."""
    began = time.monotonic()
    build(model, family="sd3")
    _tell({"built": time.monotonic() - began})
    os.nice(_NICE)
    draw(model, out, jobs)


def draw(model: Path, out: Path, jobs: list[dict[str, Any]]) -> None:
    """The monolith: all three stages in this process, with one thread, as workers at 100 % have."""
    import torch
    from diffusers import DiffusionPipeline

    torch.set_num_threads(1)
    pipeline = DiffusionPipeline.from_pretrained(model, dtype=torch.float32)
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


def _tell(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
