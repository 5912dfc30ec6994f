"""Mount paths become paths of the host, and nothing else does."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tridentserve_local.paths import rewrite, working_directory

MOUNTS = {"/models": Path("/pod/v/models"), "/models/lora": Path("/pod/v/lora"), "/a.b": Path("/x")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/models", "/pod/v/models"),
        ("/models/", "/pod/v/models/"),
        ("/models/flux", "/pod/v/models/flux"),
        ("/models/lora/x", "/pod/v/lora/x"),
        ("/models/lora2", "/pod/v/models/lora2"),
        ("--model=/models/flux", "--model=/pod/v/models/flux"),
        ("-m/models", "-m/models"),  # where an option ends and its value begins is not known
        ("/models:/models/lora", "/pod/v/models:/pod/v/lora"),
        ("file:///models/flux", "file:///pod/v/models/flux"),
        ('{"path": "/models"}', '{"path": "/pod/v/models"}'),
        ("/models2", "/models2"),
        ("/models-old", "/models-old"),
        ("/models.bak", "/models.bak"),
        ("/var/models", "/var/models"),
        ("./models", "./models"),
        ("https://host/models", "https://host/models"),
        ("/aXb", "/aXb"),
        ("cat /models/a > /models/b; ls", "cat /pod/v/models/a > /pod/v/models/b; ls"),
        ("", ""),
    ],
)
def test_paths_are_rewritten_whole_and_nothing_else(text: str, expected: str) -> None:
    assert rewrite(text, MOUNTS) == expected


def test_a_target_that_looks_like_a_mount_is_not_rewritten_again() -> None:
    mounts = {"/a": Path("/b/a"), "/b": Path("/c")}

    assert rewrite("/a /b", mounts) == "/b/a /c"


def test_a_trailing_slash_in_the_mount_path_means_nothing() -> None:
    assert rewrite("/data/x", {"/data/": Path("/pod/data")}) == "/pod/data/x"


def test_the_root_cannot_be_mounted() -> None:
    assert rewrite("/ /etc", {"/": Path("/pod")}) == "/ /etc"


@settings(deadline=None)
@given(st.text())
def test_without_mounts_nothing_changes(text: str) -> None:
    assert rewrite(text, {}) == text


@settings(deadline=None)
@given(st.text(alphabet="/models .:=-x"))
def test_no_whole_mount_path_is_left(text: str) -> None:
    done = rewrite(f"{text} /models", {"/models": Path("/pod/v/m")})

    assert done.endswith(" /pod/v/m")
    assert rewrite(done, {"/models": Path("/pod/v/m")}) == done


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("", "/pod/home"),
        ("/models/flux", "/pod/v/models/flux"),
        ("/app", "/pod/home/app"),
    ],
)
def test_a_working_directory_is_in_a_volume_or_in_the_pods_own_folder(
    wanted: str, expected: str
) -> None:
    assert working_directory(wanted, MOUNTS, Path("/pod/home")) == Path(expected)
