"""The log of what was done: one line of JSON for each call, chained by digests, only ever appended to.

Any number of processes write to one file. Each line carries the digest of the line before it, so a line that was changed,
taken out or put in shows. Beside the file lies its *head*: a small file that says how far the log has come (so that lines
missing at the end show), serves as the lock between processes, and keeps some space in reserve, so that a call that was let
in can still be written down when the disk has become full meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qa.errors import AuditFailed

START = "0" * 64
"""What the first line has for the digest of the line before it."""

RESERVE = 64 << 10
"""Bytes of disk space that are held for lines of calls that are under way."""
LONGEST_LINE = 60 << 10
"""Bytes. Arguments are cut before; what is still longer is left out and said to be."""

_HEAD_SIZE = 4096
_TAIL = 64 << 10


@dataclass(frozen=True)
class Head:
    """How far the log has come: the number and the digest of its last line."""

    number: int = 0
    digest: str = START


def digest_of(record: Mapping[str, Any]) -> str:
    """The digest of a line: of all that is in it but the digest itself, with the keys in their order."""
    bare = {name: value for name, value in record.items() if name != "hash"}
    return hashlib.sha256(_as_json(bare, sort_keys=True)).hexdigest()


class AuditLog:
    """The log in ``file``, which is made when the first line is written. It can be used by any number of processes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.head_file = file.with_name(f"{file.name}.head")

    def prepare(self) -> None:
        """See that a line can be written, and hold space for it.

        Raises:
            AuditFailed: it cannot.
        """
        with self._locked() as (_, head):
            try:
                os.posix_fallocate(head, 0, RESERVE)
            except OSError as error:
                raise self._failed(error) from error

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line, and have it on the disk before this returns.

        Raises:
            AuditFailed: it could not be written whole.
        """
        with self._locked() as (log, head):
            try:
                last = self._mend(log, head)
                line = _chained(record, last)
                _write(log, head, line)
                os.fdatasync(log)
                _put_head(head, Head(line.number, line.digest))
            except OSError as error:
                raise self._failed(error) from error

    def _mend(self, log: int, head: int) -> Head:
        """The last line, after what a crash or somebody's hand left was marked."""
        told = _told(head)
        size = os.fstat(log).st_size
        last, broken = _last_line(log, size)
        if broken and (whole := _head_of(broken)) and digest_of(json.loads(broken)) == whole.digest:
            _write(log, head, b"\n")  # nothing but its end is missing
            return whole
        if broken:
            # The line stays as it is: who reads the log shall see that there was one.
            mark = {"event": "mended", "broken_bytes": len(broken), "broken_sha256": hashlib.sha256(broken).hexdigest()}
            line = _chained({"at": now(), **mark}, last or Head())
            _write(log, head, b"\n" + line.data)
            last = Head(line.number, line.digest)
        last = last or Head()
        if told is not None and last.number < told.number:
            mark = {"event": "lines_missing", "from": last.number + 1, "to": told.number, "last_hash": told.digest}
            line = _chained({"at": now(), **mark}, Head(told.number, last.digest))
            _write(log, head, line.data)
            last = Head(line.number, line.digest)
        return last

    @contextlib.contextmanager
    def _locked(self) -> Iterator[tuple[int, int]]:
        """The log and its head, open and ours alone."""
        with contextlib.ExitStack() as stack:
            try:
                self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                head = os.open(self.head_file, flags, 0o600)
                stack.callback(os.close, head)
                fcntl.flock(head, fcntl.LOCK_EX)
                log = os.open(self.file, flags | os.O_APPEND, 0o600)
                stack.callback(os.close, log)
            except OSError as error:
                raise self._failed(error) from error
            yield log, head

    def _failed(self, error: OSError) -> AuditFailed:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        hint = "free some space there" if full else "it must be a file of yours that can be written to"
        return AuditFailed(
            f"the audit log {self.file} cannot be written: {error.strerror or error}",
            hint=f"{hint}; until then calls are refused. [audit] in config.toml can name another file",
        )


def now() -> str:
    """The time in UTC, as it stands in the log."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class _Line:
    number: int
    digest: str
    data: bytes


def _chained(record: Mapping[str, Any], last: Head) -> _Line:
    full: dict[str, Any] = {"n": last.number + 1, **record, "prev": last.digest}
    if len(_as_json(full)) > LONGEST_LINE:
        full["arguments"] = "left out: too long"
        full["result"] = "left out: too long"
    digest = digest_of(full)
    return _Line(last.number + 1, digest, _as_json({**full, "hash": digest}) + b"\n")


def _write(log: int, head: int, line: _Line | bytes) -> None:
    """All of it; where the disk is full, in the space that was held for this."""
    rest = line.data if isinstance(line, _Line) else line
    freed = False
    while rest:
        try:
            rest = rest[os.write(log, rest) :]
        except OSError as error:
            if freed or error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            os.ftruncate(head, _HEAD_SIZE)
            freed = True


def _last_line(log: int, size: int) -> tuple[Head | None, bytes]:
    """The last whole line, and what follows it."""
    reach = _TAIL
    while True:
        start = max(0, size - reach)
        tail = os.pread(log, size - start, start)
        whole, end, broken = tail.rpartition(b"\n")
        for line in reversed(whole.split(b"\n") if end else []):
            if found := _head_of(line):
                return found, broken
        if start == 0:
            return None, broken
        reach *= 4


def _head_of(line: bytes) -> Head | None:
    try:
        record = json.loads(line)
        return Head(int(record["n"]), str(record["hash"]))
    except (ValueError, KeyError, TypeError):
        return None


def read_head(file: Path) -> Head | None:
    """How far the log has come, as the head ``file`` tells; None where it does not."""
    try:
        with file.open("rb") as stream:
            return _told(stream.fileno())
    except OSError:
        return None


def _told(head: int) -> Head | None:
    return _head_of(os.pread(head, _HEAD_SIZE, 0).partition(b"\n")[0])


def _put_head(head: int, last: Head) -> None:
    data = _as_json({"n": last.number, "hash": last.digest}) + b"\n"
    os.pwrite(head, data.ljust(_HEAD_SIZE, b" "), 0)


def _as_json(record: Mapping[str, Any], *, sort_keys: bool = False) -> bytes:
    return json.dumps(record, ensure_ascii=True, sort_keys=sort_keys, separators=(",", ":"), default=str).encode()
