"""Where a pipeline's worker pods are, and which of them are on their way out.

Workers are found by pods rather than by a Service, because dispatch picks a particular worker.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tridentserve.domain import names
from tridentserve.domain.addresses import authority
from tridentserve.domain.ids import PipelineName, WorkerId
from tridentserve_router import kube


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One worker pod that has an address."""

    worker: WorkerId
    """Its name."""
    uid: str
    address: str
    """`ip:port` of its gRPC server."""
    draining: bool = False
    """It is being deleted, or the operator labelled it: nothing new for it."""


Pods = Mapping[WorkerId, Pod]


class PodSource(Protocol):
    """Says which worker pods there are."""

    def watch(self) -> AsyncIterator[Pods]:
        """All of them, whenever one changes; the first picture comes at once."""
        ...


class KubernetesPods:
    """Pods of one pipeline that carry a stage, from the API server."""

    def __init__(self, pipeline: PipelineName) -> None:
        """Watch the pipeline's own namespace."""
        namespace, _, name = pipeline.partition("/")
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        selector = f"{names.LABEL_PIPELINE}={name},{names.LABEL_STAGES}"
        self._query = {"labelSelector": selector}

    async def watch(self) -> AsyncIterator[Pods]:
        """All pods with an address, whenever one changes."""
        async for picture in kube.follow(self._path, self._query):
            found = [pod for body in picture.values() if (pod := read_pod(body)) is not None]
            yield {pod.worker: pod for pod in found}


def read_pod(body: kube.Object) -> Pod | None:
    """A pod of the API server; None where it has no address yet, or has ended."""
    metadata, status = body["metadata"], body.get("status", {})
    if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    labelled = metadata.get("labels", {}).get(names.LABEL_DRAINING) == "true"
    return Pod(
        worker=WorkerId(metadata["name"]),
        uid=metadata["uid"],
        address=authority(status["podIP"], names.PORT_GRPC),
        draining=labelled or "deletionTimestamp" in metadata,
    )


class MemoryPods:
    """Pods that a test, or a process that starts its own workers, tells it of."""

    def __init__(self, *pods: Pod) -> None:
        """Begin with these."""
        self._pods = {pod.worker: pod for pod in pods}
        self._changed = asyncio.Event()

    def put(self, pod: Pod) -> None:
        """Add a pod, or replace the one of its name."""
        self._pods[pod.worker] = pod
        self._changed.set()

    def remove(self, worker: WorkerId) -> None:
        """Take a pod away."""
        self._pods.pop(worker, None)
        self._changed.set()

    async def watch(self) -> AsyncIterator[Pods]:
        """All of them, whenever one changes."""
        while True:
            self._changed.clear()
            yield dict(self._pods)
            await self._changed.wait()
