"""`tridentserve local demo`, as a person types it: to its end, interrupted, and kept."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tridentserve_local.daemon import runs
from tridentserve_local.demo.jobs import JOBS
from tridentserve_local.demo.kept import KeptCluster
from tridentserve_local.folders import Folders, state_home
from tridentserve_local.processes import descendants, is_zombie
from tridentserve_local.settings import ClusterSettings
from tridentserve_local.starting import ClusterError
from tridentserve_local.toolchain import cache

pytestmark = pytest.mark.cluster
COMMAND = [sys.executable, "-m", "tridentserve.cli", "local", "demo"]


@pytest.fixture
def short() -> Iterator[Path]:
    """A home and a folder for temporary files; short paths leave room for those of sockets."""
    folder = Path(tempfile.mkdtemp(prefix="d-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def start(output: Path, temporary: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--output", str(output)],
        env={
            **os.environ,
            "HOME": str(temporary),
            "TMPDIR": str(temporary),
            "TRIDENTSERVE_CACHE": str(cache.folder()),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.models
@pytest.mark.helm
@pytest.mark.load
def test_the_demo_keeps_its_promises_and_leaves_nothing_but_pictures_and_logs(
    tmp_path: Path, short: Path
) -> None:
    with start(tmp_path / "out", short) as demo:
        said, _ = demo.communicate(timeout=600)

    assert demo.returncode == 0, said
    lines = said.splitlines()
    assert all(line.startswith("[") for line in lines), said
    hops = [line for line in lines if " -> node-" in line]
    assert len(hops) == len(JOBS)
    assert any("shm" in line for line in hops)
    assert any("redis" in line for line in hops)
    assert "requests/s x" in said
    assert " NO " not in said
    assert "Proven:" in lines[-1]
    for name in ("sheet.png", *(job.file_name for job in JOBS)):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert any((tmp_path / "out" / "logs").rglob("*.log"))
    assert list(short.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_an_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, short: Path, number: signal.Signals, code: int
) -> None:
    with start(tmp_path / "out", short) as demo:
        assert demo.stdout is not None
        assert any("A DiffusionPipeline is applied" in line for line in demo.stdout)
        everything = descendants(demo.pid)
        states = [folder for folder in short.iterdir() if "local" in folder.name]

        # To the group, as a terminal does for Ctrl-C.
        os.killpg(demo.pid, number)
        rest = demo.stdout.read()

    assert demo.returncode == code, rest
    assert len(everything) > 5
    assert [pid for pid in everything if not is_zombie(pid)] == []
    assert list(short.iterdir()) == []
    assert len(states) == 1
    assert not Folders.of(states[0]).memory.exists()


# The process that is kept is not waited for, on purpose.
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_kept_cluster_outlives_its_block_and_ends_with_down(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(short))
    settings = ClusterSettings(prometheus=False, redis=False)
    down = [*COMMAND[:-1], "down", "--name", "kept"]
    try:
        with KeptCluster("kept", settings, lambda what, seconds: None) as cluster:
            pass

        assert "node-1" in cluster.kubectl("get", "nodes", "-oname")
        with pytest.raises(ClusterError, match="local down --name kept"):
            KeptCluster("kept", settings, lambda what, seconds: None).start()
    finally:
        done = subprocess.run(down, capture_output=True, text=True)
    assert done.stdout == "The cluster 'kept' is gone.\n"
    assert not runs(Folders.of(state_home() / "kept"))
