"""What is found in the cache is whole, and was made once."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tridentserve_local.toolchain import cache


def make(into: Path) -> None:
    (into / "thing").write_text("whole")


def refuse(into: Path) -> None:
    raise AssertionError("built again")


def test_a_thing_is_built_once(tmp_path: Path) -> None:
    made = cache.entry(tmp_path, "thing", "1", make)

    assert (made / "thing").read_text() == "whole"
    assert cache.entry(tmp_path, "thing", "1", refuse) == made


def test_another_key_is_another_thing(tmp_path: Path) -> None:
    first = cache.entry(tmp_path, "thing", "1", make)

    assert cache.entry(tmp_path, "thing", "2", make) != first
    assert (first / "thing").exists()


def test_nothing_is_found_while_it_is_being_built(tmp_path: Path) -> None:
    found: list[Path | None] = []

    def look(into: Path) -> None:
        make(into)
        found.append(cache.find(tmp_path, "thing", "1"))

    made = cache.entry(tmp_path, "thing", "1", look)

    assert found == [None]
    assert cache.find(tmp_path, "thing", "1") == made


def test_a_failed_build_leaves_nothing_and_may_be_repeated(tmp_path: Path) -> None:
    def fail(into: Path) -> None:
        make(into)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        cache.entry(tmp_path, "thing", "1", fail)

    assert cache.find(tmp_path, "thing", "1") is None
    assert list((tmp_path / "building").iterdir()) == []
    assert (cache.entry(tmp_path, "thing", "1", make) / "thing").exists()


KILLED_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from tridentserve_local.toolchain import cache

def build(into):
    (into / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

cache.entry(Path(sys.argv[1]), "thing", "1", build)
"""


def test_a_build_that_is_killed_half_way_is_not_found_and_is_cleaned_up_by_the_next(
    tmp_path: Path,
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_HALF_WAY, str(tmp_path)], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert cache.find(tmp_path, "thing", "1") is None
    made = cache.entry(tmp_path, "thing", "1", make)
    assert [file.name for file in made.iterdir()] == ["thing"]
    assert list((tmp_path / "building").iterdir()) == []


def test_the_build_of_one_thing_spares_what_another_is_building(tmp_path: Path) -> None:
    def build_the_other(into: Path) -> None:
        make(into)
        cache.entry(tmp_path, "thing-b", "1", make)
        cache.entry(tmp_path, "thing", "11", make)
        assert (into / "thing").exists()

    cache.entry(tmp_path, "thing", "1", build_the_other)


BUILT_BY_ANOTHER = """
import sys
from pathlib import Path
from tridentserve_local.toolchain import cache

def build(into):
    print("building", flush=True)
    sys.stdin.readline()
    (into / "thing").write_text("by another process")

cache.entry(Path(sys.argv[1]), "thing", "1", build)
"""


def test_two_processes_at_once_make_one_build_and_one_wait(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUILT_BY_ANOTHER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "building\n"
        release = other.stdin
        waits: list[str] = []

        def waiting() -> None:
            waits.append("once")
            release.write("\n")
            release.flush()

        made = cache.entry(tmp_path, "thing", "1", refuse, waiting=waiting)

    assert waits == ["once"]
    assert (made / "thing").read_text() == "by another process"


def test_threads_of_one_process_take_turns_too(tmp_path: Path) -> None:
    builds: list[int] = []

    def build(into: Path) -> None:
        builds.append(1)
        make(into)

    threads = [
        threading.Thread(target=cache.entry, args=(tmp_path, "thing", "1", build)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert builds == [1]


def test_other_users_may_run_what_root_built(tmp_path: Path) -> None:
    made = cache.entry(tmp_path, "thing", "1", make)

    assert made.stat().st_mode & 0o055 == 0o055


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TRIDENTSERVE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/tridentserve")),
        ({}, Path(os.path.expanduser("~/.cache/tridentserve"))),
        ({"TRIDENTSERVE_CACHE": "", "XDG_CACHE_HOME": ""}, Path.home() / ".cache/tridentserve"),
    ],
)
def test_the_cache_lies_where_the_user_says(environment: dict[str, str], expected: Path) -> None:
    assert cache.folder(environment) == expected
