"""Processes: started with exactly what they were given, ended with all they started."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tridentserve_local.checks import check, port_number
from tridentserve_local.grace import Grace
from tridentserve_local.processes import (
    CONTAINER_MARK,
    Process,
    StartError,
    find_executable,
    is_zombie,
    kill_marked,
    marked,
    start,
)
from tridentserve_local.specs import (
    Action,
    ExecAction,
    GrpcAction,
    HttpAction,
    SleepAction,
    TcpAction,
)
from tridentserve_local.testing import eventually


def run(tmp_path: Path, *command: str, environment: Mapping[str, str] | None = None) -> Process:
    return start(
        command,
        environment=environment or {"PATH": os.defpath},
        folder=tmp_path,
        output=tmp_path / "log",
    )


async def until(look: Callable[[], bool]) -> None:
    """`eventually`, beside an event loop that goes on."""
    await asyncio.to_thread(eventually, look)


async def test_output_of_both_streams_is_appended_in_order(tmp_path: Path) -> None:
    for _ in range(2):
        assert await run(tmp_path, "sh", "-c", "echo out; echo err >&2").wait() == 0

    assert (tmp_path / "log").read_text() == "out\nerr\n" * 2


async def test_a_process_gets_the_environment_it_was_given_and_no_other(tmp_path: Path) -> None:
    await run(tmp_path, "env", environment={"PATH": os.defpath, "A": "1"}).wait()

    assert sorted((tmp_path / "log").read_text().split()) == ["A=1", f"PATH={os.defpath}"]


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", -9), ("exit 0", 0)])
async def test_exit_codes(tmp_path: Path, script: str, code: int) -> None:
    assert await run(tmp_path, "sh", "-c", script).wait() == code


async def test_children_in_the_group_end_with_their_leader(tmp_path: Path) -> None:
    process = run(tmp_path, "sh", "-c", "sleep 600 & echo $!")

    assert await process.wait() == 0

    child = int((tmp_path / "log").read_text())
    await until(lambda: is_zombie(child))


async def test_sigterm_reaches_the_leader_and_kill_everything(tmp_path: Path) -> None:
    process = run(tmp_path, "sh", "-c", "trap 'echo term' TERM; echo up; while :; do sleep 1; done")
    log = tmp_path / "log"
    await until(lambda: log.read_text() == "up\n")

    process.signal(signal.SIGTERM)
    await until(lambda: "term" in log.read_text())
    assert process.returncode is None
    process.kill()

    assert await process.wait() == -9
    process.kill()  # again is nothing
    process.signal(signal.SIGTERM)


@pytest.mark.parametrize(
    "name", ["no-such-command", "./no-such-file", "/etc/passwd", "/etc", "sub"]
)
def test_what_cannot_be_executed_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(StartError, match=name):
        find_executable(name, {"PATH": str(tmp_path)}, tmp_path)


def test_a_command_is_found_by_the_path_of_the_container(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)

    assert find_executable("tool", {"PATH": f"/nowhere:{tmp_path}"}, Path("/")) == str(tool)
    assert find_executable("./tool", {}, tmp_path) == str(tool)


async def test_a_missing_folder_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="missing"):
        start(["true"], environment={}, folder=tmp_path / "missing", output=tmp_path / "log")


async def test_marks_are_inherited_and_find_what_left_its_session(tmp_path: Path) -> None:
    mark = f"test-{os.getpid()}/"
    program = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    environment = {"PATH": os.defpath, CONTAINER_MARK: f"{mark}x"}
    process = run(tmp_path, sys.executable, "-c", program, environment=environment)
    await process.wait()
    (escaped,) = marked(mark)

    assert kill_marked(mark) == 1

    await until(lambda: is_zombie(escaped))
    assert kill_marked(mark) == 0


def test_a_process_has_not_ended_before_its_last_thread_has() -> None:
    program = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
print("up", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stat = Path(f"/proc/{process.pid}/stat")
        try:
            eventually(lambda: ") Z " in stat.read_text(), what="the end of the first thread")

            assert not is_zombie(process.pid)
        finally:
            process.kill()
        eventually(lambda: is_zombie(process.pid), what="the end of the last")


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from tridentserve_local.processes import start
async def main():
    process = start(["sleep", "600"], environment={"PATH": "/usr/bin:/bin"}, folder=Path("/"),
                    output=Path(sys.argv[1]))
    print(process.pid, flush=True)
    await process.wait()
asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        # Before that it is setpriv, which may not yet have asked for its signal.
        name = Path(f"/proc/{child}/comm")
        eventually(lambda: name.read_text() == "sleep\n", what="the command itself")
        parent.kill()

    eventually(lambda: is_zombie(child), what="the end of the child")


async def test_a_grace_period_can_be_shortened_while_it_is_waited_for() -> None:
    grace = Grace(600)
    waiting = asyncio.create_task(grace.outlasts(asyncio.Event().wait()))
    await asyncio.sleep(0)

    grace.shorten(0.01)

    assert await asyncio.wait_for(waiting, 10) is False
    assert grace.remaining_s == 0


async def test_a_grace_period_is_never_lengthened() -> None:
    grace = Grace(0)
    grace.shorten(600)

    assert await grace.outlasts(asyncio.Event().wait()) is False


async def test_what_ends_in_time_outlasts_nothing() -> None:
    assert await Grace(600).outlasts(asyncio.sleep(0)) is True


async def nothing(command: tuple[str, ...]) -> tuple[int, str]:
    return (0, "") if command == ("good",) else (3, "it says why\n")


@pytest.mark.parametrize(
    ("action", "complaint"),
    [
        (ExecAction(command=("bad",)), "command exited with 3: it says why"),
        (
            HttpAction(host="", port=1, path="/", scheme="HTTP", headers=()),
            "GET http://127.0.0.1:1/",
        ),
        (HttpAction(host="", port="x", path="/", scheme="HTTP", headers=()), "no port named 'x'"),
        (TcpAction(host="", port=1), "dial tcp 127.0.0.1:1"),
        (TcpAction(host="", port="x"), "no port named 'x'"),
        (GrpcAction(port=1, service=""), "UNAVAILABLE"),
    ],
)
async def test_a_failed_check_says_why(action: Action, complaint: str) -> None:
    found = await check(action, pod_ip="127.0.0.1", ports={}, run=nothing, timeout_s=60)

    assert found is not None
    assert complaint in found


async def test_a_check_that_is_not_answered_says_how_long_that_was() -> None:
    silent = SleepAction(seconds=600)
    found = await check(silent, pod_ip="127.0.0.1", ports={}, run=nothing, timeout_s=0.1)

    assert found == "no answer within 0.1 s"


async def test_checks_that_pass_say_nothing() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    actions = (
        ExecAction(command=("good",)),
        TcpAction(host="", port="door"),
        SleepAction(seconds=0),
    )
    async with server:
        for action in actions:
            ports = {"door": port}
            assert (
                await check(action, pod_ip="127.0.0.1", ports=ports, run=nothing, timeout_s=60)
                is None
            )


@pytest.mark.parametrize(("port", "expected"), [(80, 80), ("80", 80), ("http", 8080), ("x", None)])
def test_ports_by_number_and_by_name(port: int | str, expected: int | None) -> None:
    assert port_number(port, {"http": 8080}) == expected
