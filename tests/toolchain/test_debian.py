"""Packages are unpacked with the libraries that they need, and without what they do not."""

import os
from pathlib import Path

import pytest

from tridentserve_local.toolchain import debian
from tridentserve_local.toolchain.errors import ToolMissingError

PROMETHEUS_PLAN = """\
Inst adduser (3.134 Debian:12.15/oldstable [all])
Inst fonts-glyphicons-halflings (1.009~3.4.1+dfsg-3 Debian:12.15/oldstable [all])
Inst libjs-jquery (3.6.1 Debian:12.15/oldstable [all])
Inst prometheus (2.42.0+ds-5 Debian:12.15/oldstable [amd64])
Conf adduser (3.134 Debian:12.15/oldstable [all])
"""
REDIS_PLAN = """\
Inst libjemalloc2 (5.3.0-1 Debian:12.15/oldstable [amd64])
Inst liblzf1 (3.6-3 Debian:12.15/oldstable [amd64])
Inst redis-tools (5:7.0.15 Debian-Security:12/oldstable-security [amd64])
Inst redis-server (5:7.0.15 Debian-Security:12/oldstable-security [amd64])
"""


def test_what_a_program_that_only_runs_does_not_read_is_left_out() -> None:
    assert debian.packages_to_unpack("prometheus", PROMETHEUS_PLAN) == ["prometheus"]


def test_libraries_that_are_not_installed_come_along() -> None:
    names = debian.packages_to_unpack("redis-server", REDIS_PLAN, beside=("redis-tools",))

    assert names == ["redis-server", "libjemalloc2", "liblzf1", "redis-tools"]


def test_a_package_that_is_installed_already_is_unpacked_all_the_same() -> None:
    names = debian.packages_to_unpack("redis-server", "", beside=("redis-tools",))

    assert names == ["redis-server", "redis-tools"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian12-"),
        ("NAME=Ubuntu\nVERSION_ID=24.04\nID=ubuntu\nID_LIKE=debian\n", "ubuntu24.04-"),
        ("ID=debian\nVERSION_CODENAME=sid\n", "debian-"),
    ],
)
def test_another_release_is_another_key(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "os-release"
    file.write_text(text)

    assert debian.release(file).startswith(expected)


def test_a_machine_without_a_release_has_a_key_too(tmp_path: Path) -> None:
    assert debian.release(tmp_path / "nothing").startswith("linux-")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("python3.13-venv:\n  Installed: (none)\n  Candidate: 3.13.5-2+deb13u5\n", True),
        ("python3.13-venv:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n", False),
        ("", False),
    ],
)
def test_a_package_that_is_only_heard_of_cannot_be_fetched(policy: str, expected: bool) -> None:
    assert debian.has_candidate(policy) is expected


def test_folders_with_libraries_are_found_and_others_are_not(tmp_path: Path) -> None:
    for name in ("usr/lib/x86_64-linux-gnu/liblzf.so.1", "usr/share/doc/x.so.txt", "usr/bin/redis"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert debian.library_folders(tmp_path) == [tmp_path / "usr/lib/x86_64-linux-gnu"]


@pytest.mark.usefixtures("bare_path")
def test_nothing_is_installed_where_there_is_no_apt_get() -> None:
    with pytest.raises(ToolMissingError, match="not a Debian or Ubuntu machine"):
        debian.install("python3-venv")


def test_a_user_who_is_not_root_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "available", lambda: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ToolMissingError) as caught:
        debian.install("python3.11-venv")

    assert caught.value.command == "sudo apt-get install --yes python3.11-venv"
    assert str(caught.value).endswith(f"run: {caught.value.command}")
