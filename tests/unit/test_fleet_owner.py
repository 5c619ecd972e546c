"""Ownership of machine files: what dead owners left is removed, and nothing else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qa.errors import HostError, NoSpace
from qa.fleet import Owner, sweep
from qa.paths import Paths

OWN = """
import signal
from qa.fleet import Owner
from qa.paths import Paths
with Owner.register(Paths.from_environment()) as owner:
    folder = owner.machine_folder("vm")
    (folder / "disk0.qcow2").write_bytes(b"x" * 100_000)
    print(owner.folder, flush=True)
    signal.pause()
"""


@contextmanager
def other_owner() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that owns a folder with a disk in it."""
    with subprocess.Popen([sys.executable, "-c", OWN], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def killed_owner() -> Path:
    with other_owner() as (process, folder):
        process.send_signal(signal.SIGKILL)
        process.wait()
    return folder


def test_a_living_owner_is_not_touched(home: Paths) -> None:
    with other_owner() as (_, folder):
        assert sweep(home) == []
        assert (folder / "1-vm" / "disk0.qcow2").exists()


def test_a_killed_owner_is_swept_with_its_size(home: Paths) -> None:
    folder = killed_owner()
    assert folder.exists()
    (swept,) = sweep(home)
    assert swept.folder == folder
    assert swept.size >= 100_000
    assert not folder.exists()


def test_registering_sweeps(home: Paths) -> None:
    folder = killed_owner()
    with Owner.register(home) as owner:
        assert not folder.exists()
        assert owner.folder.exists()


def test_ones_own_folder_is_private_locked_and_goes(home: Paths) -> None:
    with Owner.register(home) as owner:
        assert owner.folder.stat().st_mode & 0o777 == 0o700
        assert sweep(home) == []
    assert list(home.work.iterdir()) == []


def test_it_goes_too_when_the_block_fails(home: Paths) -> None:
    def fail() -> None:
        with Owner.register(home) as owner:
            owner.machine_folder("vm")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(home.work.iterdir()) == []


def test_two_owners_and_machines_of_one_name_do_not_meet(home: Paths) -> None:
    with Owner.register(home) as one, Owner.register(home) as two:
        folders = {owner.machine_folder("vm") for owner in (one, one, two)}
        assert len(folders) == 3
        assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize("name", ["notes", "owner", "my-owner-1-x", "disk.qcow2"])
def test_what_is_not_ours_stays(home: Paths, name: str) -> None:
    foreign = home.work / name
    foreign.mkdir(parents=True)
    (foreign / "owner.lock").touch()
    assert sweep(home) == []
    assert foreign.exists()


def test_a_file_with_a_name_of_ours_stays(home: Paths) -> None:
    home.work.mkdir(parents=True)
    (home.work / "owner-1-x").write_text("mine")
    assert sweep(home) == []
    assert (home.work / "owner-1-x").exists()


def test_links_are_not_followed(home: Paths, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "owner.lock").touch()
    (precious / "data").write_text("x")
    home.work.mkdir(parents=True)
    (home.work / "owner-999999-link").symlink_to(precious)
    folder = killed_owner()
    (folder / "1-vm" / "way").symlink_to(precious)
    assert [swept.folder for swept in sweep(home)] == [folder]
    assert (precious / "data").exists()


def test_a_lock_that_is_a_link_is_not_opened(home: Paths, tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    folder = home.work / "owner-999999-x"
    folder.mkdir(parents=True)
    (folder / "owner.lock").symlink_to(tmp_path / "target")
    assert sweep(home) == []


@pytest.mark.parametrize("lock", [True, False])
def test_a_folder_that_is_just_being_made_stays(home: Paths, lock: bool) -> None:
    making = home.work / f".owner-{os.getpid()}-x"
    making.mkdir(parents=True)
    if lock:
        (making / "owner.lock").touch()
    assert sweep(home) == []
    assert making.exists()


@pytest.mark.parametrize("name", [".owner-999999999-x", "owner-999999999-x"])
def test_a_folder_whose_maker_died_before_the_lock_goes(home: Paths, name: str) -> None:
    (home.work / name).mkdir(parents=True)
    assert [swept.folder.name for swept in sweep(home)] == [name]


def test_without_a_folder_there_is_nothing_to_sweep(home: Paths) -> None:
    assert sweep(home) == []
    assert not home.work.exists()


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EROFS, HostError), (errno.EACCES, HostError)])
def test_a_cache_that_cannot_be_written_is_told_with_a_way_out(
    home: Paths, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[HostError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(kind) as caught, Owner.register(home):
        pass
    assert "ANIMA_QA_HOME" in (caught.value.hint or "")
