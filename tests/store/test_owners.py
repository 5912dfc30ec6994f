"""The domain has one name, and the folders of the dead go away, and only theirs."""

import fcntl
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from tridentserve.errors import UnavailableError
from tridentserve.store import owners


def test_the_domain_is_a_uuid_and_stays(tmp_path: Path) -> None:
    first = owners.read_domain(tmp_path)

    assert str(uuid.UUID(first)) == first
    assert owners.read_domain(tmp_path) == first


def test_two_directories_are_two_domains(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    assert owners.read_domain(tmp_path / "a") != owners.read_domain(tmp_path / "b")


def test_all_who_come_at_once_read_one_domain(tmp_path: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(owners.read_domain(tmp_path)))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 16
    assert len(set(found)) == 1


def test_a_domain_file_left_empty_by_a_crash_is_filled(tmp_path: Path) -> None:
    (tmp_path / "domain").touch()

    assert owners.read_domain(tmp_path) == (tmp_path / "domain").read_text()


@pytest.mark.parametrize("text", ["nonsense", "a" * 1000, "../../x", "\n"])
def test_a_domain_file_with_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "domain").write_text(text)

    with pytest.raises(UnavailableError, match="holds no UUID; delete it"):
        owners.read_domain(tmp_path)


def test_another_users_domain_can_be_read(tmp_path: Path) -> None:
    domain = owners.read_domain(tmp_path)
    real = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode)

    with patch("os.open", read_only):
        assert owners.read_domain(tmp_path) == domain


def test_a_directory_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    with (
        patch.object(Path, "mkdir", side_effect=PermissionError(13, "Permission denied")),
        pytest.raises(UnavailableError, match="Permission denied"),
    ):
        owners.Owner(tmp_path)


def test_the_living_are_not_reaped(tmp_path: Path) -> None:
    owner = owners.Owner(tmp_path)
    (owner.folder / "0").touch()

    assert owners.reap(tmp_path) == 0
    assert (owner.folder / "0").exists()
    owner.close()
    assert list(tmp_path.iterdir()) == []
    owner.close()


def abandoned(owner: owners.Owner) -> Path:
    """What is left when its process is killed: the kernel closes the lease, nobody removes."""
    os.close(owner._lease)
    owner._lease = -1
    return owner.folder


def test_the_dead_are_reaped_with_everything_they_had(tmp_path: Path) -> None:
    living, dead = owners.Owner(tmp_path), owners.Owner(tmp_path)
    for number in range(3):
        (dead.folder / str(number)).touch()
    folder = abandoned(dead)

    assert owners.reap(tmp_path) == 1
    assert not folder.exists()
    assert living.folder.exists()
    assert owners.reap(tmp_path) == 0
    living.close()


@pytest.mark.parametrize("prefix", ["owner-", "new-"])
def test_folders_made_or_removed_by_half_are_reaped(tmp_path: Path, prefix: str) -> None:
    (tmp_path / f"{prefix}{uuid.uuid4().hex}").mkdir()
    with_lease = tmp_path / f"{prefix}{uuid.uuid4().hex}"
    with_lease.mkdir()
    (with_lease / "lease").touch()

    assert owners.reap(tmp_path) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_nobodys_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "domain").touch()
    (tmp_path / "owner-x").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / ("owner-" + "0" * 32)).touch()
    owners.reap(tmp_path)

    assert len(list(tmp_path.iterdir())) == 4


def test_what_may_not_be_removed_does_not_stop_the_rest(tmp_path: Path) -> None:
    stuck, other = abandoned(owners.Owner(tmp_path)), abandoned(owners.Owner(tmp_path))
    remove = owners._remove

    def refuse(folder: Path) -> None:
        if folder == stuck:
            raise PermissionError(13, "Permission denied")
        remove(folder)

    with patch("tridentserve.store.owners._remove", refuse):
        assert owners.reap(tmp_path) == 1
    assert stuck.exists()
    assert not other.exists()


@pytest.mark.parametrize(("name", "real"), [("os.open", os.open), ("fcntl.flock", fcntl.flock)])
def test_a_maker_that_is_overtaken_by_a_reaper_starts_again(
    tmp_path: Path, name: str, real: Callable[..., object]
) -> None:
    """At each of the points at which a folder without a held lease can be seen."""
    calls: list[object] = []

    def overtake(*arguments: object, **more: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            assert owners.reap(tmp_path) == 1
        return real(*arguments, **more)

    with patch(name, overtake):
        owner = owners.Owner(tmp_path)

    assert owner.folder.is_dir()
    assert owners.reap(tmp_path) == 0
    owner.close()


def test_a_maker_gives_up_where_folders_vanish_for_ever(tmp_path: Path) -> None:
    with (
        patch("os.open", side_effect=FileNotFoundError(2, "No such file")),
        pytest.raises(UnavailableError, match="vanish"),
    ):
        owners.Owner(tmp_path)
    owners.reap(tmp_path)
