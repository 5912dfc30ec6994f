"""What exactly is started for a container: command, environment, folder.

The only variables that the node adds are listed in `_given`; nothing of the node's own environment
passes on, so that what runs here does not depend on the shell in which somebody typed `up`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .environment import ConfigError, Place, command_line, objects_needed, resolve
from .folders import PodFolders
from .paths import rewrite, working_directory
from .processes import CONTAINER_MARK
from .specs import Container, Pod
from .tokens import write_kubeconfig
from .volumes import SERVICE_ACCOUNT_PATH, Volumes

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """All that `processes.start` needs, and the mounts to rewrite later commands by."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    mounts: Mapping[str, Path]

    def rewritten(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Another command of the same container, such as a probe's."""
        return tuple(rewrite(word, self.mounts) for word in command)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """Prepares the containers of one pod."""

    pod: Pod
    place: Place
    volumes: Volumes
    folders: PodFolders
    server: str
    mark: str

    async def prepare(self, container: Container, devices: tuple[str, ...]) -> Launch:
        """What to start now; asked again before every restart, since config maps change.

        Raises:
            ConfigError: something it needs is missing.
            ApiError: the API server does not answer.
        """
        objects = await self.volumes.objects(objects_needed(container))
        # Sub-paths may name variables, and variables may name mounts: mounts come second, and only
        # the finished values are rewritten.
        values = resolve(container, self.pod, self.place, objects, self._given(devices))
        mounts = self.volumes.mounts(container, values)
        environment = {name: rewrite(value, mounts) for name, value in values.items()}
        if "TMPDIR" not in values:
            environment["TMPDIR"] = str(mounts.get("/tmp", self.folders.root / "tmp"))
        account = mounts.get(SERVICE_ACCOUNT_PATH)
        if account is not None and "KUBECONFIG" not in values:
            environment["KUBECONFIG"] = str(self._kubeconfig(account))
        environment[CONTAINER_MARK] = f"{self.mark}{container.name}"
        home = self.folders.root / "home"
        folder = working_directory(container.working_dir, mounts, home)
        folder.mkdir(parents=True, exist_ok=True)
        command = tuple(rewrite(word, mounts) for word in command_line(container, values))
        _check(environment, command)
        return Launch(command=command, environment=environment, folder=folder, mounts=mounts)

    def _given(self, devices: tuple[str, ...]) -> dict[str, str]:
        server = urlsplit(self.server)
        given = {
            # Not resolved: a virtual environment's python is a link, and its folder is what counts.
            "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
            "HOME": str(self.folders.root / "home"),
            "HOSTNAME": self.pod.hostname,
            "LANG": "C.UTF-8",
            "KUBERNETES_SERVICE_HOST": server.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(server.port or 443),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(server.port or 443),
        }
        if devices:
            given["NVIDIA_VISIBLE_DEVICES"] = ",".join(devices)
        return given

    def _kubeconfig(self, account: Path) -> Path:
        path = self.folders.root / "kubeconfig"
        write_kubeconfig(path, server=self.server, account=account, namespace=self.pod.namespace)
        return path


def _check(environment: Mapping[str, str], command: tuple[str, ...]) -> None:
    """Refuses what the kernel would: a NUL byte, which a secret may well hold."""
    for name, value in environment.items():
        if "\0" in value:
            raise ConfigError(f"environment variable {name!r} holds a NUL byte")
    if any("\0" in word for word in command):
        raise ConfigError("the command line holds a NUL byte")
