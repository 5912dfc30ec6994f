"""The pipeline of diffusers in one process, as a server of lines: what the split is held to.

    python benchmarks/monolith.py MODEL THREADS

Each line of stdin is a JSON object of a job (prompt, height, width, steps, guidance, seed), each
line of stdout says how long it took: `seconds` in all, `parts` of it, `cpu_s` of this process, and
the SHA-256 of the picture, by which the benchmark knows that both sides drew the same one. It uses
nothing of the stages but the way that a PNG is packed, in which a slower one would flatter us.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from tridentserve.families import libraries
from tridentserve.families.pictures import encode_png


class Parts:
    """Seconds of the parts of one job."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its seconds noted under this name."""

        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = time.perf_counter() - begun

        return call


def main(model: str, threads: str) -> None:
    """Load, and draw until stdin ends."""
    libraries.tame()  # what they print would be taken for an answer
    from diffusers import DiffusionPipeline

    torch.set_num_threads(int(threads))
    torch.set_num_interop_threads(1)
    pipeline = DiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    parts = Parts()
    pipeline.encode_prompt = parts.timed("encode", pipeline.encode_prompt)
    pipeline.vae.decode = parts.timed("vae", pipeline.vae.decode)
    pack = parts.timed("png", encode_png)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        begun, begun_cpu = time.perf_counter(), time.process_time()
        (picture,) = pipeline(
            prompt=job["prompt"],
            height=job["height"],
            width=job["width"],
            num_inference_steps=job["steps"],
            guidance_scale=job["guidance"],
            generator=torch.Generator("cpu").manual_seed(job["seed"]),
        ).images
        file = pack(picture)
        said = {
            "seconds": time.perf_counter() - begun,
            "cpu_s": time.process_time() - begun_cpu,
            "parts": parts.seconds,
            "sha256": hashlib.sha256(file).hexdigest(),
        }
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
