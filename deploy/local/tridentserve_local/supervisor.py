"""The process that is a local cluster: it starts everything, answers for it, ends everything.

Nodes run in its event loop; control plane, Redis, Prometheus and containers are its children. The
reaper above it sees to it that none of them outlives it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress

from tridentserve.errors import NotFoundError

from .addresses import AddressBlock
from .api import Api, ApiError, Credentials
from .controlplane import admin_kubeconfig, control_plane_service
from .discovery import SELECTOR, Discovery
from .folders import Folders
from .node import Node, NodeSettings
from .processes import marked
from .prometheus import prometheus_service
from .redis_server import redis_service
from .services import Service, ServiceError
from .settings import ClusterSettings
from .toolchain import tools
from .watching import Collection
from .wire import Json

log = logging.getLogger(__name__)

Step = Callable[[str], None]
"""Told what has just come up."""


class Supervisor:
    """One running cluster."""

    def __init__(self, folders: Folders, settings: ClusterSettings, block: AddressBlock) -> None:
        """Keep what is to run; nothing is started before `start`."""
        self.stopping = asyncio.Event()
        self._folders = folders
        self._settings = settings
        self._block = block
        self._addresses = block.pod_addresses()
        self._services: dict[str, Service] = {}
        self._urls: dict[str, str] = {}
        self._api: Api | None = None
        self._nodes: dict[str, Node] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._discovery = Discovery()
        self._began = time.time()
        self._ready = False

    async def start(self, step: Step) -> None:
        """Brings everything up.

        Raises:
            ServiceError: a program did not start.
            ToolMissingError: a program is not to be had.
        """
        await self._discovery.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_redis(step))
            group.create_task(self._start_prometheus(step))
            group.create_task(self._start_cluster(step))
        self._ready = True

    async def stop(self) -> None:
        """Ends everything at once; pods are killed, since their cluster ends with them."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._api is not None:
            await self._api.__aexit__(None, None, None)
        await asyncio.gather(*(service.stop() for service in self._services.values()))
        await self._discovery.stop()

    async def wait_for_fault(self) -> None:
        """Until the control plane or a node's task has ended by itself."""
        waits = [asyncio.ensure_future(self._services["control plane"].wait())]
        await asyncio.wait([*waits, self._tasks["discovery"]], return_when="FIRST_COMPLETED")

    def describe(self) -> Json:
        """What runs, for `status` and for whoever holds a `LocalCluster`."""
        return {
            "ready": self._ready,
            "pid": os.getpid(),
            "since": self._began,
            "kubeconfig": str(self._folders.kubeconfig),
            "server": "" if self._api is None else self._api.credentials.server,
            "redis_url": self._urls.get("redis", ""),
            "prometheus_url": self._urls.get("prometheus", ""),
            "logs": str(self._folders.logs),
            "memory": str(self._folders.memory),
            "services": {name: service.pid for name, service in self._services.items()},
            "nodes": {name: self._node_state(name) for name in self._settings.node_names},
            "processes": len(marked(self._folders.mark)),
        }

    async def start_service(self, name: str) -> None:
        """Starts Redis or Prometheus again.

        Raises:
            NotFoundError: there is no such service.
        """
        await self._service(name).start()

    async def stop_service(self, name: str) -> None:
        """Stops Redis or Prometheus.

        Raises:
            NotFoundError: there is no such service.
        """
        await self._service(name).stop()

    async def kill_node(self, name: str, *, forget: bool) -> None:
        """A power failure: processes die, and the node falls silent.

        With `forget` its objects are deleted too, as the controller of a cloud does that has seen
        the machine go; without, the control plane finds out by itself, after 40 s.

        Raises:
            NotFoundError: there is no such node.
        """
        task = self._tasks.pop(self._known_node(name), None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if forget:
            await self._forget_node(name)

    async def start_node(self, name: str) -> None:
        """Boots a node that was killed; one that runs is left alone.

        Raises:
            NotFoundError: there is no such node.
        """
        if self._known_node(name) not in self._tasks:
            self._boot(name)
            await self._wait_registered(name)

    def kill_pod(self, namespace: str, name: str) -> int:
        """SIGKILL to all processes of a pod; how many there were.

        Raises:
            NotFoundError: no node has such a pod.
        """
        for node in self._nodes.values():
            worker = node.find(namespace, name)
            if worker is not None:
                count = len(marked(worker.mark))
                worker.kill()
                return count
        raise NotFoundError(f"no node runs a pod {namespace}/{name}")

    def processes(self, namespace: str = "", name: str = "") -> dict[int, str]:
        """Processes of containers, by pid, with `node/namespace/pod/uid/container`."""
        found = {}
        for pid, mark in marked(self._folders.mark).items():
            where = mark.removeprefix(self._folders.mark)
            parts = where.split("/")
            if namespace in ("", parts[1]) and name in ("", parts[2]):
                found[pid] = where
        return found

    async def _start_redis(self, step: Step) -> None:
        if self._settings.redis:
            service, self._urls["redis"] = redis_service(
                await asyncio.to_thread(tools.redis_server),
                folder=self._folders.state / "redis",
                log=self._folders.logs / "redis.log",
                max_memory=self._settings.redis_max_memory,
            )
            await self._run_service("redis", service, step)

    async def _start_prometheus(self, step: Step) -> None:
        if self._settings.prometheus:
            service, self._urls["prometheus"] = prometheus_service(
                await asyncio.to_thread(tools.prometheus),
                folder=self._folders.state / "prometheus",
                log=self._folders.logs / "prometheus.log",
                discovery_url=self._discovery.url,
                interval_s=self._settings.scrape_interval_s,
            )
            await self._run_service("prometheus", service, step)

    async def _start_cluster(self, step: Step) -> None:
        folder = self._folders.state / "controlplane"
        tool = await asyncio.to_thread(tools.controlplane)
        service = control_plane_service(tool, folder=folder, logs=self._folders.logs)
        await self._run_service("control plane", service, step)
        kubeconfig = admin_kubeconfig(folder)
        self._folders.kubeconfig.write_bytes(kubeconfig.read_bytes())
        self._folders.kubeconfig.chmod(0o600)
        self._api = await Api(Credentials.from_kubeconfig(kubeconfig)).__aenter__()
        pods = Collection(self._api, "/api/v1/pods", {"labelSelector": SELECTOR})
        self._discovery.pods = pods.objects
        self._tasks["discovery"] = asyncio.create_task(pods.run())
        for name in self._settings.node_names:
            self._boot(name)
        await asyncio.gather(*(self._wait_schedulable(n) for n in self._settings.node_names))
        step("nodes")

    async def _run_service(self, name: str, service: Service, step: Step) -> None:
        self._services[name] = service
        await service.start()
        step(name)

    def _boot(self, name: str) -> None:
        index = self._settings.node_names.index(name)
        settings = NodeSettings(
            name=name,
            cpus=self._settings.cpus,
            memory_gib=self._settings.memory_gib,
            gpus=self._settings.gpus,
            refresh_s=self._settings.refresh_s,
            backoff=self._settings.backoff,
        )
        address = self._block.host_address(index)
        node = Node(self._opened(), settings, address, self._addresses, self._folders)
        self._nodes[name] = node
        self._tasks[name] = asyncio.create_task(node.run(), name=f"node {name}")
        self._tasks[name].add_done_callback(_log_failure)

    async def _wait_schedulable(self, name: str) -> None:
        """Until the controllers have lifted the taint that every new node has."""
        await self._wait_registered(name)
        path = f"/api/v1/nodes/{name}"
        tainted = True
        while tainted:
            tainted = bool((await self._opened().get(path))["spec"].get("taints"))
            await asyncio.sleep(0.1 if tainted else 0)

    async def _wait_registered(self, name: str) -> None:
        """Until the node is known to the API server; raises what ended the node, if it has."""
        registered = asyncio.ensure_future(self._nodes[name].registered.wait())
        task = self._tasks[name]
        await asyncio.wait({registered, task}, return_when="FIRST_COMPLETED")
        registered.cancel()
        if task.done():
            task.result()

    async def _forget_node(self, name: str) -> None:
        api = self._opened()
        with suppress(ApiError):
            await api.delete(f"/api/v1/nodes/{name}")
        pods = await api.get("/api/v1/pods", {"fieldSelector": f"spec.nodeName={name}"})
        for pod in pods["items"]:
            meta = pod["metadata"]
            with suppress(ApiError):
                await api.delete(
                    f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}",
                    {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}},
                )

    def _node_state(self, name: str) -> Json:
        node = self._nodes.get(name)
        running = name in self._tasks and not self._tasks[name].done()
        return {"running": running, "address": "" if node is None else node.host_ip}

    def _known_node(self, name: str) -> str:
        if name not in self._settings.node_names:
            raise NotFoundError(
                f"no node {name!r}; there are {', '.join(self._settings.node_names)}"
            )
        return name

    def _service(self, name: str) -> Service:
        if name not in self._urls or name not in self._services:
            raise NotFoundError(f"no service {name!r}; there are {', '.join(self._urls)}")
        return self._services[name]

    def _opened(self) -> Api:
        if self._api is None:
            raise ServiceError("the control plane is not up yet")
        return self._api


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a node failed", exc_info=task.exception(), extra={"task": task.get_name()})
