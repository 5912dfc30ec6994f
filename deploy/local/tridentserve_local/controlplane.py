"""The control plane: a Go program (`deploy/local/controlplane`), started and awaited."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from .services import Service
from .toolchain.tools import Tool


def control_plane_service(tool: Tool, *, folder: Path, logs: Path) -> Service:
    """API server, controllers, scheduler and etcd: one process, one line when all are up."""
    output = logs / "controlplane.out"

    async def ready() -> bool:
        return _announced(output)

    arguments = ["--data", str(folder), "--log", str(logs / "controlplane.log")]
    return Service(
        "control plane",
        tool,
        arguments,
        folder=folder,
        log=output,
        ready=ready,
        ready_within_s=120.0,
    )


def admin_kubeconfig(folder: Path) -> Path:
    """Written by the control plane before it says that it is ready."""
    return folder / "kubeconfig"


def _announced(output: Path) -> bool:
    with suppress(OSError):
        for line in output.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                if json.loads(line).get("ready"):
                    return True
    return False
