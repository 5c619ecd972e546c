"""An entry of the store: an immutable folder with a frozen machine, and the entries that it builds on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qa.errors import SnapshotError, SnapshotNotFound, SnapshotUnusable
from qa.snapshots import locks
from qa.snapshots.manifest import FileRecord, Manifest, read_bounded, read_manifest, unusable

if TYPE_CHECKING:
    from qa.snapshots.store import Store

LOCK = "lock"
"""Locked by whoever uses the entry; its time of modification is that of the last use."""
UNSETTLED = "unsettled"
"""There until all files are safely on the disk; says in which run of the host's kernel they were written."""
CHECKED_SIZE = 4 << 20
"""Bytes. Smaller files (devices, firmware variables) are checked by their content when an entry is used, others by their size:
reading a whole memory would take longer than forking it."""


@dataclass(frozen=True)
class Lease:
    """The right to use an entry, and all that it builds on, until it is closed; or until this process ends."""

    descriptors: tuple[int, ...]
    on_close: Callable[[], None]
    _closed: list[bool] = field(default_factory=list)

    def close(self) -> None:
        """Let go. A second call does nothing."""
        if self._closed:
            return
        self._closed.append(True)
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.on_close()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
            SnapshotUnusable: its lock cannot be taken.
        """
        # Itself first: what has a child that is held is never removed.
        held: list[int] = []
        family = (self, *reversed(self.ancestors))
        try:
            held.extend(_lock(one) for one in family)
        except BaseException:
            for descriptor in held:
                os.close(descriptor)
            raise

        def let_go() -> None:
            for one in family:
                if one.manifest.ephemeral:
                    one.store.discard(one)

        return Lease(tuple(held), let_go)

    def check(self) -> None:
        """Compare the content of its small files, and of its ancestors', with what was recorded. Files that were found to be
        right are not read again by this process until they change.

        Raises:
            SnapshotUnusable: a file was changed, or cannot be read.
        """
        for one in (*self.ancestors, self):
            for name, record in one.manifest.files.items():
                if record.sha256 is not None:
                    _check_file(one, name, record)


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


@dataclass
class Reader:
    """Reads entries of one store, each once."""

    store: Store
    found: dict[str, Entry] = field(default_factory=dict)

    def open(self, snapshot: str) -> Entry:
        """The entry of that id, with all that it builds on. No recursion: chains may be long.

        Raises:
            SnapshotUnusable: it is damaged, or one that it builds on is, or a file that it builds on has changed.
        """
        path: dict[str, Manifest] = {}
        todo = [snapshot]
        while todo:
            current = todo[-1]
            if current in self.found:
                todo.pop()
                continue
            manifest = path.get(current) or self._read(current, snapshot)
            path[current] = manifest
            missing = [parent for parent in manifest.parents if parent not in self.found]
            if not missing:
                self.found[current] = self._entry(manifest)
            elif missing[0] in path:
                raise unusable(snapshot, "it builds on itself")
            else:
                todo.append(missing[0])
        return self.found[snapshot]

    def _read(self, current: str, asked: str) -> Manifest:
        folder = self.store.root / current
        if current != asked and not folder.exists():
            raise unusable(asked, f"{current}, which it builds on, is gone")
        try:
            manifest = read_manifest(folder)
            _look(folder, manifest)
        except SnapshotUnusable as error:
            if current == asked:
                raise
            raise unusable(asked, f"it builds on another one. {error.message}", evidence=error.evidence) from error
        return manifest

    def _entry(self, manifest: Manifest) -> Entry:
        ancestors: dict[str, Entry] = {}
        for parent in (self.found[name] for name in manifest.parents):
            ancestors.update((one.id, one) for one in (*parent.ancestors, parent))
        return Entry(self.store.root / manifest.id, manifest, tuple(ancestors.values()), self.store)


def _lock(entry: Entry) -> int:
    try:
        descriptor = locks.shared(entry.folder / LOCK)
    except FileNotFoundError as error:
        if entry.folder.exists():
            raise unusable(entry.id, "its lock is gone") from error
        raise SnapshotNotFound(f"the frozen machine {entry.id} was removed just now") from error
    except OSError as error:
        raise unusable(entry.id, f"its lock cannot be opened: {error.strerror}") from error
    if descriptor is None:
        raise SnapshotError(f"another process keeps the frozen machine {entry.id} locked")
    with contextlib.suppress(OSError):  # a store that is only read has no record of its use
        os.utime(descriptor)
    return descriptor


def _check_file(entry: Entry, name: str, record: FileRecord) -> None:
    try:
        descriptor = os.open(entry.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            if state in entry.store.verified:
                return
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unusable(entry.id, f"its file {name} cannot be read: {error.strerror}") from error
    if digest != record.sha256:
        raise unusable(entry.id, f"its file {name} was changed after it was written")
    entry.store.verified.add(state)


def _look(folder: Path, manifest: Manifest) -> None:
    """Whether the files are what the manifest says, as far as their sizes tell."""
    for name, record in manifest.files.items():
        try:
            status = (folder / name).lstat()
        except OSError as error:
            raise unusable(manifest.id, f"its file {name} cannot be looked at: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise unusable(manifest.id, f"its file {name} is no ordinary file")
        if status.st_size != record.size:
            raise unusable(manifest.id, f"its file {name} has {status.st_size} bytes, and {record.size} were written")
    if _is_lost(folder / UNSETTLED):
        raise unusable(manifest.id, "the host went down before it was safely on the disk")
    for base in manifest.bases:
        if problem := base.problem():
            raise unusable(manifest.id, f"{base.path}, which its disks build on, {problem}")


def boot_id() -> str:
    """Of this run of the host's kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _is_lost(mark: Path) -> bool:
    try:
        return read_bounded(mark).decode("ascii", "replace") != boot_id()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True


def disk_size(folder: Path) -> int:
    """Bytes on the disk in ``folder``; a file with several names counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for status in _statuses(folder):
        sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def _statuses(folder: Path) -> Iterable[os.stat_result]:
    for place, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                yield (Path(place) / name).lstat()


def last_use(folder: Path) -> float:
    """When the entry in ``folder`` was last held; 0 where that cannot be told."""
    try:
        return (folder / LOCK).lstat().st_mtime
    except OSError:
        return 0.0
