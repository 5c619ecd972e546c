"""What is recorded of a frozen machine beside its files. It is read back with suspicion: files get cut short and edited."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qa.errors import SnapshotError, SnapshotUnusable

FILE_NAME = "manifest.json"
ROOT = 0
"""The user whose folders are trusted like one's own."""
LARGEST = 16 << 20
"""Bytes of a manifest. What is longer (the log of a console) belongs into a file of the entry."""

Kind = Literal["template", "snapshot", "failure", "checkpoint"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ID = re.compile(r"[0-9a-f]{16}")
_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"
_PATH = r"^/[^\x00]*$"
_FILE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
_SHA256 = r"^[0-9a-f]{64}$"

Id = Annotated[str, Field(pattern=f"^{ID.pattern}$")]


class Strict(BaseModel):
    """Nothing is converted, nothing unknown is let in, nothing changes afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class FileRecord(Strict):
    """One file of the entry: its bytes, and the digest of its content unless it is too large to be read at each use."""

    size: int = Field(ge=0)
    sha256: str | None = Field(None, pattern=_SHA256)


class Base(Strict):
    """A file outside of the store that the disks build on, as it was when the machine was frozen."""

    path: str = Field(pattern=_PATH)
    size: int = Field(ge=0)
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> Base:
        """The file as it is now.

        Raises:
            SnapshotError: it cannot be looked at.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise SnapshotError(f"cannot look at {path}, which a disk builds on: {error.strerror}") from error
        return cls(path=str(path.absolute()), size=status.st_size, mtime_ns=status.st_mtime_ns)

    def problem(self) -> str | None:
        """What has changed since, in words that follow the file's name."""
        try:
            status = Path(self.path).stat()
        except OSError as error:
            return "is gone" if isinstance(error, FileNotFoundError) else f"cannot be looked at: {error.strerror}"
        if (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns):
            return "has changed since"
        return None


class Manifest(Strict):
    """A frozen machine.

    Attributes:
        key: what a template depends on, as one word; empty for what is never looked for by key.
        title: what it is called in lists.
        created: time in UTC, as ISO 8601.
        ephemeral: a restore point of one run, worthless as soon as nobody holds it.
        parents: the entries whose memory or disk layers it builds on.
        files: the files of its folder, by name.
        place: its folder as it was made: that is where its disks name each other.
        bases: files outside of the store that it builds on.
        machine: whatever is needed to continue it; only who thaws it understands that.
        digest: of all the rest, so that a changed byte shows.
    """

    schema_version: Literal[1] = Field(1, alias="schema")
    id: Id
    kind: Kind
    key: str = Field(max_length=1024, pattern=_LINE)
    title: str = Field(max_length=1024, pattern=_LINE)
    created: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    ephemeral: bool
    parents: tuple[Id, ...]
    files: dict[Annotated[str, Field(pattern=_FILE)], FileRecord]
    place: str = Field(pattern=_PATH)
    bases: tuple[Base, ...]
    machine: dict[str, Any]
    digest: str = Field("0" * 64, pattern=_SHA256)

    def sealed(self) -> Manifest:
        """The same with its digest filled in."""
        rest = self.model_dump(mode="json", by_alias=True, exclude={"digest"})
        return self.model_copy(update={"digest": hashlib.sha256(_text(rest).encode()).hexdigest()})

    def render(self) -> bytes:
        """The one way in which it is written: a file that differs in any byte was not written by us."""
        return (_text(self.model_dump(mode="json", by_alias=True)) + "\n").encode()


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, sort_keys=True, indent=1, allow_nan=False)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the entry in ``folder``.

    Raises:
        SnapshotUnusable: it is missing, damaged, or not to be trusted.
    """
    name = folder.name
    try:
        status = folder.lstat()
        if reason := distrust(status):
            raise unusable(name, f"its folder {reason}")
        data = read_bounded(folder / FILE_NAME)
    except FileNotFoundError as error:
        raise unusable(name, "its manifest is gone") from error
    except OSError as error:
        raise unreadable(name, "its manifest", error) from error
    except ValueError as error:
        raise unusable(name, f"its manifest {error}") from error
    try:
        manifest = Manifest.model_validate_json(data)
        if manifest.sealed().digest != manifest.digest or manifest.render() != data:
            raise unusable(name, "its manifest was changed after it was written")
    except (ValidationError, ValueError, RecursionError) as error:
        raise unusable(name, "its manifest is damaged", evidence={"reason": str(error)[:2000]}) from error
    if manifest.id != name:
        raise unusable(name, f"its manifest belongs to {manifest.id}")
    return manifest


def read_bounded(path: Path) -> bytes:
    """The content of a regular file of sensible size; links are not followed.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file; the message follows its name.
    """
    with open_file(path) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"has more than {LARGEST >> 20} MiB")
    return data


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """An ordinary file, open for reading; links are not followed, and nothing is waited for.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no such file; the message follows its name.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is no ordinary file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def distrust(folder: os.stat_result) -> str | None:
    """Why a folder is not to be trusted, in words that follow its name."""
    if not stat.S_ISDIR(folder.st_mode):
        return "is no folder"
    if folder.st_uid not in {os.geteuid(), ROOT}:
        return "belongs to somebody else"
    if folder.st_mode & 0o022:
        return "can be written to by others"
    return None


def one_line(text: str) -> str:
    """``text`` as a title can be: nothing in it moves the cursor."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", text).strip()[:200]


def unusable(snapshot: str, reason: str, evidence: dict[str, str] | None = None) -> SnapshotUnusable:
    """The error for a frozen machine that cannot be used."""
    return SnapshotUnusable(
        f"the frozen machine {snapshot} cannot be used: {reason}",
        hint=f"remove it: anima-qa template remove {snapshot}",
        evidence=evidence,
        snapshot=snapshot,
    )


def reason(error: SnapshotUnusable) -> str:
    """Why a frozen machine cannot be used, without its name."""
    return error.message.partition(" cannot be used: ")[2] or error.message


def unreadable(snapshot: str, what: str, error: OSError) -> SnapshotError:
    """The error for a part of a frozen machine that cannot be read: it is damaged, unless we are what is short of something."""
    if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
        return SnapshotError(f"the frozen machine {snapshot} cannot be read now: {error.strerror}")
    reason = "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
    return unusable(snapshot, f"{what} {reason}")
