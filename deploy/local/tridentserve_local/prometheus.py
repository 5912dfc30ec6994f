"""Prometheus, scraping the pods that `discovery` serves.

Debian's build has no Kubernetes discovery, so the pods come by HTTP, under the labels that the
chart's scrape configuration yields on a real cluster: queries need not know where they run.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp
import yaml

from .services import Service, free_port
from .toolchain.tools import Tool

JOB = "tridentserve"


def scrape_configuration(discovery_url: str, interval_s: float) -> str:
    """The text of prometheus.yml."""
    interval = f"{round(interval_s * 1000)}ms"
    job = {
        "job_name": JOB,
        "honor_labels": True,
        "scrape_interval": interval,
        "scrape_timeout": interval,
        "http_sd_configs": [{"url": discovery_url, "refresh_interval": "1s"}],
    }
    settings = {"scrape_interval": interval, "evaluation_interval": interval}
    return yaml.safe_dump({"global": settings, "scrape_configs": [job]}, sort_keys=False)


def prometheus_service(
    tool: Tool, *, folder: Path, log: Path, discovery_url: str, interval_s: float
) -> tuple[Service, str]:
    """The service and its URL; its configuration is written, its data stays over a restart."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "prometheus.yml"
    configuration.write_text(scrape_configuration(discovery_url, interval_s))
    arguments = [
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]

    async def ready() -> bool:
        return await _answers(f"{url}/-/ready")

    return Service("prometheus", tool, arguments, folder=folder, log=log, ready=ready), url


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError):
        return False
