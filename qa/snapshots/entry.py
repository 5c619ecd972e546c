"""An entry of the store: an immutable folder with a frozen machine, and the entries that it builds on."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qa.errors import SnapshotError, SnapshotNotFound, SnapshotUnusable
from qa.snapshots import locks
from qa.snapshots.manifest import FileRecord, Manifest, open_file, unreadable, unusable

if TYPE_CHECKING:
    from qa.snapshots.store import Store

LOCK = "lock"
"""Locked by whoever uses the entry; its time of modification is that of the last use."""


@dataclass(frozen=True)
class Entry:
    """A sound entry, as far as reading its manifest and looking at its files tells.

    Attributes:
        ancestors: all entries that it builds on, directly or not, each after those that it builds on itself.
    """

    folder: Path
    manifest: Manifest
    ancestors: tuple[Entry, ...]
    store: Store = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """Its name in the store."""
        return self.manifest.id

    @property
    def size(self) -> int:
        """Bytes on the disk that are its own, without its ancestors."""
        return disk_size(self.folder)

    @property
    def last_use(self) -> float:
        """When it was last held, in seconds since 1970."""
        return last_use(self.folder)

    def has(self, name: str) -> bool:
        """Whether a file of that name is in it."""
        return name in self.manifest.files

    def hold(self) -> Lease:
        """Keep it, and all that it builds on, from being removed; notes the use.

        Raises:
            SnapshotNotFound: it has been removed meanwhile.
            SnapshotUnusable: its lock cannot be opened.
            SnapshotError: another process does not let go of its lock.
        """
        family = (self, *reversed(self.ancestors))
        with contextlib.ExitStack() as held:
            held.callback(self.store.let_go, [one.id for one in family if one.manifest.ephemeral])
            for one in family:  # itself first: what a held entry builds on is not removed
                held.callback(os.close, _lock(one))
            return Lease(held.pop_all())

    def check(self) -> None:
        """Compare the content of its small files, and of its ancestors', with what was recorded. Files that were found to be
        right are not read again by this process until they change.

        Raises:
            SnapshotUnusable: a file was changed, or cannot be read.
        """
        for one in (*self.ancestors, self):
            for name, record in one.manifest.files.items():
                if record.sha256 is not None:
                    _check(one, name, record)


class Lease:
    """The right to use an entry, and all that it builds on, until it is closed or this process ends.

    Closing the last one on an ephemeral entry removes that.
    """

    def __init__(self, held: contextlib.ExitStack) -> None:
        self._held = held

    def close(self) -> None:
        """Let go. A second call does nothing."""
        self._held.close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Broken:
    """An entry that is there and cannot be used, with the error that says why."""

    id: str
    folder: Path
    error: SnapshotUnusable

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return disk_size(self.folder)

    @property
    def last_use(self) -> float:
        """When it was last held, in seconds since 1970."""
        return last_use(self.folder)


def disk_size(folder: Path) -> int:
    """Bytes on the disk in ``folder``; a file with several names counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = Path(place, name).lstat()
                sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def last_use(folder: Path) -> float:
    """When the entry in ``folder`` was last held, in seconds since 1970; 0 where that cannot be told."""
    try:
        return (folder / LOCK).lstat().st_mtime
    except OSError:
        return 0.0


def _lock(entry: Entry) -> int:
    try:
        descriptor = locks.shared(entry.folder / LOCK)
    except FileNotFoundError as error:
        if entry.folder.exists():
            raise unusable(entry.id, "its lock is gone") from error
        raise SnapshotNotFound(f"the frozen machine {entry.id} was removed just now") from error
    except OSError as error:
        raise unreadable(entry.id, "its lock", error) from error
    if descriptor is None:
        raise SnapshotError(f"another process does not let go of the lock of the frozen machine {entry.id}")
    with contextlib.suppress(OSError):  # a store that can only be read keeps no record of its use
        os.utime(descriptor)
    return descriptor


def _check(entry: Entry, name: str, record: FileRecord) -> None:
    try:
        with open_file(entry.folder / name) as file:
            status = os.fstat(file.fileno())
            state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if state in entry.store.verified:
                return
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(entry.id, f"its file {name}", error) from error
    except ValueError as error:
        raise unusable(entry.id, f"its file {name} {error}") from error
    if digest != record.sha256:
        raise unusable(entry.id, f"its file {name} was changed after it was written")
    entry.store.verified.add(state)
