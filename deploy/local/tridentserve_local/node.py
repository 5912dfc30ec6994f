"""A Kubernetes node whose pods are processes of this host.

It registers itself, says every few seconds that it lives, and runs the pods that the scheduler
binds to it, one worker each. Several nodes share one event loop. Nothing is kept on disk between
two lives of a node.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from dataclasses import dataclass, field
from importlib.metadata import version

from .addresses import AddressPool
from .api import STRATEGIC_MERGE, Api, ApiError
from .backoff import BackoffPolicy
from .devices import GPU_RESOURCE, DevicePool, made_up_gpus
from .events import EventSink
from .folders import Folders
from .kubelet import Kubelet
from .parsing import parse_pod
from .pods import Ground, PodWorker
from .processes import kill_marked
from .watching import Collection
from .wire import Json, timestamp

log = logging.getLogger(__name__)

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What a node says that it has. Only the scheduler looks at it: nothing is enforced."""

    name: str
    cpus: int = 8
    memory_gib: int = 32
    pods: int = 500
    gpus: int = 0
    lease_s: float = 10.0
    """How often the node says that it lives; the controllers wait for 40 s of silence."""
    refresh_s: float = 30.0
    """How often the files of volumes are brought up to date."""
    backoff: BackoffPolicy = field(default_factory=BackoffPolicy)


class Node:
    """One node; `run` until cancelled, `crash` for a power failure."""

    def __init__(
        self,
        api: Api,
        settings: NodeSettings,
        host_ip: str,
        addresses: AddressPool,
        folders: Folders,
    ) -> None:
        """Keep what it has and shares; nothing happens before `run`."""
        self.settings = settings
        self.host_ip = host_ip
        self.registered = asyncio.Event()
        self._api = api
        self._folders = folders
        self._gpus = made_up_gpus(folders.memory.name, settings.name, settings.gpus)
        self._events = EventSink(api, settings.name)
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._kubelet = Kubelet(self.find, folders.certificates)
        self._ground = Ground(
            api=api,
            node=settings.name,
            host_ip=host_ip,
            allocatable=_capacity(settings),
            addresses=addresses,
            devices=DevicePool(self._gpus),
            folders=folders,
            events=self._events,
            backoff=settings.backoff,
            refresh_s=settings.refresh_s,
        )

    @property
    def mark(self) -> str:
        """What the marks of all this node's processes start with."""
        return f"{self._folders.mark}{self.settings.name}/"

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The pod of this name that the node has, the newest if one is still on its way out."""
        for worker in reversed(self._workers.values()):
            if (worker.pod.namespace, worker.pod.name) == (namespace, name):
                return worker
        return None

    async def run(self) -> None:
        """The node's life. Cancelled, it kills what runs and leaves its objects as they are."""
        name = self.settings.name
        pods = Collection(
            self._api,
            "/api/v1/pods",
            {"fieldSelector": f"spec.nodeName={name}"},
            changed=self._on_pod,
            deleted=self._on_pod_deleted,
        )
        try:
            await self._kubelet.start(self.host_ip)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._events.run())
                group.create_task(self._stay_registered())
                group.create_task(pods.run())
        finally:
            await self._kubelet.stop()
            await self._drop_pods()

    async def _drop_pods(self) -> None:
        """Ends every process at once, without a word to the API server."""
        kill_marked(self.mark)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        kill_marked(self.mark)

    def _on_pod(self, raw: Json) -> None:
        pod = parse_pod(raw)
        worker = self._workers.get(pod.uid)
        if worker is None:
            worker = self._workers[pod.uid] = PodWorker(pod, self._ground)
            task = asyncio.create_task(worker.run(), name=f"pod {pod.key}")
            self._tasks[pod.uid] = task
            task.add_done_callback(lambda done: self._on_pod_done(pod.uid, done))
        worker.update(pod)

    def _on_pod_deleted(self, raw: Json) -> None:
        worker = self._workers.get(raw["metadata"]["uid"])
        if worker is not None:
            worker.vanish()

    def _on_pod_done(self, uid: str, task: asyncio.Task[None]) -> None:
        self._workers.pop(uid, None)
        self._tasks.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            log.error(
                "a pod worker failed", exc_info=task.exception(), extra={"task": task.get_name()}
            )

    async def _stay_registered(self) -> None:
        """Creates the node where it is missing, and renews its lease and status."""
        while True:
            try:
                await self._register()
                self.registered.set()
            except ApiError as error:
                log.warning("the node is not registered", extra={"error": str(error)})
                await asyncio.sleep(0.5)
                continue
            await asyncio.sleep(self.settings.lease_s)

    async def _register(self) -> None:
        name = self.settings.name
        body = {"status": self._status()}
        try:
            await self._api.patch(f"/api/v1/nodes/{name}/status", body, STRATEGIC_MERGE)
        except ApiError as error:
            if error.code != 404:
                raise
            await self._api.create("/api/v1/nodes", self._object())
            await self._api.patch(f"/api/v1/nodes/{name}/status", body, STRATEGIC_MERGE)
        await self._renew_lease()

    async def _renew_lease(self) -> None:
        name = self.settings.name
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": 40,
            "renewTime": timestamp(time.time(), micro=True),
        }
        try:
            await self._api.patch(f"{_LEASES}/{name}", {"spec": spec})
        except ApiError as error:
            if error.code != 404:
                raise
            metadata = {"name": name, "namespace": "kube-node-lease"}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
            await self._api.create(_LEASES, {**lease, "metadata": metadata, "spec": spec})

    def _object(self) -> Json:
        name = self.settings.name
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": _architecture(),
            "tridentserve.io/process-node": "true",
        }
        metadata = {"name": name, "labels": labels}
        return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}}

    def _status(self) -> Json:
        capacity = _capacity(self.settings)
        now = timestamp(time.time())
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": "ProcessNode",
                "message": "pods are processes of the host; resources are counted, not enforced",
                "lastHeartbeatTime": now,
            }
            for kind, status in (
                ("Ready", "True"),
                ("MemoryPressure", "False"),
                ("DiskPressure", "False"),
                ("PIDPressure", "False"),
            )
        ]
        return {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": self.host_ip}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._kubelet.port}},
            "nodeInfo": _node_info(self.settings.name),
        }


def _capacity(settings: NodeSettings) -> dict[str, str]:
    capacity = {
        "cpu": str(settings.cpus),
        "memory": f"{settings.memory_gib}Gi",
        "pods": str(settings.pods),
        "ephemeral-storage": "100Gi",
    }
    return capacity | ({GPU_RESOURCE: str(settings.gpus)} if settings.gpus else {})


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _node_info(name: str) -> Json:
    return {
        "machineID": name,
        "systemUUID": name,
        "bootID": str(os.getpid()),
        "kernelVersion": platform.release(),
        "osImage": "processes of the host",
        "containerRuntimeVersion": f"process://{version('tridentserve')}",
        "kubeletVersion": "v1.37.0-process",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": _architecture(),
    }
