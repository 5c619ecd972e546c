"""What long work prints: whole in a file, to be read from any place on."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

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
        self._stream = file.open("xb", buffering=0)
        self._news = asyncio.Event()

    def add(self, data: bytes) -> None:
        """The next piece; what cannot be kept is counted in ``lost``."""
        room = max(0, WHOLE_LIMIT - self.size)
        kept = 0
        with contextlib.suppress(OSError, ValueError):  # a full disk costs output, not the command
            kept = self._stream.write(data[:room])
        self.size += kept
        self.lost += len(data) - kept
        self._news.set()

    def close(self) -> None:
        """Nothing more comes."""
        self.closed = True
        self._stream.close()
        self._news.set()

    async def news(self, cursor: int) -> None:
        """Until there is something behind ``cursor``, or nothing more comes."""
        while self.size <= cursor and not self.closed:
            self._news.clear()
            await self._news.wait()

    def read(self, cursor: int = 0, limit: int = PIECE) -> Piece:
        """What was printed behind ``cursor``: at most ``limit`` bytes, the newest. A letter is never cut in two.

        Raises:
            UsageError: the cursor is behind the end.
        """
        if not 0 <= cursor <= self.size:
            raise UsageError(f"the output has {self.size} bytes, and no byte {cursor}", hint="begin with cursor 0")
        start = max(cursor, self.size - limit)
        with self.file.open("rb") as stream:
            stream.seek(start)
            data = stream.read(self.size - start)
        if start > cursor:
            begins = next((at for at, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
            data, start = data[begins:], start + begins
        if not self.closed:
            data = data[: len(data) - _unfinished(data)]
        end = start + len(data)
        return Piece(data.decode(errors="replace"), end, start - cursor)


def _unfinished(data: bytes) -> int:
    """Bytes at the end that begin a letter of UTF-8 whose rest has not come."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if length > back else 0
        if byte & 0x80 == 0:
            return 0
    return 0
