"""The content digest changes with everything that makes another model, and with nothing else."""

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tridentserve.errors import InvalidFieldError
from tridentserve.families.digest import content_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "vae").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "X"}')
    (folder / "vae" / "config.json").write_text("{}")
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    weights = struct.pack("<Q", len(header)) + header + bytes(8)
    (folder / "vae" / "model.safetensors").write_bytes(weights)
    (folder / "README.md").write_text("hello")
    return folder


def replace_in(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new))

    return change


@pytest.mark.parametrize(
    "change",
    [
        replace_in("model_index.json", b"X", b"Y"),
        replace_in("vae/config.json", b"{}", b"[]"),
        replace_in("vae/model.safetensors", b"F32", b"I32"),
        replace_in("vae/model.safetensors", b"[2]", b"[1]"),
        lambda folder: (folder / "README.md").write_text("longer"),
        lambda folder: (folder / "new.txt").touch(),
        lambda folder: (folder / "README.md").unlink(),
        lambda folder: (folder / "README.md").rename(folder / "README2.md"),
        lambda folder: (folder / "vae").rename(folder / "vae2"),
        replace_in("vae/model.safetensors", b"}}", b"}}\0"),
    ],
)
def test_a_change_is_noticed(folder: Path, change: Callable[[Path], object]) -> None:
    before = content_digest(folder)
    change(folder)

    assert content_digest(folder) != before


def test_names_and_contents_cannot_be_shifted_into_each_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x.json").write_text("1x.json1")
    (tmp_path / "b" / "x.json").write_text("1")
    (tmp_path / "b" / "x.json1").write_text("")

    assert content_digest(tmp_path / "a") != content_digest(tmp_path / "b")


def test_the_same_content_elsewhere_is_the_same(folder: Path, tmp_path: Path) -> None:
    before = content_digest(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))

    assert content_digest(moved) == before


def test_what_tools_leave_behind_is_not_part_of_a_model(folder: Path) -> None:
    before = content_digest(folder)
    for name in (".cache/huggingface/x.metadata", "lost+found/1", ".gitattributes"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("time")

    assert content_digest(folder) == before


def test_links_count_as_what_they_lead_to(folder: Path, tmp_path: Path) -> None:
    before = content_digest(folder)
    (folder / "vae").rename(tmp_path / "blobs")
    (folder / "vae").symlink_to(tmp_path / "blobs")
    (folder / "README.md").rename(tmp_path / "readme")
    (folder / "README.md").symlink_to(tmp_path / "readme")

    assert content_digest(folder) == before


def test_links_in_a_circle_end(folder: Path) -> None:
    before = content_digest(folder)
    (folder / "vae" / "up").symlink_to(folder)
    (folder / "vae" / "here").symlink_to(folder / "vae")

    assert content_digest(folder) == before


def test_a_folder_with_two_names_counts_under_both_in_whatever_order(
    folder: Path, tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    shutil.copytree(folder, copies)
    for name in ("a", "z"):
        (folder / name).symlink_to(folder / "vae")
        shutil.copytree(copies / "vae", copies / name)

    assert content_digest(folder) == content_digest(copies)


def test_the_digest_is_the_same_in_every_version_of_ours(folder: Path) -> None:
    """A worker of yesterday must take today's for one of the same model."""
    assert (
        content_digest(folder) == "02ffa9b6387ce64d33b5b9716c7f5f18d95b9d9efce1d78ed740e94958f7b025"
    )


@pytest.mark.parametrize(
    "content", [b"", b"1234567", struct.pack("<Q", 1 << 60) + b"{}", b"\xff" * 100]
)
def test_a_file_that_is_no_safetensors_is_named(folder: Path, content: bytes) -> None:
    (folder / "vae" / "model.safetensors").write_bytes(content)

    with pytest.raises(InvalidFieldError, match=r"^vae/model\.safetensors: is no safetensors"):
        content_digest(folder)


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "vae" / "broken.json").symlink_to(folder / "nowhere")

    with pytest.raises(InvalidFieldError, match=r"vae/broken.json: cannot be read: No such file"):
        content_digest(folder)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFieldError, match="nowhere: cannot be read"):
        content_digest(tmp_path / "nowhere")
