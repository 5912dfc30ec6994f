"""Which pods Prometheus scrapes, and under which labels: an `http_sd_configs` endpoint.

The rule is the chart's: every pod of this product with a container port named `metrics`, labelled
with where it is and what it is part of. `targets` is pure, so that a test can hold it against the
chart's relabelling.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from tridentserve.domain.names import (
    LABEL_COMPONENT,
    LABEL_PART_OF,
    LABEL_PIPELINE,
    LABEL_POOL,
    PART_OF,
    PORT_METRICS_NAME,
)

from .wire import Json

SELECTOR = f"{LABEL_PART_OF}={PART_OF}"


def targets(pods: Iterable[Json]) -> list[Json]:
    """Target groups, one a scraped port, in the order of their addresses."""
    groups = [
        {"targets": [f"{pod['status']['podIP']}:{port}"], "labels": target_labels(pod)}
        for pod in pods
        if scraped(pod)
        for port in _metrics_ports(pod)
    ]
    return sorted(groups, key=lambda group: str(group["targets"]))


def scraped(pod: Json) -> bool:
    """Whether the pod is one of ours and can answer: it has an address and has not finished."""
    status = pod.get("status") or {}
    labels = pod["metadata"].get("labels") or {}
    unfinished = status.get("phase") not in ("Succeeded", "Failed")
    return labels.get(LABEL_PART_OF) == PART_OF and bool(status.get("podIP")) and unfinished


def target_labels(pod: Json) -> dict[str, str]:
    """What is known of every sample of a pod; a label without a value is left out."""
    meta = pod["metadata"]
    labels = meta.get("labels") or {}
    pipeline = labels.get(LABEL_PIPELINE)
    found = {
        "namespace": meta["namespace"],
        "pod": meta["name"],
        "node": pod["spec"].get("nodeName", ""),
        "pipeline": f"{meta['namespace']}/{pipeline}" if pipeline else "",
        "pool": labels.get(LABEL_POOL, ""),
        "component": labels.get(LABEL_COMPONENT, ""),
    }
    return {name: value for name, value in found.items() if value}


def _metrics_ports(pod: Json) -> list[int]:
    ports = (p for c in pod["spec"]["containers"] for p in c.get("ports") or ())
    return [p["containerPort"] for p in ports if p.get("name") == PORT_METRICS_NAME]


class Discovery:
    """Serves the targets on 127.0.0.1."""

    def __init__(self) -> None:
        """Begin with no pods; `pods` is replaced once there is an API server to list them."""
        self.pods: dict[str, Json] = {}
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listens on a free port."""
        app = web.Application()
        app.router.add_get("/targets", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/targets"

    async def stop(self) -> None:
        """Closes the server."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        return web.json_response(targets(self.pods.values()))
