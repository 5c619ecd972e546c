"""New image files get their name when they are complete; else nothing of them is left."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qa.errors import HostError, ImageError, NoSpace, UsageError
from qa.images.placing import new_file


async def make(target: Path, *, replace: bool = False, then: Callable[[], object] = lambda: None) -> None:
    async with new_file(target, replace=replace) as part:
        part.write_text("new")
        then()


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


async def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "disk.raw"
    async with new_file(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.parent == tmp_path, "a rename must not cross file systems"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError("x"), asyncio.CancelledError()])
async def test_of_work_that_fails_nothing_is_left(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "old").write_text("old")
    for target in (tmp_path / "disk.raw", tmp_path / "old"):
        with pytest.raises(type(error)):
            await make(target, replace=True, then=failing(error))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"old": "old"}


async def test_a_file_that_is_there_is_replaced_only_where_that_is_meant(tmp_path: Path) -> None:
    target = tmp_path / "disk.raw"
    target.write_text("old")
    with pytest.raises(UsageError, match="there is a file"):
        await make(target)
    assert target.read_text() == "old"
    await make(target, replace=True)
    assert target.read_text() == "new"


async def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "disk.raw"
    with pytest.raises(UsageError, match="has appeared meanwhile"):
        await make(target, then=lambda: target.write_text("somebody else's"))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"disk.raw": "somebody else's"}


async def test_file_systems_without_links_are_served_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", none)
    await make(tmp_path / "disk.raw")
    assert [file.name for file in tmp_path.iterdir()] == ["disk.raw"]


async def test_what_is_no_place_for_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, why in (
        ("link", "is a link"),
        ("folder", "is a folder"),
        ("pipe", "is a folder or a device"),
        ("no/x", "no folder"),
    ):
        with pytest.raises(UsageError, match=why):
            await make(tmp_path / name, replace=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "link", "pipe"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EIO, ImageError)])
async def test_a_disk_that_refuses_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: Any
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(kind):
        await make(tmp_path / "disk.raw")
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(HostError, match="cannot be written to"):
        await make(tmp_path / "disk.raw")


async def test_what_a_killed_process_left_of_the_same_file_is_removed(tmp_path: Path) -> None:
    dead, alive = f".disk[1].raw.{2**22 + 1}-abcd.part", f".disk[1].raw.{os.getpid()}-abcd.part"
    other = f".disk1.raw.{2**22 + 1}-abcd.part"
    for name in (dead, alive, other):
        (tmp_path / name).touch()
    await make(tmp_path / "disk[1].raw")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([alive, other, "disk[1].raw"])
