"""A cache of the test's own, and programs that are not what they say."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache that the toolchain uses in this test."""
    root = tmp_path / "cache"
    monkeypatch.setenv("TRIDENTSERVE_CACHE", str(root))
    return root


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder of PATH: empty, as if nothing was installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


WriteProgram = Callable[[Path, str], Path]


@pytest.fixture
def write_program() -> WriteProgram:
    """Writes a shell script where a program is looked for."""

    def write(path: Path, script: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write
