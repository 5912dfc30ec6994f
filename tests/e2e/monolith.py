"""Pictures of diffusers' own pipeline, in a process of its own: `monolith.py MODEL JOBS OUT`.

JOBS is a JSON list of keyword arguments (prompt, height, width, steps, guidance, seed); picture i
is written to `OUT/i.png`. It shares no code with the stages, and encodes as the decoder does.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import DiffusionPipeline


def main(model: str, jobs: str, out: str) -> None:
    """Draw every job."""
    torch.set_num_threads(1)
    index = json.loads(Path(model, "model_index.json").read_text())
    # What a model has none of must be said once more, or it is missed.
    absent = {name: None for name, value in index.items() if value == [None, None]}
    pipeline = DiffusionPipeline.from_pretrained(model, **absent, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    for number, job in enumerate(json.loads(jobs)):
        (picture,) = pipeline(
            prompt=job["prompt"],
            height=job["height"],
            width=job["width"],
            num_inference_steps=job["steps"],
            guidance_scale=job["guidance"],
            generator=torch.Generator("cpu").manual_seed(job["seed"]),
        ).images
        picture.save(Path(out, f"{number}.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
