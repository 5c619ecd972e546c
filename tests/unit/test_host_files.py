"""Copies of sparse files: the same content, the same holes, and no silence about what cannot be read."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qa.host import files
from qa.host.files import clone

BLOCK = 64 * 1024


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk's file system, and one in memory (tmpfs)."""
    if request.param == "disk":
        yield tmp_path
    else:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
            yield Path(name)


def sparse(path: Path, size: int, **parts: bytes) -> Path:
    """A file of ``size`` bytes with ``parts`` (``at5=b"x"``) at multiples of `BLOCK`, and holes."""
    with path.open("wb") as file:
        file.truncate(size)
        for where, data in parts.items():
            file.seek(int(where.removeprefix("at")) * BLOCK)
            file.write(data)
    return path


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        (0, {}),
        (1, {"at0": b"x"}),
        (1, {}),
        (BLOCK, {"at0": b"x" * BLOCK}),
        (8 * BLOCK, {}),
        (8 * BLOCK, {"at0": b"x" * BLOCK}),
        (8 * BLOCK, {"at7": b"x" * BLOCK}),
        (8 * BLOCK, {"at2": b"abc" * 1000, "at5": b"z"}),
        (8 * BLOCK + 17, {"at8": b"x" * 17}),
        (8 * BLOCK + 17, {"at1": b"x" * BLOCK}),
    ],
)
def test_content_and_holes_are_those_of_the_original(folder: Path, size: int, parts: dict[str, bytes]) -> None:
    original = sparse(folder / "original", size, **parts)
    clone(original, folder / "copy")
    assert (folder / "copy").read_bytes() == original.read_bytes()
    assert (folder / "copy").stat().st_blocks <= original.stat().st_blocks


def test_a_copy_is_another_file(folder: Path) -> None:
    original = sparse(folder / "original", BLOCK, at0=b"x")
    clone(original, folder / "copy")
    (folder / "copy").write_bytes(b"changed")
    assert original.read_bytes() == b"x" + b"\0" * (BLOCK - 1)


def test_a_copy_longer_than_one_piece(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_COPY_CHUNK", 5000)
    data = os.urandom(3 * BLOCK)
    original = sparse(folder / "original", 8 * BLOCK, at2=data)
    clone(original, folder / "copy")
    assert (folder / "copy").read_bytes() == original.read_bytes()


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    original = sparse(tmp_path / "original", 10)
    (tmp_path / "copy").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        clone(original, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"precious"


def test_blocks_are_shared_where_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def ioctl(copy: object, request: int, original: int) -> int:
        asked.append(request)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    clone(sparse(tmp_path / "original", 10, at0=b"x"), tmp_path / "copy")
    assert asked == [0x40049409]  # FICLONE
    assert (tmp_path / "copy").read_bytes() == b""  # nothing was copied besides


def test_a_disk_that_cannot_be_read_is_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(_: int, __: int, how: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    original = sparse(tmp_path / "original", 10, at0=b"x")
    monkeypatch.setattr(os, "lseek", bad)
    with pytest.raises(OSError, match="Input/output error"):
        clone(original, tmp_path / "copy")


def test_a_file_that_gets_shorter_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sendfile", lambda *_: 0)
    with pytest.raises(OSError, match="became shorter"):
        clone(sparse(tmp_path / "original", 10, at0=b"x" * 10), tmp_path / "copy")


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    original = sparse(tmp_path / "original", 10, at0=b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    clone(original, tmp_path / "copy")
    with pytest.raises(FileExistsError):
        clone(original, tmp_path / "copy")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
