"""Where everything of a local cluster lies on disk, and in memory.

    STATE/                     one cluster; `$XDG_STATE_HOME/tridentserve/local/NAME`
      lock                     held while the cluster runs
      state.json               what runs, written once all of it does
      startup.log              tracebacks of what did not start
      kubeconfig               for the person who typed `up`
      controlplane/ prometheus/ redis/
      p/UID/                   a pod: v/VOLUME/, tmp/, home/, kubeconfig
      logs/                    NAMESPACE_POD_UID/CONTAINER/0.log, and a file for each service
    MEMORY/                    tmpfs; `/dev/shm/tridentserve-USER-HASH`
      control                  the socket that `status`, `down` and `LocalCluster` talk to
      p/UID/VOLUME/            emptyDir volumes of `medium: Memory`
      n/NODE/                  the "host" that hostPath volumes of a node see

Paths of pods are kept short, since the path of a unix socket has at most 107 bytes and programs
open them below TMPDIR.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

_TMPFS = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The folders of one cluster."""

    state: Path
    memory: Path

    @classmethod
    def of(cls, state: Path) -> Folders:
        """The folders of the cluster whose state lies in `state`; nothing is created."""
        digest = hashlib.sha256(str(state).encode()).hexdigest()[:10]
        base = _TMPFS if os.access(_TMPFS, os.W_OK) else Path(tempfile.gettempdir())
        return cls(state=state, memory=base / f"tridentserve-{os.getuid()}-{digest}")

    @property
    def mark(self) -> str:
        """What the container marks of this cluster start with."""
        return f"{self.memory.name}/"

    @property
    def lock(self) -> Path:
        """Locked for as long as the cluster runs."""
        return self.state / "lock"

    @property
    def description(self) -> Path:
        """What runs, as JSON."""
        return self.state / "state.json"

    @property
    def startup_log(self) -> Path:
        """What the processes of the cluster say on stderr."""
        return self.state / "startup.log"

    @property
    def kubeconfig(self) -> Path:
        """For people and tests: cluster administrator."""
        return self.state / "kubeconfig"

    @property
    def certificates(self) -> Path:
        """Certificate and key of the API server."""
        return self.state / "controlplane" / "certificates"

    @property
    def logs(self) -> Path:
        """Of pods and of services."""
        return self.state / "logs"

    @property
    def control(self) -> Path:
        """The control socket, in the short one of the two folders."""
        return self.memory / "control"

    def create(self) -> None:
        """Creates both for this user alone: pods' secrets will lie in them."""
        for folder in (self.state, self.memory):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        self.logs.mkdir(exist_ok=True)

    def remove_memory(self) -> None:
        """Gives the tmpfs folder's memory back."""
        shutil.rmtree(self.memory, ignore_errors=True)

    def remove(self) -> None:
        """Removes both."""
        self.remove_memory()
        shutil.rmtree(self.state, ignore_errors=True)

    def pod(self, uid: str, namespace: str, name: str) -> PodFolders:
        """The folders of a pod."""
        short = uid.replace("-", "")[:12]
        return PodFolders(
            root=self.state / "p" / short,
            memory=self.memory / "p" / short,
            logs=self.logs / f"{namespace}_{name}_{uid}",
        )

    def host(self, node: str) -> Path:
        """The root of what hostPath volumes see on a node."""
        return self.memory / "n" / node


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFolders:
    """The folders of one pod."""

    root: Path
    memory: Path
    logs: Path

    def create(self) -> None:
        """Creates what every pod has; volumes create their own."""
        for folder in (self.root / "v", self.root / "tmp", self.root / "home"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        """Removes all but the logs, which are read when a pod is gone."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.memory, ignore_errors=True)

    def log(self, container: str, restarts: int) -> Path:
        """The log of one run of a container."""
        return self.logs / container / f"{restarts}.log"


def state_home() -> Path:
    """Where named clusters are kept."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "tridentserve" / "local"
