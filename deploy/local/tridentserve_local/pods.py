"""One pod on a node, from the moment it is bound to the moment its object is gone.

Level-based: `update` gives the worker the newest object, and its tasks act on what it says now.
Nothing is remembered that the API server or the processes do not know.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tridentserve.errors import ExhaustedError

from .addresses import AddressPool
from .api import Api
from .backoff import BackoffPolicy
from .containers import ContainerRunner, Setting
from .devices import GPU_RESOURCE, DevicePool
from .environment import Place
from .events import EventSink
from .folders import Folders
from .grace import Grace
from .launching import Launch, Launcher
from .processes import kill_marked
from .reporting import Reporter
from .specs import Container, Pod
from .status import PodView
from .volumes import MountError, Volumes

log = logging.getLogger(__name__)

_MOUNT_RETRY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the pods of one node share."""

    api: Api
    node: str
    host_ip: str
    allocatable: dict[str, str]
    addresses: AddressPool
    devices: DevicePool
    folders: Folders
    events: EventSink
    backoff: BackoffPolicy
    refresh_s: float


class PodWorker:
    """Runs one pod: `run` is its life, `update` and `vanish` what the API server says of it."""

    def __init__(self, pod: Pod, ground: Ground) -> None:
        """Keep the pod as it was first seen; nothing happens before `run`."""
        self.pod = pod
        self.folders = ground.folders.pod(pod.uid, pod.namespace, pod.name)
        self.mark = f"{ground.folders.mark}{ground.node}/{pod.namespace}/{pod.name}/{pod.uid}/"
        self._ground = ground
        self._runners: dict[str, ContainerRunner] = {}
        self._unwanted = asyncio.Event()
        self._grace: Grace | None = None
        self._gone = False
        self._start_time = time.time()
        self._volumes_ready = False
        self._failure: tuple[str, str] | None = None
        self._reporter = Reporter(ground.api, self._view)
        self._place = Place(pod_ip="", host_ip=ground.host_ip, allocatable=ground.allocatable)

    def update(self, pod: Pod) -> None:
        """Takes the newest object; a deletion, or a shorter grace period, takes effect at once."""
        self.pod = pod
        self._reporter.changed()
        if pod.deleted_at is not None:
            self._want_gone(pod.grace_s if pod.deletion_grace_s is None else pod.deletion_grace_s)

    def vanish(self) -> None:
        """The object was deleted by force: end the processes, there is nobody left to tell."""
        self._gone = True
        self._reporter.close()
        self._want_gone(self.pod.deletion_grace_s or 1.0)

    def running(self, container: str) -> bool:
        """Whether a container may still write to its log."""
        runner = self._runners.get(container)
        return runner is not None and not runner.finished

    def restarts(self, container: str) -> int:
        """How often a container has been restarted."""
        runner = self._runners.get(container)
        return 0 if runner is None else runner.view.restarts

    def kill(self) -> None:
        """SIGKILL to all its processes, as a fault."""
        for runner in self._runners.values():
            runner.kill()

    async def run(self) -> None:
        """The pod's life; returns when its object is deleted."""
        reporting = asyncio.ensure_future(self._reporter.run())
        try:
            if not self.pod.finished:
                await self._live()
            await self._unwanted.wait()
        finally:
            self._release()
            reporting.cancel()
        with suppress(asyncio.CancelledError):
            await reporting
        if not self._gone:
            await self._reporter.finish(self.pod)

    async def _live(self) -> None:
        life = asyncio.ensure_future(self._run_containers())
        ending = asyncio.ensure_future(self._end_when_unwanted())
        try:
            await life
        finally:
            life.cancel()
            ending.cancel()
            self._release()
            self._reporter.changed()

    async def _run_containers(self) -> None:
        if not self._admit():
            return
        launcher = self._launcher()
        self._create_runners(launcher)
        self._reporter.changed()
        if not await self._mount(launcher.volumes):
            return
        refreshing = asyncio.ensure_future(self._refresh(launcher.volumes))
        sidecars: list[asyncio.Task[None]] = []
        try:
            for container in self.pod.init_containers:
                if not await self._initialize(container, sidecars):
                    return
            await asyncio.gather(*(self._runners[c.name].run() for c in self.pod.containers))
        finally:
            refreshing.cancel()
            await self._stop_all(sidecar.get_name() for sidecar in sidecars)
            await asyncio.gather(*sidecars)

    def _admit(self) -> bool:
        """Gives the pod its address and its GPUs, or refuses it for good."""
        ground = self._ground
        try:
            pod_ip = ground.addresses.allocate(self.pod.uid)
            for container in self.pod.containers:
                count = int(container.limits.get(GPU_RESOURCE, "0"))
                ground.devices.allocate(self._holder(container), count)
        except ExhaustedError as error:
            self._failure = ("UnexpectedAdmissionError", str(error))
            self._reporter.changed()
            return False
        self._place = replace(self._place, pod_ip=pod_ip)
        return True

    def _launcher(self) -> Launcher:
        ground = self._ground
        host = ground.folders.host(ground.node)
        return Launcher(
            pod=self.pod,
            place=self._place,
            volumes=Volumes(ground.api, self.pod, self._place, self.folders, host),
            folders=self.folders,
            server=ground.api.credentials.server,
            mark=self.mark,
        )

    def _create_runners(self, launcher: Launcher) -> None:
        policy = self.pod.restart_policy
        init_policy = "OnFailure" if policy == "Always" else policy
        for container in self.pod.init_containers:
            chosen = "Always" if container.restart_always else init_policy
            self._runners[container.name] = self._runner(container, chosen, launcher)
        for container in self.pod.containers:
            self._runners[container.name] = self._runner(container, policy, launcher)

    def _runner(self, container: Container, policy: str, launcher: Launcher) -> ContainerRunner:
        devices = self._ground.devices.allocate(self._holder(container), 0)

        def prepare() -> Awaitable[Launch]:
            return launcher.prepare(container, devices)

        def log_file(restarts: int) -> Path:
            return self.folders.log(container.name, restarts)

        setting = Setting(
            prepare=prepare,
            log=log_file,
            mark=f"{self.mark}{container.name}",
            pod_ip=self._place.pod_ip,
            restart_policy=policy,
            grace_s=self.pod.grace_s,
            backoff=self._ground.backoff,
            changed=self._reporter.changed,
            event=self._event,
        )
        # A node that comes back finds pods it ran before: their containers died with it.
        before = self.pod.restarts.get(container.name)
        return ContainerRunner(container, setting, restarts=0 if before is None else before + 1)

    async def _mount(self, volumes: Volumes) -> bool:
        """Provides the volumes, waiting for what is not there yet; whether it came to that."""
        while not self._unwanted.is_set():
            try:
                await volumes.prepare(time.time())
            except (MountError, OSError) as error:
                self._event("Warning", "FailedMount", str(error))
                with suppress(TimeoutError):
                    async with asyncio.timeout(_MOUNT_RETRY_S):
                        await self._unwanted.wait()
            else:
                self._volumes_ready = True
                self._reporter.changed()
                return True
        return False

    async def _refresh(self, volumes: Volumes) -> None:
        while True:
            await asyncio.sleep(self._ground.refresh_s)
            try:
                await volumes.refresh(time.time())
            except (MountError, OSError) as error:
                self._event("Warning", "FailedMount", str(error))

    async def _initialize(self, container: Container, sidecars: list[asyncio.Task[None]]) -> bool:
        """Runs an init container to its end, or a sidecar to its start; whether to go on."""
        runner = self._runners[container.name]
        if not container.restart_always:
            await runner.run()
            return _succeeded(runner) and not self._unwanted.is_set()
        sidecars.append(asyncio.create_task(runner.run(), name=container.name))
        await runner.wait_started()
        return not self._unwanted.is_set()

    async def _end_when_unwanted(self) -> None:
        """Ends all containers as soon as the pod is not wanted, sidecars last."""
        await self._unwanted.wait()
        last = {c.name for c in self.pod.init_containers if c.restart_always}
        await self._stop_all(name for name in self._runners if name not in last)

    async def _stop_all(self, names: Iterable[str]) -> None:
        grace = self._grace or Grace(self.pod.grace_s)
        await asyncio.gather(*(self._runners[name].stop(grace) for name in names))

    def _want_gone(self, grace_s: float) -> None:
        if self._grace is None:
            self._grace = Grace(grace_s)
        self._grace.shorten(grace_s)
        self._unwanted.set()
        self._reporter.changed()

    def _release(self) -> None:
        """Gives back all that the pod held; nothing of it runs any more. Repeatable."""
        kill_marked(self.mark)
        self.folders.remove()
        for container in self.pod.containers:
            self._ground.devices.release(self._holder(container))
        self._ground.addresses.release(self.pod.uid)

    def _holder(self, container: Container) -> str:
        return f"{self.pod.uid}/{container.name}"

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._ground.events.post(self.pod, kind, reason, message)

    def _view(self) -> PodView | None:
        """The pod as it stands; None while there is nothing to tell that is not known."""
        if not self._runners and self._failure is None:
            return None
        views = {name: runner.view for name, runner in self._runners.items()}
        return PodView(
            pod=self.pod,
            host_ip=self._ground.host_ip,
            pod_ip=self._place.pod_ip,
            start_time=self._start_time,
            init=tuple(views[c.name] for c in self.pod.init_containers if c.name in views),
            containers=tuple(views[c.name] for c in self.pod.containers if c.name in views),
            terminating=self._unwanted.is_set(),
            volumes_ready=self._volumes_ready,
            failure=self._failure,
        )


def _succeeded(runner: ContainerRunner) -> bool:
    last = runner.view.last
    return last is not None and last.exit_code == 0
