"""Processes that train together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.models

_PROGRAM = """\
import os, sys, time
from pathlib import Path
from train_shapes import workers

def work(worker, folder):
    (folder / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    workers.run(work, 2, Path(sys.argv[1]))
"""
_WITHIN_S = 180.0


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_workers_of_a_killed_training_do_not_train_on(tmp_path: Path) -> None:
    program, started = tmp_path / "program.py", tmp_path / "started"
    program.write_text(_PROGRAM)
    started.mkdir()
    tools = Path(__file__).parents[2] / "tools"
    training = subprocess.Popen(
        [sys.executable, str(program), str(started)], env=os.environ | {"PYTHONPATH": str(tools)}
    )
    limit = time.monotonic() + _WITHIN_S
    while len(pids := [int(one.name) for one in started.iterdir()]) < 2:
        assert time.monotonic() < limit, "the workers did not come up"
        assert training.poll() is None
        time.sleep(0.05)

    training.send_signal(signal.SIGKILL)
    training.wait()

    while any(alive(pid) for pid in pids):
        assert time.monotonic() < limit, "a worker outlived its training"
        time.sleep(0.05)
