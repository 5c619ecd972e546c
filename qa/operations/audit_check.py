"""Reads an audit log again, and tells where it was changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa.errors import UsageError
from qa.operations.audit import START, AuditLog, Head, digest_of, read_head

SHOWN = 20
"""Faults that are told; one change at the beginning can make one of every line."""


@dataclass(frozen=True)
class Fault:
    """Something at a line, counted from 1; 0: the whole file."""

    line: int
    why: str


@dataclass(frozen=True)
class Checked:
    """What a log is like.

    Attributes:
        lines: records that belong to the chain.
        last: the digest of the last of them. Whoever keeps it elsewhere can tell later that no line before it was exchanged.
        broken: where somebody's hand, or a fault of the disk, shows; the first comes first.
        mended: lines that a crash has cut short, which was marked when the log was written to again.
    """

    lines: int
    last: str
    broken: tuple[Fault, ...]
    mended: tuple[Fault, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was changed, as far as the log itself can tell."""
        return not self.broken


def verify(file: Path, *, holds: str | None = None) -> Checked:
    """Read the log ``file`` from its first line to its last.

    Args:
        holds: a digest that was kept elsewhere: a line with it must be there.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    data = _read(file)
    reading = _Reading()
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n") if data else (), 1):
        reading.take(number, line)
    reading.end(data)
    told = read_head(AuditLog(file).head_file)
    if told is not None and told.number > reading.last.number:
        missing = f"lines {reading.last.number + 1} to {told.number} are missing at the end"
        reading.broken.append(Fault(reading.line, missing))
    if holds is not None and holds not in reading.seen:
        reading.broken.append(Fault(0, f"it has no line with the digest {holds}"))
    return Checked(reading.count, reading.last.digest, tuple(reading.broken), tuple(reading.mended))


def read_log(file: Path) -> list[dict[str, Any]]:
    """The records of the log ``file``, whether they are sound or not; lines that are none are left out.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    return [record for line in _read(file).split(b"\n") if (record := _record(line)) is not None]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no audit log {file}", hint="nothing was written down yet, or it is elsewhere") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


class _Reading:
    """How far the reading has come."""

    def __init__(self) -> None:
        self.line = 0
        self.count = 0
        self.last = Head(0, START)
        self.broken: list[Fault] = []
        self.mended: list[Fault] = []
        self.seen: set[str] = set()
        self._strange: list[tuple[int, bytes]] = []

    def take(self, number: int, line: bytes) -> None:
        """The next line."""
        self.line = number
        record = _record(line)
        if record is None:
            self._strange.append((number, line))
            return
        self._explain_strange(record)
        if record.get("hash") != digest_of(record):
            self._fault(number, "was changed: it does not fit its digest")
        elif record.get("prev") != self.last.digest or record["n"] != self._due(record):
            self._fault(number, f"does not follow the line before it: it is number {record['n']}, after {self.last.number}")
        elif record.get("event") == "lines_missing":
            self._fault(number, f"tells that lines {record.get('from')} to {record.get('to')} are missing")
        self.count += 1
        self.last = Head(record["n"], str(record.get("hash")))
        self.seen.add(self.last.digest)

    def _due(self, record: dict[str, Any]) -> int:
        missing = record.get("event") == "lines_missing" and type(record.get("to")) is int
        return int(record["to"]) + 1 if missing else self.last.number + 1

    def _explain_strange(self, record: dict[str, Any]) -> None:
        """Lines that are no records: the one that a crash has cut short is known to the record behind it."""
        strange, self._strange = self._strange, []
        for at, (number, line) in enumerate(strange):
            known = record.get("event") == "mended" and at == len(strange) - 1
            if known and hashlib.sha256(line).hexdigest() == record.get("broken_sha256"):
                self.mended.append(Fault(number, f"was cut short, and that was marked {record.get('at')}"))
            else:
                self._fault(number, "is no record")

    def _fault(self, number: int, why: str) -> None:
        if len(self.broken) < SHOWN:
            self.broken.append(Fault(number, why))

    def end(self, data: bytes) -> None:
        """The end of the file."""
        cut = bool(data) and not data.endswith(b"\n")
        for at, (number, _) in enumerate(self._strange):
            last = at == len(self._strange) - 1
            self._fault(number, "is cut short" if cut and last else "is no record")
        if cut and not self._strange:
            self._fault(self.line, "is cut short: its end is missing")


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or type(record.get("n")) is not int:
        return None
    return record
