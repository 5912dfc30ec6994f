"""Control planes for tests: started, asked by the real kubectl, stopped, and never left behind."""

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 120.0
"""How long a test waits for anything: far more than it takes, so that only a hang reaches it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a control plane says of itself, and how to talk to it."""

    kubeconfig: Path
    server: str
    pid: int
    version: str
    kubectl: Path

    def ask(
        self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl, as the administrator or by another kubeconfig; the caller looks at how."""
        return subprocess.run(
            [self.kubectl, "--kubeconfig", kubeconfig or self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def must(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl printed; it is to succeed."""
        done = self.ask(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout


class Trial:
    """Starts control planes, and kills at its end what is left of them."""

    def __init__(self, program: Path, kubectl: Path, temporary: Path) -> None:
        """`temporary` is where they make their temporary folders."""
        self.program = program
        self.temporary = temporary
        self._kubectl = kubectl
        self._processes: list[subprocess.Popen[str]] = []

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one, and do not wait for it."""
        return self.launch_command([str(self.program), *arguments])

    def launch_command(self, argv: list[str]) -> subprocess.Popen[str]:
        """Start a command that may start one in turn."""
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )
        self._processes.append(process)
        return process

    def start(self, *arguments: str) -> tuple[subprocess.Popen[str], Ready]:
        """Start one and wait until it says that it is ready."""
        process = self.launch(*arguments)
        return process, self.await_ready(process)

    def await_ready(self, process: subprocess.Popen[str]) -> Ready:
        """Wait for the one line that a control plane prints."""
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said = json.loads(line)
        assert said["ready"] is True
        return Ready(
            kubeconfig=Path(said["kubeconfig"]),
            server=said["server"],
            pid=said["pid"],
            version=said["version"],
            kubectl=self._kubectl,
        )

    def close(self) -> None:
        """Kill all of them."""
        for process in self._processes:
            process.kill()
            process.communicate()


def stop(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ask one to stop, and wait; returns the rest of what it printed, on stdout and stderr."""
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=LIMIT_S)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that its parent has not yet asked about has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"
