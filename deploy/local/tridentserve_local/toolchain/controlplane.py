"""Builds the control plane, once for each state of its sources.

The first build on a machine compiles some 2,500 packages and takes minutes; Go keeps them in its
own cache, so a build after a change of our few files takes seconds.
"""

import platform
import re
from collections.abc import Mapping
from pathlib import Path

from tridentserve_local.toolchain import cache, checkout, golang, keys, processes
from tridentserve_local.toolchain.errors import ToolMissingError
from tridentserve_local.toolchain.progress import GoBuildProgress, Report

_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "",  # a user's -mod=vendor would break it
    "GOWORK": "off",
    # The compiler's live memory is small next to what a machine has, and collecting it less often
    # saves about a tenth of the build.
    "GOGC": "200",
}


def key(sources: Path = checkout.CONTROL_PLANE) -> str:
    """What the program is built from: sources, modules, way of building, machine."""
    files = [*sources.glob("*.go"), sources / "go.mod", sources / "go.sum"]
    way = " ".join(command("go", Path("controlplane"), "v0.0"))
    return keys.of_files(sources, files, command=way, machine=platform.machine())


def kubernetes_version(go_mod: str) -> str:
    """The release of Kubernetes that a go.mod asks for.

    >>> kubernetes_version("require k8s.io/kubernetes v1.37.2")
    'v1.37.2'
    """
    found = re.search(r"^\s*(?:require\s+)?k8s\.io/kubernetes (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise ValueError("go.mod does not require k8s.io/kubernetes")
    return found[1]


def command(go: str, output: Path, version: str) -> list[str]:
    """The `go build` of a control plane that says that it is this version of Kubernetes.

    Without a version the server calls itself v0.0.0-master, which kubectl and Helm refuse. No
    debug information, which nobody reads here: it would cost a tenth of the build and double it
    in size.
    """
    major, minor = version.removeprefix("v").split(".")[:2]
    variables = {
        "k8s.io/component-base/version.gitVersion": version,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in variables.items())])
    options = ["-trimpath", "-buildvcs=false", "-gcflags=all=-dwarf=false", f"-ldflags={flags}"]
    return [go, "build", "-v", *options, "-o", str(output), "."]


def is_built() -> bool:
    """Whether `build` would answer at once."""
    return cache.find(cache.folder(), "controlplane", key()) is not None


def build(report: Report) -> Path:
    """The program, built now or before.

    Raises:
        ToolMissingError: there is no Go, or the build failed; its last lines are in the message.
    """
    if not (checkout.CONTROL_PLANE / "go.mod").is_file():
        raise ToolMissingError(
            "the control plane", "its sources come with a checkout only", "git clone"
        )

    def make(into: Path) -> None:
        _compile(into / "controlplane", report)

    def waiting() -> None:
        report("another process is building it")

    made = cache.entry(cache.folder(), "controlplane", key(), make, waiting=waiting)
    return made / "controlplane"


def _compile(output: Path, report: Report) -> None:
    sources = checkout.CONTROL_PLANE
    go = str(golang.find(report))
    version = kubernetes_version((sources / "go.mod").read_text())
    argv = command(go, output, version)
    try:
        report("counting packages")
        progress = GoBuildProgress(_count_packages(go, sources, report))
        _run(argv, sources, progress, report)
    except processes.CommandFailedError as error:
        retry = f"cd {sources} && go build ."
        raise ToolMissingError("the control plane", f"building failed\n{error}\n", retry) from error


def _count_packages(go: str, sources: Path, report: Report) -> int:
    """How many packages the program consists of; fetches the modules that hold them."""
    listed: Mapping[str, None] = dict.fromkeys(
        _run([go, "list", "-deps", "."], sources, GoBuildProgress(0), report).splitlines()
    )
    return len([line for line in listed if not line.startswith("go: ")])


def _run(argv: list[str], sources: Path, progress: GoBuildProgress, report: Report) -> str:
    def each_line(line: str) -> None:
        if (line.startswith("go: ") or "list" not in argv) and (news := progress.read(line)):
            report(news)

    return processes.run(argv, folder=sources, environment=_ENVIRONMENT, each_line=each_line)
