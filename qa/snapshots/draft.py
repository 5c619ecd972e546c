"""A frozen machine in the making: a hidden folder, which becomes an entry of the store by one rename, or never."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from qa.errors import NoSpace, SnapshotError
from qa.snapshots.cleanup import DRAFT
from qa.snapshots.entry import LOCK, Entry
from qa.snapshots.manifest import FILE_NAME, LARGEST, Base, FileRecord, Manifest
from qa.snapshots.reading import UNSETTLED, boot_id

if TYPE_CHECKING:
    from qa.snapshots.store import Store

CHECKED_SIZE = 4 << 20
"""Bytes. Smaller files (devices, firmware variables) are checked by their content when an entry is used, others by their size:
reading a whole memory would take longer than forking it."""
BOOKKEEPING = {FILE_NAME, LOCK, UNSETTLED}
"""Names that no file of a machine can have."""


class Draft:
    """What is written into ``folder`` is in the entry.

    Attributes:
        id: the entry's name, settled already.
        folder: where files are written. No folders in it, and no links.
        final: the folder it will have: what a disk's overlay names as its backing file.
    """

    def __init__(self, store: Store, folder: Path, final: Path, fields: dict[str, Any]) -> None:
        self.store = store
        self.folder = folder
        self.final = final
        self.entry: Entry | None = None
        self._fields = fields

    @property
    def id(self) -> str:
        """The entry's name."""
        return self.final.name

    def commit(self, *, machine: dict[str, Any] | None = None, bases: Iterable[Base] = ()) -> Entry:
        """Make it an entry, which nobody removes before the draft's block ends. Takes milliseconds: no large file is read.

        Raises:
            SnapshotError: it cannot be recorded or moved to its place, or was committed before.
            NoSpace: the file system is full.
        """
        if self.entry is not None:
            raise SnapshotError(f"the frozen machine {self.id} was committed before")
        with self.store.writing():
            data = self._manifest(machine or {}, tuple(bases)).render()
            if len(data) > LARGEST:
                raise SnapshotError(f"the record of the frozen machine {self.id} has more than {LARGEST >> 20} MiB")
            (self.folder / FILE_NAME).write_bytes(data)
            if not self._fields["ephemeral"]:
                (self.folder / UNSETTLED).write_text(boot_id(), encoding="ascii")
            with self.store.changing():
                self.folder.rename(self.final)
        self.entry = self.store.get(self.id)
        return self.entry

    def _manifest(self, machine: dict[str, Any], bases: tuple[Base, ...]) -> Manifest:
        files = {file.name: _record(file) for file in sorted(self.folder.iterdir()) if file.name not in BOOKKEEPING}
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            machine = json.loads(json.dumps(machine, allow_nan=False))  # what is no JSON would come back as something else
            place = str(self.final.absolute())
            manifest = Manifest(
                id=self.id, created=created, files=files, place=place, bases=bases, machine=machine, **self._fields
            ).sealed()
            if Manifest.model_validate_json(manifest.render()) != manifest:
                raise ValueError("it reads differently from how it was written")
        except (ValidationError, TypeError, ValueError, RecursionError) as error:
            raise SnapshotError(f"the frozen machine {self.id} cannot be recorded: {error}") from error
        return manifest


def _record(file: Path) -> FileRecord:
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise SnapshotError(f"{file} cannot be stored: it is no ordinary file")
    if status.st_size >= CHECKED_SIZE:
        return FileRecord(size=status.st_size)
    with file.open("rb") as content:
        return FileRecord(size=status.st_size, sha256=hashlib.file_digest(content, "sha256").hexdigest())


@contextlib.contextmanager
def drafting(store: Store, fields: dict[str, Any]) -> Iterator[Draft]:
    """See `Store.draft`. The parents are held by the caller."""
    name = secrets.token_hex(8)
    folder = store.root / f"{DRAFT}{name}"
    lock = _start(store, folder, claim(fields["kind"], fields["key"]))
    draft = Draft(store, folder, store.root / name, fields)
    try:
        with store.writing(only_space=True):
            yield draft
        if draft.entry is not None:
            _settle(draft.entry)
            with contextlib.suppress(SnapshotError, NoSpace):
                store.prune()  # with the lock held: the new one is not what makes room
    except BaseException:
        os.close(lock)
        store.discard(name)
        raise
    else:
        os.close(lock)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def claim(kind: str, key: str) -> bytes:
    """What a lock says of the entry it is in: who looks for a key notices a damaged entry by that."""
    return f"{kind} {key}".encode()


def _start(store: Store, folder: Path, content: bytes) -> int:
    """Make the hidden folder and lock it, as all do who use an entry; gives the open lock."""
    with store.writing():
        store.make()
        with store.changing():
            folder.mkdir(mode=0o700)
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        try:
            os.write(descriptor, content)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
            raise
    return descriptor


def _settle(entry: Entry) -> None:
    """Bring a new entry safely onto the disk, so that it survives a crash of the host. Takes as long as the disk does."""
    if entry.manifest.ephemeral:
        return
    with contextlib.suppress(OSError):  # what is not settled is used until the host starts anew, and no longer
        for path in (*(entry.folder / name for name in (*entry.manifest.files, FILE_NAME)), entry.folder, entry.store.root):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        (entry.folder / UNSETTLED).unlink()
