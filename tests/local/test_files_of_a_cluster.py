"""What a cluster has on tmpfs, listed while its pods write there and end."""

import os
from pathlib import Path

import pytest

from tridentserve_local import cluster


def test_files_are_listed_though_a_folder_goes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "kept" / "link").symlink_to("nowhere")
    scandir = os.scandir

    def scan_late(path: os.PathLike[str] | str) -> object:
        if Path(path).name == "gone":
            Path(path, "file").unlink()
            Path(path).rmdir()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan_late)
    found = cluster._files(tmp_path)

    assert [str(file.relative_to(tmp_path)) for file in found] == ["kept/file", "kept/link"]
    assert not (tmp_path / "gone").exists()


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert cluster._files(tmp_path / "nowhere") == []
