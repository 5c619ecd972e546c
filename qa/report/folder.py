"""The results folder of one run: where each file goes, and how it gets there whole."""

from __future__ import annotations

import errno
import os
import re
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qa.errors import HostError, NoSpace, QaError, UsageError
from qa.scenario.results import RunResult

MAX_NAME = 60
"""Characters of a run's or a step's name that go into a file name: with date and number far below the limit of 255 bytes."""

LATEST = "latest"


def slug(name: str, default: str = "run") -> str:
    """``name`` as a file name that is safe everywhere: lower-case ASCII letters, digits, dots, dashes, underscores."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", ascii_name)[:MAX_NAME].strip("-._") or default


def evidence_title(path: str) -> str:
    """The title given to `ResultsFolder.evidence_path`, out of the file: ``evidence/3.1-console.txt`` is ``console``."""
    stem = Path(path).stem
    return re.sub(r"^[\d.]+(-|$)", "", stem).replace("-", " ").replace("_", " ").strip() or "evidence"


@dataclass(frozen=True)
class ResultsFolder:
    """The folder of one run. Make it with `create`; a folder that is there is opened by its path."""

    path: Path

    @classmethod
    def create(cls, out: Path, name: str, *, now: datetime | None = None) -> ResultsFolder:
        """Make ``OUT/NAME-YYYYmmdd-HHMMSS[-N]``, never one that is there already, and point ``OUT/latest`` to it.

        Args:
            out: the folder for the results of all runs; made where it is missing.
            name: of the run, any text.
            now: the time in the folder's name, local time; default: now.

        Raises:
            UsageError: ``out`` is a file.
            NoSpace: the file system is full.
            HostError: ``out`` cannot be written to.
        """
        stem = f"{slug(name)}-{now or datetime.now(UTC).astimezone():%Y%m%d-%H%M%S}"
        try:
            out.mkdir(parents=True, exist_ok=True)
            path = _make_unique(out, stem)
            folder = cls(path)
            folder.shots.mkdir()
            folder.evidence.mkdir()
        except (FileExistsError, NotADirectoryError) as error:
            raise UsageError(f"{out} is not a folder", hint="name a folder for the results with --out DIR") from error
        except OSError as error:
            raise write_error(error, out) from error
        _point_latest(out, path)
        return folder

    @property
    def result_json(self) -> Path:
        """The one source of all reports."""
        return self.path / "result.json"

    @property
    def junit_xml(self) -> Path:
        """For CI systems."""
        return self.path / "junit.xml"

    @property
    def report_html(self) -> Path:
        """For people."""
        return self.path / "report.html"

    @property
    def events(self) -> Path:
        """All events, one JSON object on each line."""
        return self.path / "events.jsonl"

    @property
    def shots(self) -> Path:
        """Screenshots."""
        return self.path / "shots"

    @property
    def evidence(self) -> Path:
        """Texts that show what was seen."""
        return self.path / "evidence"

    def console_log(self, machine: str | None = None, label: str = "") -> Path:
        """The raw serial console. ``machine`` names it where the run has more than one, and ``label`` the branch of a fork."""
        return self._log("console", machine, label)

    def qemu_log(self, machine: str | None = None, label: str = "") -> Path:
        """What QEMU itself said. ``machine`` and ``label`` as for `console_log`."""
        return self._log("qemu", machine, label)

    def _log(self, kind: str, machine: str | None, label: str) -> Path:
        """Each part is cut by itself, for the end of a label tells one try from another."""
        parts = [kind, *(slug(part, "machine") for part in (machine, label or None) if part is not None)]
        return self.path / f"{'-'.join(parts)}.log"

    def evidence_path(self, index: str, title: str, suffix: str = ".txt") -> Path:
        """Where the evidence ``title`` of step ``index`` goes; reports show it under that title."""
        return self.evidence / f"{index}-{slug(title, 'evidence')}{suffix}"

    def relative(self, path: Path) -> str:
        """``path`` as it stands in ``result.json``.

        Raises:
            ValueError: it is not inside this folder.
        """
        return path.absolute().relative_to(self.path.absolute()).as_posix()

    def find(self, relative: str) -> Path | None:
        """The file that ``result.json`` calls ``relative``; None if it is missing, or outside this folder.

        Reports are also rendered out of folders that came from elsewhere: those must not pull files of this host in.
        """
        try:
            path = (self.path / relative).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        return path if path.is_file() and path.is_relative_to(self.path.resolve()) else None

    def write(self, path: Path, text: str) -> None:
        """Write ``text`` to ``path`` whole or not at all: readers never see half a file, and a full disk keeps the old one.

        Raises:
            NoSpace: the file system is full.
            HostError: it cannot be written.
        """
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise write_error(error, path) from error

    def write_result(self, result: RunResult) -> None:
        """Write ``result.json``.

        Raises:
            NoSpace: the file system is full.
            HostError: it cannot be written.
        """
        self.write(self.result_json, result.model_dump_json(by_alias=True, indent=2) + "\n")

    def read_result(self) -> RunResult:
        """What ``result.json`` says.

        Raises:
            UsageError: there is none, or it is not of this program's making.
        """
        try:
            return RunResult.model_validate_json(self.result_json.read_bytes())
        except OSError as error:
            raise UsageError(f"cannot read {self.result_json}: {error.strerror}", hint="name a run's results folder") from error
        except ValueError as error:
            raise UsageError(
                f"{self.result_json} is not a result that this version can read: {one_problem(error)}",
                hint="use the version of anima-qa that wrote it",
            ) from error


def one_problem(error: ValueError) -> str:
    """The first line that tells something of a validation error."""
    return " ".join(str(error).splitlines()[1:3]) or str(error)


def write_error(error: OSError, path: Path) -> QaError:
    """The error to raise when writing to ``path`` failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left for the results in {path}", hint="free some space, or name another folder with --out DIR")
    return HostError(
        f"cannot write to {path}: {error.strerror or error}",
        hint="check its permissions, or name another folder with --out DIR",
    )


def _make_unique(out: Path, stem: str) -> Path:
    number = 1
    while True:
        path = out / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            if not out.is_dir():
                raise
            number += 1
        else:
            return path


def _point_latest(out: Path, path: Path) -> None:
    """Best effort: a file system without links, or a folder of that name, is no reason to fail a run."""
    link = out / LATEST
    temporary = out / f".{LATEST}.{secrets.token_hex(4)}"
    try:
        if link.exists() and not link.is_symlink():
            return
        temporary.symlink_to(path.name, target_is_directory=True)
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)
