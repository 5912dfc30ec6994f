"""Builds the control plane, once for each state of its sources.

The first build on a machine compiles some 2,500 packages and takes minutes; Go keeps them in its
own cache, so a build after a change of our few files takes seconds.
"""

import platform
import re
from collections.abc import Callable
from pathlib import Path

from tridentserve_local.toolchain import cache, checkout, golang, keys, processes
from tridentserve_local.toolchain.errors import ToolMissingError
from tridentserve_local.toolchain.progress import GoBuildProgress, Report

ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "",  # a user's -mod=vendor would break it
    "GOWORK": "off",
    # The compiler's live memory is small next to what a machine has, and collecting it less often
    # saves about a tenth of the build.
    "GOGC": "200",
}
"""What every call of Go here needs. Another value compiles all packages again."""

OPTIONS = ("-trimpath", "-gcflags=all=-dwarf=false")
"""What every compiling call needs: no debug information, which costs a tenth of the build."""


def key(sources: Path = checkout.CONTROL_PLANE) -> str:
    """What the program is built from: sources, modules, way of building, machine."""
    code = [file for file in sources.glob("*.go") if not file.name.endswith("_test.go")]
    files = [*code, sources / "go.mod", sources / "go.sum"]
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

    Without a version the server calls itself v0.0.0-master, which kubectl and Helm refuse.
    """
    major, minor = version.removeprefix("v").split(".")[:2]
    variables = {
        "k8s.io/component-base/version.gitVersion": version,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }
    flags = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in variables.items())])
    options = [*OPTIONS, "-buildvcs=false", f"-ldflags={flags}"]
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
    go = str(golang.find(report))
    version = kubernetes_version((checkout.CONTROL_PLANE / "go.mod").read_text())
    try:
        report("counting packages")
        progress = GoBuildProgress(_count_packages(go, report))

        def each_line(line: str) -> None:
            if news := progress.read(line):
                report(news)

        _run(command(go, output, version), each_line)
    except processes.CommandFailedError as error:
        problem = f"building it failed\n{error}\n"
        raise ToolMissingError("the control plane", problem, "make setup") from error


def _count_packages(go: str, report: Report) -> int:
    """How many packages the program consists of; fetches the modules that hold them."""
    progress = GoBuildProgress(0)
    packages = 0

    def each_line(line: str) -> None:
        nonlocal packages
        if not line.startswith("go: "):
            packages += 1
        elif news := progress.read(line):
            report(news)

    _run([go, "list", "-deps", "."], each_line)
    return packages


def _run(argv: list[str], each_line: Callable[[str], None]) -> None:
    processes.run(argv, folder=checkout.CONTROL_PLANE, environment=ENVIRONMENT, each_line=each_line)
