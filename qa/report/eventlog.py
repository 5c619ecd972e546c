"""``events.jsonl``: everything that happened in a run, one JSON object on each line, bounded."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qa.events import Event, as_record

MAX_TEXT = 2000
"""Characters of one text in an event (a piece of a command's output, a value in QEMU's data)."""

MAX_FILE = 16 << 20
"""Bytes of the whole file: some hundred thousand events. A guest that prints without end must not fill the disk."""


class EventLog:
    """A listener that appends each event to a file, line by line, so that a killed run leaves what it did.

    It never raises: a run does not fail because its log cannot be written. ``problem`` says what went wrong, if anything did.
    """

    def __init__(self, path: Path, *, max_file: int = MAX_FILE) -> None:
        self.problem = ""
        self.lines = 0
        self._room = max_file
        self._file: int | None = None
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            self.problem = f"cannot write {path}: {error.strerror}"

    def __call__(self, event: Event) -> None:
        """Append ``event``."""
        if self._file is None:
            return
        try:
            line = json.dumps(_bounded(as_record(event)), default=str).encode() + b"\n"
            if len(line) > self._room:
                self._stop("the file reached its limit; later events are not in it")
                return
            self._write(line)
        except Exception as error:  # by contract of the bus, whatever happens stays here
            self.problem = f"an event could not be written: {error}"

    def close(self) -> None:
        """No more events."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        if os.write(self._file, line) < len(line):  # the disk is full: a next line would hang on to this half of one
            self.problem = "no space left for events"
            self.close()
            return
        self._room -= len(line)
        self.lines += 1

    def _stop(self, why: str) -> None:
        self.problem = why
        self._write(json.dumps({"event": "LogEnded", "message": why}).encode() + b"\n")
        self.close()


def _bounded(value: Any, depth: int = 8) -> Any:
    """``value`` with long texts cut, long lists shortened and deep ones flattened."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}… {len(value) - MAX_TEXT} more"
    if depth == 0:
        return _bounded(str(value))
    if isinstance(value, dict):
        return {str(key)[:MAX_TEXT]: _bounded(item, depth - 1) for key, item in list(value.items())[:100]}
    if isinstance(value, list | tuple):
        return [_bounded(item, depth - 1) for item in value[:100]]
    return value
