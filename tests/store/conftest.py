"""A Redis server of the tests' own, a folder for shared memory, and processes that use a store."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from tridentserve.store import owners
from tridentserve_local.toolchain import tools

PEER = Path(__file__).parent / "peer.py"


def wait_until(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    """Return once the condition holds; fail where it does not in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class RedisServer:
    """A server that a test may stop, start, fill and freeze."""

    def __init__(self, folder: Path) -> None:
        """Choose a port; `start` starts it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        tool = tools.redis_server()
        self.process = subprocess.Popen(
            tool.argv(
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--save", "", "--appendonly", "no"),
            ),
            env={**os.environ, **tool.environment},
            stdout=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def stop(self) -> None:
        """Kill it; what it held is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it hang: connections stay open, nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def set(self, name: str, value: str) -> None:
        """Change its configuration."""
        with self.client() as client:
            client.config_set(name, value)

    def client(self) -> redis.Redis:
        """A plain connection."""
        return redis.Redis.from_url(self.url, socket_timeout=10)

    def keys(self) -> list[bytes]:
        """Every key there is."""
        with self.client() as client:
            return list(client.keys("*"))

    def _answers(self) -> bool:
        with self.client() as client, suppress(redis.ConnectionError):
            return bool(client.ping())
        return False


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_server(_redis_server: RedisServer) -> Iterator[RedisServer]:
    """Running, empty, without a bound; it must be empty again when the test is done."""
    server = _redis_server
    if server.process is None:
        server.start()
    server.set("maxmemory", "0")
    server.set("maxmemory-policy", "noeviction")
    yield server
    if server.process:
        left = server.keys()
        with server.client() as client:
            client.flushall()
        assert left == []


@pytest.fixture
def shm_directory() -> Iterator[Path]:
    """On a tmpfs where there is one; nothing but the domain may be left when the test is done.

    Those who were killed are reaped first, as the next worker that starts there would.
    """
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="tridentserve-test-") as folder:
        yield Path(folder)
        owners.reap(Path(folder))
        assert [path.name for path in Path(folder).iterdir() if path.name != "domain"] == []


class Peer:
    """Another process with a store of its own; see `peer.py` for what it can be told."""

    def __init__(self, *arguments: str) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [sys.executable, str(PEER), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def tell(self, verb: str, value: object = None) -> Any:
        """Send a command and return the answer to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([verb, value]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        """Let it die without a word."""
        self.process.kill()
        self.end()

    def end(self) -> None:
        """Let it close its store and exit; nothing where it is dead."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture
def start_peer() -> Iterator[Callable[..., Peer]]:
    """Start processes that end with the test."""
    peers: list[Peer] = []

    def start(*arguments: str) -> Peer:
        peers.append(Peer(*arguments))
        return peers[-1]

    yield start
    for peer in peers:
        peer.end()
