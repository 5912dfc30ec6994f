"""`tridentserve local`: up, status, down, as a person types them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tridentserve_local.daemon import runs
from tridentserve_local.folders import Folders
from tridentserve_local.processes import descendants, is_zombie, marked
from tridentserve_local.testing import eventually
from tridentserve_local.testing_pods import pod, shell
from tridentserve_local.toolchain import cache, tools
from tridentserve_local.wire import Json

NOBODY = 65534


class Person:
    """Types commands, with a state folder of their own."""

    def __init__(self, home: Path, prefix: tuple[str, ...] = ()) -> None:
        """Live in `home`; `prefix` says as whom."""
        self.home = home
        self.prefix = prefix
        self.environment: Mapping[str, str] = {
            **os.environ,
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "TRIDENTSERVE_CACHE": str(cache.folder()),
        }

    def types(self, *words: str) -> tuple[int, str]:
        """Exit status and output of `tridentserve local …`."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-m", "tridentserve.cli", "local", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            cwd="/",
        )
        return done.returncode, done.stdout + done.stderr

    def folders(self, name: str = "default") -> Folders:
        """Where a cluster of this person lies."""
        return Folders.of(self.home / "state" / "tridentserve" / "local" / name)

    def status(self) -> Json:
        """What runs."""
        code, output = self.types("status", "--json")
        assert code == 0, output
        found: Json = json.loads(output)
        return found


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    someone = Person(tmp_path)
    yield someone
    someone.types("down")


@pytest.mark.cluster
def test_up_status_down_and_nothing_is_left(person: Person) -> None:
    code, output = person.types("up", "--nodes", "2", "--gpus", "1")
    assert code == 0, output
    assert "export KUBECONFIG=" in output
    status = person.status()
    pid = status["pid"]
    everything = {pid, *descendants(pid)}
    assert set(status["nodes"]) == {"node-1", "node-2"}

    again, says = person.types("up")
    assert (again, "runs already" in says) == (0, True)
    assert person.status()["pid"] == pid

    code, output = person.types("down")
    assert (code, output) == (0, "The cluster 'default' is gone.\n")
    assert not {p for p in everything if not is_zombie(p)}
    assert not person.folders().state.exists()
    assert not person.folders().memory.exists()
    assert person.types("status")[0] == 3


@pytest.mark.cluster
def test_a_cluster_that_crashed_can_be_started_again(person: Person) -> None:
    assert person.types("up")[0] == 0
    pid = person.status()["pid"]
    os.kill(pid, signal.SIGKILL)
    folders = person.folders()
    # It holds the lock until it has ended, a little longer than it cleans up.
    eventually(lambda: not runs(folders), what="the end of the reaper")
    assert not folders.memory.exists()

    code, output = person.types("status")
    assert (code, "ended without order" in output) == (3, True)
    assert person.types("up")[0] == 0
    assert person.status()["pid"] != pid


def test_down_cleans_up_what_a_crash_left(person: Person) -> None:
    folders = person.folders()
    folders.create()
    (folders.memory / "file").write_text("left")
    orphan = subprocess.Popen(
        ["sleep", "600"], env={"PROCESS_NODE_CONTAINER": f"{folders.mark}node-1/a/b/c/d"}
    )
    eventually(lambda: marked(folders.mark), what="the orphan has its mark")

    code, output = person.types("down")

    assert (code, "1 processes of it were left" in output) == (0, True)
    assert orphan.wait(10) == -signal.SIGKILL
    assert not folders.state.exists()
    assert not folders.memory.exists()


@pytest.mark.cluster
def test_a_cluster_can_be_ended_while_it_is_being_started(person: Person) -> None:
    up = [sys.executable, "-m", "tridentserve.cli", "local", "up"]
    with subprocess.Popen(
        up, env=person.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/"
    ) as starting:
        eventually(person.folders().control.exists, what="the control socket")

        assert person.types("down") == (0, "The cluster 'default' is gone.\n")

        starting.communicate(timeout=60)
    assert starting.returncode == 1
    assert not person.folders().state.exists()
    assert not person.folders().memory.exists()


@pytest.mark.cluster
def test_a_cluster_in_the_foreground_ends_with_ctrl_c(person: Person) -> None:
    up = [sys.executable, "-m", "tridentserve.cli", "local", "up", "--foreground"]
    with subprocess.Popen(up, env=person.environment, stdout=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        assert any("Ctrl-C" in line for line in shown.stdout)
        pid = person.status()["pid"]

        shown.send_signal(signal.SIGINT)

        assert shown.wait(60) == 0
    assert is_zombie(pid)
    assert not person.folders().state.exists()


def test_down_without_a_cluster_is_no_error(person: Person) -> None:
    assert person.types("down") == (0, "No cluster 'default' runs.\n")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("up", "--nodes", "0"), "must be at least 1"),
        (("up", "--gpus", "-1"), "not a whole number"),
        (("up", "--nodes", "two"), "not a whole number"),
        (("up", "--name", "../x"), "--name"),
        (("status", "--name", "A"), "--name"),
        ((), "required"),
        (("sideways",), "invalid choice"),
    ],
)
def test_nonsense_is_refused_before_anything_starts(
    person: Person, words: tuple[str, ...], complaint: str
) -> None:
    code, output = person.types(*words)

    assert code != 0
    assert complaint in output
    assert not person.folders().state.parent.exists()


def runs_a_pod(kubeconfig: str, script: str) -> str:
    """The log of a pod that runs a script to its end."""

    def kubectl(*words: str, stdin: str | None = None) -> str:
        command = tools.kubectl().argv("--kubeconfig", kubeconfig, *words)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
        return done.stdout

    made = json.dumps(pod("script", shell(script), restartPolicy="Never"))
    eventually(lambda: kubectl("apply", "-f", "-", stdin=made), what="the pod is admitted")
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/script", "--timeout=30s")
    return kubectl("logs", "script")


def as_nobody() -> tuple[str, ...]:
    """How to become an ordinary user who can read this Python and the cache of programs.

    Where they lie in folders that only root may enter, the right to read (and nothing else) is
    kept: an ordinary user would have their own.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.getuid() != 0:
        pytest.skip("NOT TRIED AS ANOTHER USER: needs root and setpriv to become one")
    become = (setpriv, "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search")
    look = (sys.executable, "-c", f"import os, aiohttp; os.listdir({str(cache.folder())!r})")
    for prefix in (become, (*become, *read)):
        if subprocess.run([*prefix, *look], capture_output=True, cwd="/").returncode == 0:
            return prefix
    pytest.skip("NOT TRIED AS ANOTHER USER: this Python cannot be run by one")


@pytest.mark.cluster
def test_an_ordinary_user_can_run_a_cluster() -> None:
    prefix = as_nobody()
    home = Path("/dev/shm") / f"nobody-{os.getpid()}"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    someone = Person(home, prefix)
    try:
        code, output = someone.types("up")
        assert code == 0, output
        status = someone.status()
        pid = status["pid"]
        assert os.stat(f"/proc/{pid}").st_uid == NOBODY
        assert runs_a_pod(status["kubeconfig"], "id -u") == f"{NOBODY}\n"
        assert someone.types("down")[0] == 0
    finally:
        someone.types("down")
        shutil.rmtree(home)
