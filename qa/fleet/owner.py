"""Ownership: each process that boots machines has a folder for their files, under a lock that the kernel drops when it dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qa.errors import HostError, NoSpace
from qa.paths import Paths

_LOCK = "owner.lock"
_PREFIX = "owner-"


@dataclass(frozen=True)
class Swept:
    """A dead owner's folder that was removed, and how many bytes on the disk it held."""

    folder: Path
    size: int


class Owner:
    """The living owner: this process. Its folder goes when the owner ends, or is swept at the next start of another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._machines = 0

    @classmethod
    @contextlib.contextmanager
    def register(cls, paths: Paths) -> Iterator[Owner]:
        """Sweep after dead owners, and own a folder of one's own for the length of the block.

        Raises:
            HostError: the cache folder cannot be written to.
        """
        sweep(paths)
        folder = paths.work / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            paths.work.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Made under another name and locked before it gets its own: a sweeper never sees it without a lock.
            hidden = folder.with_name("." + folder.name)
            hidden.mkdir(mode=0o700)
            lock = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            hidden.rename(folder)
        except OSError as error:
            raise _cannot_write(folder, error) from error
        try:
            yield cls(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def machine_folder(self, name: str) -> Path:
        """A new folder for one machine's files."""
        self._machines += 1
        folder = self.folder / f"{self._machines}-{name}"
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise _cannot_write(folder, error) from error
        return folder


def _cannot_write(folder: Path, error: OSError) -> HostError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return NoSpace(
            f"no space is left for machines in {folder.parent}", hint="free some, or set ANIMA_QA_HOME to another disk"
        )
    return HostError(
        f"{folder.parent} cannot be written to: {error.strerror}", hint="set ANIMA_QA_HOME to a folder that is yours"
    )


def sweep(paths: Paths) -> list[Swept]:
    """Remove what dead owners left. Their QEMUs are gone: the kernel kills them with their owner."""
    swept = []
    with contextlib.suppress(OSError):
        for folder in sorted(paths.work.iterdir()):
            if folder.name.lstrip(".").startswith(_PREFIX) and folder.is_dir() and not folder.is_symlink() and _is_dead(folder):
                size = _size(folder)
                shutil.rmtree(folder, ignore_errors=True)
                swept.append(Swept(folder, size))
    return swept


def _is_dead(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Between its making and its lock a folder is hidden, for a moment: one that stays so has lost its owner there.
        return not _process_lives(folder)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        # A hidden folder may just not be locked yet.
        return not (folder.name.startswith(".") and _process_lives(folder))
    finally:
        os.close(lock)


def _process_lives(folder: Path) -> bool:
    process = folder.name.lstrip(".").removeprefix(_PREFIX).partition("-")[0]
    return process.isdigit() and Path("/proc", process).exists()


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.lstat().st_blocks * 512
    return total
