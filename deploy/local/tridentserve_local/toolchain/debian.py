"""Programs out of Debian packages, unpacked into a folder rather than installed.

Nothing is configured and no service starts, and no rights are needed: an ordinary user whose
machine has no package lists gets lists of their own, in the cache.
"""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tridentserve_local.toolchain import cache, processes
from tridentserve_local.toolchain.errors import ToolMissingError

# Not in the user's language, for we read it.
_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def available() -> bool:
    """Whether this is Debian or one of its children."""
    return all(shutil.which(program) for program in ("apt-get", "dpkg"))


def release(os_release: Path = Path("/etc/os-release")) -> str:
    """This distribution and machine as a key: packages of another do not run here."""
    text = os_release.read_text() if os_release.exists() else ""
    values = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', text, re.MULTILINE))
    return f"{values.get('ID', 'linux')}{values.get('VERSION_ID', '')}-{platform.machine()}"


def packages_to_unpack(package: str, simulated: str, *, beside: tuple[str, ...] = ()) -> list[str]:
    """Out of what apt-get would install: the package, those named, and missing libraries.

    Fonts, scripts of web pages and tools of the init system are left out; a program that is only
    run does not read them.

    >>> packages_to_unpack("redis-server", "Inst liblzf1 (3.6-3 Debian:12.15)", beside=("tools",))
    ['redis-server', 'liblzf1', 'tools']
    """
    planned = re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)
    libraries = [name for name in planned if name.startswith("lib") and name[3:6] != "js-"]
    return list(dict.fromkeys([package, *libraries, *beside]))


def has_candidate(policy: str) -> bool:
    """Whether `apt-cache policy` of a package found one to fetch.

    A package that an installed one only suggests is known, but not from where; so where there are
    no lists, being known is not enough.
    """
    return re.search(r"^\s*Candidate: (?!\(none\))", policy, re.MULTILINE) is not None


def library_folders(root: Path) -> list[Path]:
    """The folders below `root` that hold shared libraries, for LD_LIBRARY_PATH."""
    return sorted({file.parent for file in root.glob("**/*.so*") if "/lib" in str(file.parent)})


def unpack(package: str, into: Path, *, beside: tuple[str, ...] = ()) -> None:
    """Unpack a package, those named `beside` it, and the libraries that this machine lacks.

    Raises:
        CommandFailedError: apt-get does not know the package or cannot reach its server.
    """
    options = _options_with_lists(package)
    plan = _apt_get("install", *options, "--simulate", "--no-install-recommends", package)
    with tempfile.TemporaryDirectory(dir=into) as scratch:
        names = packages_to_unpack(package, plan, beside=beside)
        _apt_get("download", *options, *names, folder=Path(scratch))
        for file in sorted(Path(scratch).glob("*.deb")):
            processes.run(["dpkg", "--extract", str(file), str(into)])


def install(*packages: str) -> None:
    """Install packages on the system as root; services that they bring are not started.

    Raises:
        ToolMissingError: this is not root, or apt-get failed.
    """
    command = f"sudo apt-get install --yes {' '.join(packages)}"
    name = " and ".join(packages)
    if not available():
        raise ToolMissingError(name, "this is not a Debian or Ubuntu machine", command)
    if os.geteuid() != 0:
        raise ToolMissingError(name, "installing it takes root", command)
    try:
        for package in packages:
            _options_with_lists(package)
        with _no_services():
            _apt_get("install", "--yes", "--no-install-recommends", *packages)
    except processes.CommandFailedError as error:
        raise ToolMissingError(name, f"apt-get failed\n{error}\n", command) from error


@contextmanager
def _no_services(policy: Path = Path("/usr/sbin/policy-rc.d")) -> Iterator[None]:
    """While it lasts, packages that are installed find the start of services forbidden."""
    if policy.exists():  # somebody else's policy, as in most containers
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _options_with_lists(package: str) -> list[str]:
    """Options under which apt-get knows the package, having fetched its lists if need be."""
    if _knows(package, []):
        return []
    if os.geteuid() == 0:
        _apt_get("update")
        return []
    private = cache.folder() / "apt"
    options = [f"-oDir::State::Lists={private / 'lists'}", f"-oDir::Cache={private / 'cache'}"]
    for folder in ("lists/partial", "cache/archives/partial"):
        (private / folder).mkdir(parents=True, exist_ok=True)
    if not _knows(package, options):
        _apt_get("update", *options)
    return options


def _knows(package: str, options: list[str]) -> bool:
    return has_candidate(
        processes.run(["apt-cache", *options, "policy", package], environment=_ENVIRONMENT)
    )


def _apt_get(*arguments: str, folder: Path | None = None) -> str:
    # Without the sandbox option it complains that its own user cannot read a private folder.
    argv = ["apt-get", "-oAPT::Sandbox::User=root", "-qq", *arguments]
    return processes.run(argv, folder=folder, environment=_ENVIRONMENT)
