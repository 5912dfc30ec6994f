"""Redis, as a managed service outside of the cluster would be: an address and a limit."""

from __future__ import annotations

import asyncio
from pathlib import Path

from .services import Service, free_port
from .toolchain.tools import Tool


def redis_service(tool: Tool, *, folder: Path, log: Path, max_memory: str) -> tuple[Service, str]:
    """The service and its URL.

    Nothing is persisted, and what does not fit is refused: evicting a tensor that a request still
    needs would be a silent loss.
    """
    port = free_port()
    arguments = [
        *("--bind", "127.0.0.1"),
        *("--port", str(port)),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--maxmemory", max_memory),
        *("--maxmemory-policy", "noeviction"),
        *("--dir", str(folder)),
    ]

    async def ready() -> bool:
        return await _answers(port)

    service = Service("redis", tool, arguments, folder=folder, log=log, ready=ready)
    return service, f"redis://127.0.0.1:{port}/0"


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        return (await reader.readline()).startswith(b"+PONG")
    except OSError:
        return False
    finally:
        writer.close()
