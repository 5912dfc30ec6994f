"""Workers as processes: they make a picture, leave in order, are killed, or cannot start."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tridentserve.domain.stages import STAGES, Stage
from tridentserve.rpc import convert
from tridentserve.rpc.client import channel
from tridentserve.rpc.v1 import common_pb2, stage_pb2, stage_pb2_grpc, tensor_pb2
from tridentserve.stage import worker
from tridentserve.stage.loading import Loaded
from tridentserve.stage.synthetic import picture, read_model

if TYPE_CHECKING:
    from tests.stage.conftest import MakeSettings

PATIENCE_S = 60.0
GENERATION = common_pb2.Generation(
    prompt="a fox",
    shape=common_pb2.Shape(height=64, width=96, frames=1),
    steps=3,
    guidance=5.0,
    seed=11,
    count=1,
    output_format="image/png",
)


@dataclass(kw_only=True)
class Process:
    """A worker process that was started by a test."""

    child: asyncio.subprocess.Process
    lines: list[str]

    async def wait_for(self, message: str) -> dict[str, Any]:
        """Read its log until a message comes."""
        assert self.child.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self.child.stderr.readline()).decode():
                self.lines.append(line)
                with contextlib.suppress(ValueError):
                    record: dict[str, Any] = json.loads(line)
                    if record["message"] == message:
                        return record
        raise AssertionError(f"ended before {message!r}: {''.join(self.lines)}")

    async def ended(self) -> tuple[int, str]:
        """Its exit code and the last line of its standard error."""
        assert self.child.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            rest = (await self.child.stderr.read()).decode()
            self.lines += rest.splitlines(keepends=True)
            return await self.child.wait(), self.lines[-1].strip() if self.lines else ""


@dataclass(kw_only=True)
class Ready:
    """A worker process that serves."""

    process: Process
    stub: "stage_pb2_grpc.StageServiceAsyncStub"

    async def run(
        self, stage: Stage, refs: tuple[tensor_pb2.TensorRef, ...], domain: str
    ) -> tuple[tuple[tensor_pb2.TensorRef, ...], bytes]:
        """One Run: what it handed off, and the media."""
        item = stage_pb2.SegmentItem(request_id="r1", generation=GENERATION, inputs=refs)
        request = stage_pb2.RunRequest(
            segment_id=f"r1/{stage}/1",
            epoch=1,
            stage=convert.stage_to(stage),
            items=[item],
            output_domain=domain,
        )
        media = b""
        outputs: tuple[tensor_pb2.TensorRef, ...] = ()
        async for event in self.stub.Run(request):
            media += event.media.data
            if event.HasField("finished"):
                outputs = tuple(event.finished.results[0].outputs)
        return outputs, media

    async def domain(self) -> str:
        """Its memory domain."""
        described = await self.stub.Describe(stage_pb2.DescribeRequest())
        return described.memory_domain

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.child.send_signal(number)


class Launcher:
    """Starts workers, and ends what a test left running."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack) -> None:
        """Give them a synthetic model and a shared directory below `folder`."""
        self._stack, self._folder = stack, folder
        self.model, self.shared = folder / "model", folder / "shm"
        self.model.mkdir()
        self.shared.mkdir()
        (self.model / "synthetic.json").write_text(
            json.dumps({"seconds": {"encode": 0, "diffusePerStep": 0, "decode": 0}})
        )

    async def start(self, module: str, *arguments: str, **environ: str) -> Process:
        """Start `python -m module`; variables in lower case without their prefix."""
        own = {
            "MODEL_DIR": str(self.model),
            "SHM_DIR": str(self.shared),
            "GRPC_PORT": "0",
            "METRICS_PORT": "0",
            "LOG_FORMAT": "json",
            "DRAIN_SECONDS": "40",
            **{name.upper(): value for name, value in environ.items()},
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            env={
                "PATH": os.environ["PATH"],
                **{f"TRIDENTSERVE_{name}": value for name, value in own.items()},
            },
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._stack.push_async_callback(self._end, child)
        return Process(child=child, lines=[])

    async def ready(self, module: str, *arguments: str, **environ: str) -> Ready:
        """Start one and wait until it serves."""
        process = await self.start(module, *arguments, **environ)
        address = (await process.wait_for("listening"))["address"]
        await process.wait_for("ready")
        link = channel(address)
        self._stack.push_async_callback(link.close)
        return Ready(process=process, stub=stage_pb2_grpc.StageServiceStub(link))

    def folders(self) -> list[str]:
        """Owners' folders in the shared directory: each holds tensors of one worker."""
        return sorted(path.name for path in self.shared.rglob("*") if path.is_dir())

    @staticmethod
    async def _end(child: asyncio.subprocess.Process) -> None:
        if child.returncode is None:
            child.kill()
        # To the end, or the pipe outlives the loop.
        await child.communicate()


@pytest.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[Launcher]:
    async with contextlib.AsyncExitStack() as stack:
        yield Launcher(tmp_path, stack)


async def test_three_workers_make_the_picture_and_leave_with_code_0(launcher: Launcher) -> None:
    workers = await asyncio.gather(
        launcher.ready("tridentserve_encoder"),
        launcher.ready("tridentserve_diffuser"),
        launcher.ready("tridentserve_decoder"),
    )
    domain = await workers[0].domain()
    assert [await each.domain() for each in workers] == [domain] * 3

    refs: tuple[tensor_pb2.TensorRef, ...] = ()
    made, media = [], b""
    for stage, each in zip(STAGES, workers, strict=True):
        refs, media = await each.run(stage, refs, domain)
        made.append(refs)

    expected = picture(read_model(launcher.model), convert.generation_from(GENERATION))
    assert media == expected[0].data
    assert [ref.store for refs in made for ref in refs] == ["shm", "shm"]
    for each, own in zip(workers, made, strict=True):
        await each.stub.Release(stage_pb2.ReleaseRequest(refs=own))
        each.send(signal.SIGTERM)
    assert [(await each.process.ended())[0] for each in workers] == [0, 0, 0]
    assert [path for path in launcher.shared.rglob("*") if path.name != "domain"] == []


async def test_one_process_with_all_stages_needs_no_store(launcher: Launcher) -> None:
    alone = await launcher.ready(
        "tridentserve.stage", "--stages", "encode,diffuse,decode", shm_dir=""
    )

    refs: tuple[tensor_pb2.TensorRef, ...] = ()
    media = b""
    for stage in STAGES:
        refs, media = await alone.run(stage, refs, "")

    expected = picture(read_model(launcher.model), convert.generation_from(GENERATION))
    assert media == expected[0].data


async def test_sigterm_waits_until_the_last_tensor_is_released(launcher: Launcher) -> None:
    encoder = await launcher.ready("tridentserve_encoder")
    refs, _ = await encoder.run(Stage.ENCODE, (), await encoder.domain())

    encoder.send(signal.SIGTERM)
    await encoder.process.wait_for("draining")
    assert (await encoder.stub.Describe(stage_pb2.DescribeRequest())).draining
    assert encoder.process.child.returncode is None
    await encoder.stub.Release(stage_pb2.ReleaseRequest(refs=refs))

    assert (await encoder.process.ended())[0] == 0


async def test_when_drain_time_is_over_it_leaves_with_code_0_and_nothing_behind(
    launcher: Launcher,
) -> None:
    encoder = await launcher.ready("tridentserve_encoder", drain_seconds="0.1")
    await encoder.run(Stage.ENCODE, (), await encoder.domain())

    encoder.send(signal.SIGTERM)

    assert (await encoder.process.ended())[0] == 0
    assert [path for path in launcher.shared.rglob("*") if path.name != "domain"] == []


async def test_sigterm_ends_a_sleeping_run_when_drain_time_is_over(launcher: Launcher) -> None:
    (launcher.model / "synthetic.json").write_text('{"seconds": {"encode": 3600}}')
    encoder = await launcher.ready("tridentserve_encoder", drain_seconds="0.1")
    running = asyncio.create_task(encoder.run(Stage.ENCODE, (), await encoder.domain()))
    async with asyncio.timeout(PATIENCE_S):
        while not (await _metric(encoder, "tridentserve_stage_inflight")):
            pass

    encoder.send(signal.SIGTERM)

    assert (await encoder.process.ended())[0] == 0
    [error] = await asyncio.gather(running, return_exceptions=True)
    assert "going away" in str(error)


async def _metric(ready: Ready, name: str) -> float:
    listening = json.loads(next(line for line in ready.process.lines if "listening" in line))
    url = f"http://{listening['probes']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))


async def test_what_a_killed_worker_left_is_reaped_by_the_next_one(launcher: Launcher) -> None:
    first = await launcher.ready("tridentserve_encoder")
    await first.run(Stage.ENCODE, (), await first.domain())
    first.send(signal.SIGKILL)
    await first.process.ended()
    left = launcher.folders()
    assert left != []

    await launcher.ready("tridentserve_encoder")

    assert set(left) - set(launcher.folders()) != set()
    assert len(launcher.folders()) <= len(left)


def _owners(shared: Path) -> list[Path]:
    """Folders of workers in a shared directory."""
    return list(shared.glob("owner-*"))


@pytest.mark.parametrize(
    ("arguments", "environ", "sentence"),
    [
        (["--stages", "encode"], {"model_dir": "/nowhere/flux"}, "/nowhere/flux does not exist"),
        (["--stages", "encode"], {"model_dir": ""}, "TRIDENTSERVE_MODEL_DIR: not set"),
        (["--stages", "upscale"], {}, "upscale is no stage"),
        ([], {}, "TRIDENTSERVE_STAGES: no stage given"),
        (["--stages", "encode"], {"shm_dir": ""}, "set one of them"),
        (["--stages", "encode"], {"fraction_percent": "0"}, "FRACTION_PERCENT"),
    ],
)
async def test_a_worker_that_cannot_start_says_why_in_its_last_line_and_exits_78(
    launcher: Launcher, arguments: list[str], environ: dict[str, str], sentence: str
) -> None:
    process = await launcher.start("tridentserve.stage", *arguments, **environ)

    code, last = await process.ended()

    assert code == 78
    assert last.startswith("cannot start: ")
    assert sentence in last
    assert not _owners(launcher.shared)


async def test_a_taken_port_is_told_and_exits_78(launcher: Launcher) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        for name in ("grpc_port", "metrics_port"):
            process = await launcher.start("tridentserve_encoder", **{name: port})
            code, last = await process.ended()
            assert code == 78
            assert f"cannot bind 127.0.0.1:{port}" in last


HUNG_LOAD = """
import threading
from tridentserve.stage import worker
from tridentserve.stage.__main__ import main

def load(settings, sleep):
    print("hanging", flush=True)
    threading.Event().wait()

worker.load = load
raise SystemExit(main())
"""

HUNG_RUN = """
import threading
from tridentserve.domain.stages import Stage
from tridentserve.stage import worker
from tridentserve.stage.__main__ import main
from tridentserve.stage.fakes import FakeRunner
from tridentserve.stage.loading import Loaded

def hang(task):
    print("hanging", flush=True)
    threading.Event().wait()

runners = {Stage.ENCODE: FakeRunner(Stage.ENCODE, make=hang)}
worker.load = lambda settings, sleep: Loaded(runners=runners, seconds={})
raise SystemExit(main())
"""


@pytest.mark.parametrize("code", [HUNG_LOAD, HUNG_RUN], ids=["load", "run"])
async def test_a_model_that_hangs_cannot_keep_a_worker_from_leaving_with_code_0(
    launcher: Launcher, tmp_path: Path, code: str
) -> None:
    (tmp_path / "hung.py").write_text(code)
    process = await launcher.start("hung", "--stages", "encode", drain_seconds="0.1")
    address = (await process.wait_for("listening"))["address"]
    if code == HUNG_RUN:
        await process.wait_for("ready")
    async with channel(address) as link:
        stub = stage_pb2_grpc.StageServiceStub(link)
        running = asyncio.create_task(Ready(process=process, stub=stub).run(Stage.ENCODE, (), ""))
        assert process.child.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            assert await process.child.stdout.readline() == b"hanging\n"

        process.child.send_signal(signal.SIGTERM)

        assert (await process.ended())[0] == 0
        await asyncio.gather(running, return_exceptions=True)


async def test_asked_to_end_while_loading_it_ends_at_once(
    make_settings: "MakeSettings", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, gate = threading.Event(), threading.Event()

    def load(_: object, sleep: Callable[[float], object]) -> Loaded:
        loading.set()
        assert gate.wait(PATIENCE_S)
        return Loaded(runners={}, seconds={})

    monkeypatch.setattr(worker, "load", load)
    own = make_settings("encode,diffuse,decode", model_dir=tmp_path, shm_dir=tmp_path)
    running = asyncio.create_task(worker.run(own))
    assert await asyncio.to_thread(loading.wait, PATIENCE_S)
    assert _owners(tmp_path)

    os.kill(os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(PATIENCE_S):
        await running
    gate.set()
    assert not _owners(tmp_path)
