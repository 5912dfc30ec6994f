"""Takes a machine from a fresh clone to a project that runs, in one call that may be repeated.

The control plane's first build takes minutes of processor time, the Python packages' gigabytes of
download, so the two go side by side. What is done is remembered by what it was done from; a call
that finds nothing changed does nothing and takes a fraction of a second.
"""

import importlib.util
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tridentserve_local.toolchain import checkout, controlplane, debian, keys, processes, tools
from tridentserve_local.toolchain.errors import ToolMissingError
from tridentserve_local.toolchain.progress import Board, PipProgress

_VENV = checkout.ROOT / ".venv"
_PYTHON = _VENV / "bin" / "python"
_STAMP = _VENV / "tridentserve-setup"
_PATIENCE_S = 2.0
"""For programs to end that were told to."""
_PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

# The small ones, which take seconds each.
_FETCHED: dict[str, Callable[[], tools.Tool]] = {
    "kubectl": tools.kubectl,
    "helm": tools.helm,
    "Redis": tools.redis_server,
    "Prometheus": tools.prometheus,
}


def run(board: Board, *, require_tools: bool = True) -> None:
    """Do all of the set-up that is not done yet.

    Without `require_tools` a tool that cannot be had is named, and the rest goes on.

    Raises:
        ToolMissingError: what is needed cannot be had; the message says what a person can do.
    """
    signal.signal(signal.SIGTERM, _exit)  # a killed `make` must not leave a build behind
    key = python_key(checkout.ROOT, _PYTHON_VERSION)
    missing: list[ToolMissingError] = []
    with board.shown():
        install = not python_is_set_up(_STAMP, key)
        if install:
            _make_venv(board)  # first, for its pip can bring a Go
        with _control_plane_beside(board, missing):
            if install:
                _install_packages(board)
                _STAMP.write_text(key)
            _fetch_tools(board, missing)
    for error in missing:
        board.say(str(error))
    if missing and require_tools:
        raise missing[0]


@contextmanager
def _control_plane_beside(board: Board, missing: list[ToolMissingError]) -> Iterator[None]:
    """Build the control plane, if it is not built, while the block runs; wait for it at its end."""
    if controlplane.is_built():
        yield
        return
    built = threading.Event()
    # A daemon: interrupted, nobody waits for it any longer where it waits for another's build.
    build = threading.Thread(target=_build_control_plane, args=(board, missing, built), daemon=True)
    build.start()
    try:
        yield
        # Not join(): one that a signal interrupts takes the thread for ended (Python before 3.13).
        built.wait()
    except BaseException:
        processes.end_all()
        built.wait(_PATIENCE_S)
        raise


def python_is_set_up(stamp: Path, key: str) -> bool:
    """Whether the packages were installed from what is there now."""
    return stamp.is_file() and stamp.read_text() == key


def python_key(root: Path, python: str) -> str:
    """What the installation rests on: the project file, the protocol it generates, the Python."""
    protocol = (path for path in (root / "protos").rglob("*") if path.suffix in (".proto", ".py"))
    return keys.of_files(root, [root / "pyproject.toml", *protocol], python=python)


def _exit(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def _make_venv(board: Board) -> None:
    """A virtual environment with a pip that knows dependency groups (25.1)."""
    with board.part("virtual environment") as report:
        report("creating .venv")
        if importlib.util.find_spec("ensurepip") is None:  # Debian packs it apart
            debian.install(f"python{_PYTHON_VERSION}-venv")
        if not _has_pip():
            _installing([sys.executable, "-m", "venv", str(_VENV)])
        report("updating pip")
        _installing([str(_PYTHON), "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"])


def _has_pip() -> bool:
    try:
        processes.run([str(_PYTHON), "-m", "pip", "--version"])
    except processes.CommandFailedError:
        return False
    return True


def _install_packages(board: Board) -> None:
    progress = PipProgress()
    options = ["--progress-bar=raw", "--disable-pip-version-check"]
    what = ["--editable", f"{checkout.ROOT}[all]", "--group", f"{checkout.ROOT}/pyproject.toml:dev"]
    with board.part("Python packages") as report:

        def each_line(line: str) -> None:
            if news := progress.read(line):
                report(news)

        report("starting pip")
        _installing([str(_PYTHON), "-m", "pip", "install", *options, *what], each_line)
    board.say("the Python packages are installed")


def _installing(argv: list[str], each_line: Callable[[str], None] = lambda line: None) -> None:
    try:
        processes.run(argv, each_line=each_line)
    except processes.CommandFailedError as error:
        problem = f"installing it failed\n{error}\n"
        raise ToolMissingError("the Python environment", problem, "make setup") from error


def _build_control_plane(
    board: Board, missing: list[ToolMissingError], built: threading.Event
) -> None:
    try:
        with board.part("control plane") as report:
            controlplane.build(report)
        board.say("the control plane is built")
    except ToolMissingError as error:
        missing.append(error)
    finally:
        built.set()


def _fetch_tools(board: Board, missing: list[ToolMissingError]) -> None:
    with board.part("tools") as report:
        for name, fetch in _FETCHED.items():
            report(f"fetching {name}")
            try:
                fetch()
            except ToolMissingError as error:
                missing.append(error)
