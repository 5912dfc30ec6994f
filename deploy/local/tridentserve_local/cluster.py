"""A local cluster for programs: tests, the demo, `tridentserve local`.

    with LocalCluster(nodes=2) as cluster:
        subprocess.run(["kubectl", "--kubeconfig", cluster.kubeconfig, "get", "nodes"])

The cluster runs in processes of its own, so a test may block, crash or be killed: the cluster ends
with whoever started it. What a `LocalCluster` cannot do is restart a control plane.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tridentserve.errors import UnavailableError

from .asking import ask
from .folders import Folders
from .processes import descendants
from .settings import ClusterSettings
from .starting import ClusterError, Progress, fetch_tools, launch
from .toolchain import tools
from .wire import Json

_STOP_S = 30.0
_KUBECTL_S = 120.0
"""For commands that never end by themselves, such as a log that is followed."""


class LocalCluster:
    """A cluster that lives as long as the `with` block, or `start` to `stop`."""

    def __init__(
        self,
        *,
        nodes: int = 1,
        gpus: int = 0,
        settings: ClusterSettings | None = None,
        progress: Progress = lambda what, seconds: None,
    ) -> None:
        """Choose what it is made of; nothing starts yet. `settings` stand for all other choices."""
        self._settings = settings or ClusterSettings(nodes=nodes, gpus=gpus)
        self._progress = progress
        self._folders: Folders | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._description: Json = {}

    def start(self) -> LocalCluster:
        """Brings it up: seconds, or minutes where the control plane is not built yet.

        Raises:
            ClusterError: it did not come up.
            ToolMissingError: a program is not to be had; the message says what to do.
        """
        fetch_tools(self._settings)
        state = Path(tempfile.mkdtemp(prefix="tridentserve-local-"))
        self._folders = Folders.of(state)
        try:
            self._process, self._description = launch(
                self._folders, self._settings, with_stdin=True, remove=True, progress=self._progress
            )
        except BaseException:
            self._folders.remove()
            raise
        return self

    def stop(self) -> None:
        """Ends everything; nothing is left of it. Repeatable."""
        process, self._process = self._process, None
        if process is None or self._folders is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the end of stdin is what it stops at
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            for pid in descendants(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(_STOP_S)  # the reaper, which has nothing left to wait for
        finally:
            self._folders.remove()

    @property
    def kubeconfig(self) -> Path:
        """Of a cluster administrator."""
        return Path(self._description["kubeconfig"])

    @property
    def client_environment(self) -> dict[str, str]:
        """What makes kubectl and Helm talk to it, and leave nothing in the home directory."""
        cache = self.kubeconfig.parent / "cache"
        return {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(cache)}

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._description["server"])

    @property
    def redis_url(self) -> str:
        """`redis://…`, "" without Redis."""
        return str(self._description["redis_url"])

    @property
    def prometheus_url(self) -> str:
        """`http://…`, "" without Prometheus."""
        return str(self._description["prometheus_url"])

    @property
    def logs(self) -> Path:
        """Folder of all logs: `NAMESPACE_POD_UID/CONTAINER/N.log`, and one file a service."""
        return Path(self._description["logs"])

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes."""
        return self._settings.node_names

    @property
    def supervisor_pid(self) -> int:
        """The process that all others are children of, for tests that kill it."""
        return int(self._description["pid"])

    @property
    def reaper_pid(self) -> int:
        """The process above the supervisor, which cleans up after it."""
        return self._running().pid

    @property
    def memory_folder(self) -> Path:
        """The tmpfs folder of this cluster."""
        return Path(self._description["memory"])

    def status(self) -> Json:
        """What runs now, as `tridentserve local status --json` prints it."""
        return self._ask("GET", "/status")

    def processes(self, namespace: str = "", pod: str = "") -> dict[int, str]:
        """Processes of containers by pid, with `node/namespace/pod/uid/container`."""
        found = self._ask("GET", f"/processes?namespace={namespace}&pod={pod}")
        return {int(pid): str(where) for pid, where in found.items()}

    def pod_pids(self, namespace: str, name: str) -> list[int]:
        """Process ids of a pod, lowest first."""
        return sorted(self.processes(namespace, name))

    def pod_memory_files(self) -> list[Path]:
        """Files on tmpfs in volumes of pods (`emptyDir` of medium Memory)."""
        return _files(self.memory_folder / "p")

    def host_files(self, node: str = "") -> list[Path]:
        """Files on tmpfs that hostPath volumes see, of one node or of all; they outlive pods."""
        return _files(self.memory_folder / "n" / node)

    def kill_pod(self, namespace: str, name: str) -> int:
        """SIGKILL to all processes of a pod, as a fault; how many there were."""
        return int(self._ask("POST", f"/pods/{namespace}/{name}/kill")["killed"])

    def kill_node(self, name: str, *, forget: bool = False) -> None:
        """A power failure: its processes die and it falls silent.

        The control plane notices after 40 s; `forget` deletes the node and its pods from the API
        at once, as a cloud's controller does.
        """
        self._ask("POST", f"/nodes/{name}/kill?forget={str(forget).lower()}")

    def start_node(self, name: str) -> None:
        """Boots a node that was killed."""
        self._ask("POST", f"/nodes/{name}/start")

    def stop_prometheus(self) -> None:
        """Stops Prometheus; its data stays."""
        self._ask("POST", "/services/prometheus/stop")

    def start_prometheus(self) -> None:
        """Starts Prometheus again at the same URL."""
        self._ask("POST", "/services/prometheus/start")

    def stop_redis(self) -> None:
        """Stops Redis; what it held is lost."""
        self._ask("POST", "/services/redis/stop")

    def start_redis(self) -> None:
        """Starts Redis again at the same URL, empty."""
        self._ask("POST", "/services/redis/start")

    def restart_redis(self) -> None:
        """Both: Redis forgets everything."""
        self.stop_redis()
        self.start_redis()

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What `kubectl` prints; its errors are raised, unless `check` is False."""
        tool = tools.kubectl()
        done = subprocess.run(
            tool.argv(*arguments),
            env={**os.environ, **tool.environment, **self.client_environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_KUBECTL_S,
            check=False,
        )
        if check and done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def keep_logs(self, folder: Path) -> None:
        """Copies all logs out of the cluster, which takes its own along when it ends."""
        shutil.copytree(self.logs, folder, dirs_exist_ok=True)

    def __enter__(self) -> LocalCluster:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> LocalCluster:
        """Start without blocking the event loop."""
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop without blocking the event loop."""
        await asyncio.to_thread(self.stop)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ClusterError("the cluster does not run")
        return self._process

    def _ask(self, verb: str, route: str) -> Json:
        if self._folders is None:
            raise UnavailableError("the cluster has not been started")
        return ask(self._folders.control, verb, route)


def _files(folder: Path) -> list[Path]:
    """Whatever is no folder. Pods write and end meanwhile; `rglob` fails where a folder went."""
    return sorted(Path(top, name) for top, _, names in os.walk(folder) for name in names)
