"""Small files that are remembered between runs, and copies of large ones."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from pathlib import Path


def write_atomically(file: Path, text: str) -> None:
    """Replace ``file`` by ``text`` at once: a reader sees the old content or the new, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def clone(source: Path, target: Path) -> None:
    """A copy of a sparse file that keeps its holes, for the user's eyes only.

    On file systems that can share blocks (btrfs, XFS) it costs nothing.
    """
    with source.open("rb") as original, target.open("xb") as copy:
        os.fchmod(copy.fileno(), 0o600)
        try:
            fcntl.ioctl(copy, _FICLONE, original.fileno())
        except OSError:
            _copy_data(original.fileno(), copy.fileno())


_FICLONE = 0x40049409


def _copy_data(source: int, target: int) -> None:
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # there is nothing but a hole from here on
        end = os.lseek(source, start, os.SEEK_HOLE)
        os.lseek(target, start, os.SEEK_SET)
        while start < end:
            sent = os.sendfile(target, source, start, min(end - start, _COPY_CHUNK))
            if not sent:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            start += sent


_COPY_CHUNK = 64 << 20
