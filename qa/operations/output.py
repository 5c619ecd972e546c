"""What long work prints: whole in a file, to be read from any place on."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from qa.console.pieces import cut_letter, unfinished_letter
from qa.errors import UsageError

WHOLE_LIMIT = 256 << 20
"""Bytes of output that are kept of one job. A command that prints for ever must not fill the disk."""
PIECE = 16 << 10
"""Bytes of output that one look gives by default."""


@dataclass(frozen=True)
class Piece:
    """Some output.

    Attributes:
        cursor: where the next look begins.
        skipped: bytes between the cursor that was given and this piece, where there was more than was asked for.
    """

    text: str
    cursor: int
    skipped: int = 0


class Output:
    """What a job prints, whole in a file, to be read from any place on."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        self.size = 0
        self.lost = 0
        self.closed = False
        self._end = b""
        self._stream = file.open("xb", buffering=0)
        self._news = asyncio.Event()

    def add(self, data: bytes) -> None:
        """The next piece; what cannot be kept is counted in ``lost``."""
        room = max(0, WHOLE_LIMIT - self.size)
        kept = 0
        with contextlib.suppress(OSError, ValueError):  # a full disk costs output, not the command
            kept = self._stream.write(data[:room])
        self.size += kept
        self._end = (self._end + data[:kept])[-3:]
        self.lost += len(data) - kept
        self._news.set()

    def close(self) -> None:
        """Nothing more comes."""
        self.closed = True
        self._stream.close()
        self._news.set()

    @property
    def readable(self) -> int:
        """Bytes that can be read: without a letter at the end that has not come whole, while more may come."""
        return self.size - (0 if self.closed else unfinished_letter(self._end))

    async def news(self, cursor: int) -> None:
        """Until there is something to read behind ``cursor``, or nothing more comes."""
        while self.readable <= cursor and not self.closed:
            self._news.clear()
            await self._news.wait()

    def read(self, cursor: int = 0, limit: int = PIECE) -> Piece:
        """What was printed behind ``cursor``: at most ``limit`` bytes, the newest. A letter is never cut in two.

        Raises:
            UsageError: the cursor is behind the end.
        """
        if not 0 <= cursor <= self.size:
            raise UsageError(f"the output has {self.size} bytes, and no byte {cursor}", hint="begin with cursor 0")
        end = max(cursor, self.readable)
        start = max(cursor, end - limit)
        with self.file.open("rb") as stream:
            stream.seek(start)
            data = stream.read(end - start)
        cut = cut_letter(data) if start > cursor else 0
        return Piece(data[cut:].decode(errors="replace"), start + len(data), start + cut - cursor)
