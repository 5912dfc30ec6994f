"""A control plane says once that it is ready, stops when told, and leaves nothing behind."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tridentserve_local.testing import eventually
from tridentserve_local.toolchain.trial import LIMIT_S, Trial, is_gone, stop

pytestmark = pytest.mark.cluster


def test_it_says_once_that_it_is_ready_and_stops_when_told_without_a_trace(trial: Trial) -> None:
    process, ready = trial.start()

    assert ready.pid == process.pid
    assert ready.version.startswith("v1.37.")
    assert ready.server.startswith("https://127.0.0.1:")
    assert ready.kubeconfig.is_file()
    assert stop(process) == ("", "")
    assert process.returncode == 0
    assert list(trial.temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_terminal_that_interrupts_or_closes_stops_it_too(
    trial: Trial, number: signal.Signals
) -> None:
    process, _ = trial.start()

    process.send_signal(number)

    assert process.wait(LIMIT_S) == 0
    assert list(trial.temporary.iterdir()) == []


def test_a_start_that_is_stopped_half_way_is_no_failure_and_leaves_nothing(trial: Trial) -> None:
    process = trial.launch()
    eventually(lambda: list(trial.temporary.glob("*/etcd/member")), within_s=LIMIT_S)

    assert stop(process) == ("", "")
    assert process.returncode == 0
    assert list(trial.temporary.iterdir()) == []


def test_the_log_goes_where_it_is_told(trial: Trial, tmp_path: Path) -> None:
    process, _ = trial.start("--log", str(tmp_path / "the.log"))
    stop(process)

    assert "stopping" in (tmp_path / "the.log").read_text()


STARTS_A_CONTROL_PLANE_AND_WAITS = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:])
time.sleep(1000)
"""


def test_it_goes_with_a_parent_that_is_killed(trial: Trial) -> None:
    parent = trial.launch_command(
        [
            *(sys.executable, "-c", STARTS_A_CONTROL_PLANE_AND_WAITS),
            *(str(trial.program), "--die-with-parent"),
        ]
    )
    ready = trial.await_ready(parent)

    parent.kill()

    eventually(lambda: is_gone(ready.pid), within_s=LIMIT_S)
    assert list(trial.temporary.iterdir()) == []


def test_it_does_not_even_start_for_a_parent_that_is_gone_already(trial: Trial) -> None:
    process = trial.launch(f"--die-with-parent={os.getppid()}")

    assert process.communicate(timeout=LIMIT_S) == ("", "")
    assert process.returncode == 0
    assert list(trial.temporary.iterdir()) == []


def test_a_restart_keeps_the_objects_the_address_and_the_tokens(
    trial: Trial, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    process, first = trial.start("--data", str(data))
    first.must("create", "configmap", "kept", "--from-literal=a=1")
    kubeconfig = data / "kubeconfig"
    before = kubeconfig.read_text()
    stop(process)

    process, second = trial.start("--data", str(data))

    assert second.must("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "1"
    assert second.server == first.server
    assert kubeconfig.read_text() == before
    stop(process)
    assert kubeconfig.exists()


def test_a_restart_after_a_kill_keeps_the_objects(trial: Trial, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    process, first = trial.start("--data", data)
    first.must("create", "configmap", "kept", "--from-literal=a=1")
    process.kill()
    process.wait(LIMIT_S)

    _, second = trial.start("--data", data)

    assert second.must("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "1"


def test_two_run_side_by_side_but_not_in_one_folder(trial: Trial, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    _, first = trial.start("--data", data)
    refused = trial.launch("--data", data)

    assert "is in use by another control plane" in refused.communicate(timeout=LIMIT_S)[1]
    assert refused.returncode == 1
    _, second = trial.start()
    assert second.server != first.server
    first.must("create", "configmap", "only-here")
    assert "NotFound" in second.ask("get", "configmap", "only-here").stderr


@pytest.mark.parametrize("damaged", ["tokens.csv", "service-account.key", "certificates", "etcd"])
def test_a_folder_that_is_damaged_is_refused_with_a_reason(
    trial: Trial, tmp_path: Path, damaged: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / damaged).write_text("nonsense")

    process = trial.launch("--data", str(data))

    printed, complaint = process.communicate(timeout=LIMIT_S)
    assert printed == ""
    assert complaint.startswith("controlplane: ")
    assert process.returncode == 1


@pytest.mark.parametrize("arguments", [["surplus"], ["--no-such-option"], ["--data"]])
def test_a_wrong_command_line_is_refused(trial: Trial, arguments: list[str]) -> None:
    process = trial.launch(*arguments)

    assert process.communicate(timeout=LIMIT_S)[0] == ""
    assert process.returncode == 2
