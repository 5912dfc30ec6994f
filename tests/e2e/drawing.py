"""Pictures as tests compare them, and the same ones drawn by diffusers alone."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

_MONOLITH = Path(__file__).parent / "monolith.py"


def opened(data: bytes) -> Image.Image:
    """The picture in a PNG file, as RGB."""
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")


def pixels(data: bytes) -> bytes:
    """Those of a PNG file."""
    return Image.open(io.BytesIO(data)).tobytes()


def monolith(model: Path, jobs: Sequence[dict[str, Any]], out: Path) -> list[bytes]:
    """Pixels of what diffusers' own pipeline draws; `jobs` are requests that leave nothing out."""
    subprocess.run(
        [sys.executable, str(_MONOLITH), str(model), json.dumps(jobs), str(out)],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return [pixels((out / f"{number}.png").read_bytes()) for number in range(len(jobs))]
