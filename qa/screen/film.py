"""The film of a machine: pictures of its screen as it changed in the course of a run, on the disk, and never too many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa.screen.frames import Frame
from qa.screen.stillness import CURSOR_HEIGHT, CURSOR_WIDTH

if TYPE_CHECKING:
    from PIL import Image

CLOSEST = 0.5
"""Seconds between two pictures that are kept, as long as there are few: a person who looks on sees no more."""

MOST_SHOTS = 240
MOST_BYTES = 64 << 20
"""Pictures of a film, and what they may take: beyond that, those that are left and those to come are twice as far apart."""


@dataclass(frozen=True)
class Shot:
    """A picture that was kept.

    Attributes:
        at: when it was taken, in monotonic seconds.
        size: of its file, in bytes.
        note: that it is black, or that the display was off.
    """

    at: float
    file: Path
    width: int
    height: int
    size: int
    note: str = ""


class Film:
    """Keeps what it is shown. It never raises: without space on the disk there is no more of the film, and the run goes on.

    What differs from the picture before by no more than a text cursor is left out, or a prompt would fill the film with blinking.

    Args:
        folder: for the pictures; made when there is one.
        clock: seconds, monotonic, as frames have them.

    Attributes:
        folder: as given.
        shots: what is kept, in the order of time.
        seen: how many different pictures there were.
        problem: why nothing more is kept; empty where all is well.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_shots: int = MOST_SHOTS,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shots: list[Shot] = []
        self.seen = 0
        self.problem = ""
        self.folder = folder
        self._limits = (most_shots, most_bytes)
        self._clock = clock
        self._apart = CLOSEST
        self._number = 0
        self._digest = b""
        self._newest: Frame | None = None
        self._due: list[Frame] = []
        self._chosen = float("-inf")
        self._left_out: Frame | None = None
        self._last: Image.Image | None = None
        self._writing = asyncio.Lock()

    def see(self, frame: Frame) -> None:
        """Take a picture that somebody took of the screen. Quick: what is to be kept is written by `develop`."""
        if frame.digest == self._digest or self.problem:
            return
        self._digest = frame.digest
        self.seen += 1
        self._choose()
        self._newest = frame

    async def develop(self, *, last: bool = False) -> bool:
        """Write what is to be kept; whether that was anything. ``last``: nothing comes any more."""
        async with self._writing:
            if self._newest and (last or self._clock() - self._chosen >= self._apart):
                self._choose(force=True)
            if last and not self._due and self._left_out:
                self._due.append(self._left_out)
            before = self._number
            while self._due:
                whatever = last and len(self._due) == 1
                try:
                    if not self.problem:
                        await _to_its_end(asyncio.to_thread(self._keep, self._due[0], whatever=whatever))
                finally:  # those behind it are still due, if this is cut off
                    self._due.pop(0)
            return self._number > before

    def _choose(self, *, force: bool = False) -> None:
        """Whether the newest picture is one that is kept, now that another one follows it."""
        frame, self._newest = self._newest, None
        if frame and (force or frame.taken - self._chosen >= self._apart):
            self._chosen = frame.taken
            self._due.append(frame)

    def _keep(self, frame: Frame, *, whatever: bool) -> None:
        from PIL import Image, ImageChops  # noqa: PLC0415 -- costs 60 ms, in a thread

        picture = Image.frombytes("RGB", (frame.width, frame.height), frame.pixels)
        if self._last and self._last.size == picture.size:
            box = ImageChops.difference(self._last, picture).getbbox()
            if box is None or (not whatever and box[2] - box[0] <= CURSOR_WIDTH and box[3] - box[1] <= CURSOR_HEIGHT):
                self._left_out = frame
                return
        file = self.folder / f"{self._number:06d}.png"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            picture.save(file, compress_level=1)
            size = file.stat().st_size
        except OSError as error:
            self.problem = error.strerror or str(error)
            with suppress(OSError):
                file.unlink(missing_ok=True)
            return
        self._last, self._left_out = picture, None
        self._number += 1
        self.shots.append(Shot(frame.taken, file, frame.width, frame.height, size, frame.note))
        self._thin()

    def _thin(self) -> None:
        most_shots, most_bytes = self._limits
        kept = self.shots
        while len(kept) > 2 and (len(kept) > most_shots or sum(shot.size for shot in kept) > most_bytes):
            self._apart *= 2
            kept = _spread(self.shots, self._apart)
        for shot in set(self.shots).difference(kept):
            with suppress(OSError):
                shot.file.unlink()
        self.shots = kept


def _spread(shots: list[Shot], apart: float) -> list[Shot]:
    """Those of ``shots`` that are at least ``apart`` seconds apart, with the first and the last."""
    kept = shots[:1]
    for shot in shots[1:-1]:
        if shot.at - kept[-1].at >= apart:
            kept.append(shot)
    return [*kept, shots[-1]]


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await ``work``, which cannot be interrupted: who is cancelled meanwhile leaves nothing of it running."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def thinned(shots: list[Shot]) -> tuple[list[Shot], list[Shot]]:
    """Every second of ``shots``, with the first and the last; and those that are left out."""
    dropped = shots[1:-1:2]
    return [shot for shot in shots if shot not in dropped], dropped
