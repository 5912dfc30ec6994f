"""Profiles as the files that people write, made from one that ships."""

import json
from importlib.resources import files
from typing import Any


def profile_text(usable_gb: float = 45.0, step_s: float = 1.0, name: str = "mine") -> str:
    """SD3 as one row: `step_s` a step at 64 x 64, weights and peaks as in the file that ships."""
    shipped = files("tridentserve.manifest").joinpath("profiles", "sd3.json")
    file: dict[str, Any] = json.loads(shipped.read_text(encoding="utf-8"))
    file["name"] = name
    file["device"] |= {"memory": usable_gb + 1.0, "usable": usable_gb}
    file["diffuse"] |= {
        "degrees": [1],
        "rows": [{"shape": "64x64x1", "seconds": [step_s]}],
        "repairs": {"repaired": []},
    }
    file["measured"] = None
    return json.dumps(file)
