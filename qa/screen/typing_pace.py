"""The rhythm of typing: as fast as the guest fetches keys, and no faster than the program behind it is known to read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qa.screen.keyboard import Keyboard
from qa.screen.layouts import Stroke

Characters = Sequence[tuple[Stroke, ...]]
"""The strokes of each character."""

SCREEN_RATE = 90.0
"""Characters a second for anything but a text console. A desktop reads the kernel's keyboard events out of a buffer of 64, which
5 shifted characters fill, and which nobody outside can look into: at this rate it may come 55 ms late."""

BUSY = 2.0
"""Where the rate counts, the next character waits so many times as long as the guest took to fetch the last one."""

LATE = 0.5
"""The part of a beat that a character may make up for when the one before it came late."""


@dataclass
class Pace:
    """Sends characters.

    Attributes:
        rate: characters a second; None for as many as the guest fetches.
        check: raises what makes going on senseless.
        sent: characters so far.
    """

    keyboard: Keyboard
    rate: float | None
    check: Callable[[], None]
    sent: int = 0
    _due: float = 0.0

    async def send(self, characters: Characters) -> None:
        """Send ``characters``, and wait until the guest has fetched them.

        Raises:
            DeadlineExceeded: the guest takes no keys.
            QemuExited: QEMU is gone.
        """
        if self.rate is None:
            await self._strike(characters)
            return
        for one in characters:
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
            began = time.monotonic()
            await self._strike([one])
            fetched = time.monotonic()
            rhythm = max(self._due, began - LATE / self.rate) + 1 / self.rate
            self._due = max(rhythm, fetched + (BUSY - 1) * (fetched - began))

    async def _strike(self, characters: Characters) -> None:
        self.check()
        await self.keyboard.strike([stroke for one in characters for stroke in one])
        await self.keyboard.flow.drained()
        self.sent += len(characters)
