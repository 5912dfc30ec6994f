"""`tridentserve generate`: files, words, exit statuses."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.client import tls
from tests.client.conftest import Gate
from tests.router.conftest import Town, picture, until

from tridentserve import errors
from tridentserve.client import command
from tridentserve.client.command import (
    CANCELLED,
    DEADLINE,
    INVALID,
    REFUSED,
    UNAVAILABLE,
)
from tridentserve.domain.stages import STAGES

E, D, C = STAGES


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return parser.parse_args(["--prompt", "a fox", "--seed", "7", *arguments])


async def run(town: Town, *arguments: str) -> int:
    """Run it in a thread, since it brings its own event loop."""
    args = parse("--endpoint", town.router.address, *arguments)
    return await asyncio.to_thread(command.run, args)


async def test_a_picture_lands_in_its_file(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await town.chain()
    file = tmp_path / "fox.png"

    assert await run(town, "-o", str(file)) == 0
    assert file.read_bytes() == picture()
    told = capsys.readouterr().out
    assert "fox.png  seed 7" in told
    assert "on diffuse (a)" in told
    assert "through shm" in told


async def test_several_pictures_are_numbered(town: Town, tmp_path: Path) -> None:
    await town.chain()

    assert await run(town, "-o", str(tmp_path / "fox.png"), "--count", "3") == 0
    assert sorted(os.listdir(tmp_path)) == ["fox-1.png", "fox-2.png", "fox-3.png"]


async def test_every_option_arrives(town: Town, tmp_path: Path) -> None:
    await town.chain()
    options = ["--negative-prompt", "dull", "--height", "32", "--width", "48", "--steps", "2"]
    options += ["--guidance", "1.5", "--deadline-seconds", "9", "--output-format", "image/png"]

    assert await run(town, *options, "-o", str(tmp_path / "fox.png")) == 0
    generation = town.members["diffuse"].runner.calls[0][0].generation
    assert (generation.prompt, generation.negative_prompt) == ("a fox", "dull")
    assert (generation.shape.height, generation.shape.width) == (32, 48)
    assert (generation.steps, generation.guidance, generation.seed) == (2, 1.5, 7)


async def test_programs_get_one_json_object(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await town.chain()
    file = tmp_path / "fox.png"

    assert await run(town, "-o", str(file), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == [str(file)]
    assert (told["seed"], told["digest"], told["plan"]) == (7, "old", "plan-1")
    assert [timing["stage"] for timing in told["timings"]] == list(STAGES)


async def test_a_wrong_value_names_its_field(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await town.chain()

    assert await run(town, "-o", str(tmp_path / "fox.png"), "--height", "17") == INVALID
    told = capsys.readouterr().err
    assert "tridentserve generate: height: is 17; use a positive multiple of 16" in told
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("output", ["no/fox.png", ".", "there"])
@pytest.mark.parametrize("count", ["1", "2"])
async def test_an_output_that_cannot_be_is_found_out_before_anything_is_asked(
    town: Town, tmp_path: Path, output: str, count: str
) -> None:
    (tmp_path / "there").mkdir()
    assert await run(town, "-o", str(tmp_path / output), "--count", count) == INVALID
    assert town.sample("tridentserve_requests_arrived_total") == 0


async def test_a_folder_in_the_place_of_one_of_several_pictures_is_found_out_before(
    town: Town, tmp_path: Path
) -> None:
    (tmp_path / "fox-2.png").mkdir()
    assert await run(town, "-o", str(tmp_path / "fox.png"), "--count", "2") == INVALID
    assert town.sample("tridentserve_requests_arrived_total") == 0


def test_what_may_not_be_written_is_found_out_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fox.png"
    file.touch()
    # Root, as which these tests may run, may write everything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != file)

    assert command.run(parse("--endpoint", "127.0.0.1:1", "-o", str(file))) == INVALID
    assert f"nothing can be written to {file}" in capsys.readouterr().err


async def test_a_device_takes_a_picture_whatever_its_folder(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.chain()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path("/dev"))

    assert await run(town, "-o", "/dev/null") == 0


async def test_no_workers_yet_has_an_exit_status(town: Town, tmp_path: Path) -> None:
    assert await run(town, "-o", str(tmp_path / "fox.png")) == UNAVAILABLE


def test_a_missing_extra_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    args = parse("--endpoint", "127.0.0.1:1", "-o", str(tmp_path / "a.png"))

    assert command.run(args) == UNAVAILABLE
    assert "pip install tridentserve[client]" in capsys.readouterr().err


async def test_headers_and_trust_reach_what_stands_before_the_router(
    gate: Gate, tmp_path: Path
) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_bytes(tls.CERTIFICATE)
    where = ("--endpoint", gate.address, "--tls-ca", str(authority))
    args = parse(*where, "--header", "Authorization: Bearer x:y", "--header", "x-team: art")
    result = await command._generate(args)

    assert result.finished.seed == 7
    assert {("authorization", "Bearer x:y"), ("x-team", "art")} <= set(gate.metadata)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--header", "Bearer x"),
        ("--header", "grün: x"),
        ("--header", "x: ü"),
        ("--header", "x-bin: abc"),
        ("--tls-ca", "none"),
    ],
)
def test_headers_and_authorities_that_are_none_are_named(
    wrong: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = parse("--endpoint", "127.0.0.1:1", "-o", str(tmp_path / "fox.png"), *wrong)

    assert command.run(args) == INVALID
    assert capsys.readouterr().err.startswith(f"tridentserve generate: {wrong[0]}: ")


def test_tls_needs_the_address_of_what_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(parse("-o", str(tmp_path / "fox.png"), "--tls")) == INVALID
    assert "--tls: needs --endpoint" in capsys.readouterr().err


async def test_a_timeout_has_an_exit_status(town: Town, tmp_path: Path) -> None:
    await town.worker("encode", E, held=True)
    arguments = ("-o", str(tmp_path / "fox.png"), "--timeout-seconds", "0.2")

    assert await run(town, *arguments) == DEADLINE


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.InvalidFieldError("x", "y"), INVALID),
        (errors.ExhaustedError("full"), REFUSED),
        (errors.AlreadyExistsError("twice"), REFUSED),
        (errors.UnavailableError("gone"), UNAVAILABLE),
        (errors.NotFoundError("none"), UNAVAILABLE),
        (errors.DeadlineExceededError("late"), DEADLINE),
        (errors.CancelledError("no"), CANCELLED),
        (errors.StageFailedError("nan"), 1),
        (OSError("disk full"), 1),
    ],
)
def test_each_kind_of_failure_has_an_exit_status_and_one_sentence(
    error: Exception,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def fail(args: argparse.Namespace) -> None:
        raise error

    monkeypatch.setattr(command, "_generate", fail)

    assert command.run(parse()) == expected
    assert capsys.readouterr().err.splitlines() == [f"tridentserve generate: {error}"]


def test_the_help_tells_every_exit_status() -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    told = [line.split("  ")[0] for line in (parser.epilog or "").splitlines()[1:]]

    assert told == ["0", "1", "2", "3", "4", "5", "6", "7", "130"]


async def test_ctrl_c_cancels_the_request(town: Town, tmp_path: Path) -> None:
    await town.worker("encode", E, held=True)
    arguments = ["-m", "tridentserve.cli", "generate", "--prompt", "a fox", "--endpoint"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        town.router.address,
        "-o",
        str(tmp_path / "fox.png"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: town.members["encode"].worker.running == 1)
        os.kill(process.pid, signal.SIGINT)
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()

    assert process.returncode == 130, said.decode()
    await until(lambda: not len(town.router.core.requests))
    town.members["encode"].free()
    await town.settled()
