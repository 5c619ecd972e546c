"""Sending keys no faster than the guest takes them: the keyboard holds few, and loses what comes when it is full."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from qa.deadline import Deadline
from qa.qemu.input import QUEUE, keyboard_bytes_taken

if TYPE_CHECKING:
    from qa.qemu.monitor import Monitor

CAPACITY = QUEUE - 2
"""Bytes that are on their way to the guest at most: the byte that is offered to it still takes a place."""

STALL_LIMIT = 10.0
"""Seconds, before the factor for software emulation, in which a guest must take at least one byte."""

FLUSHED = 5.0
"""Seconds without a move after which bytes that are missing were thrown away: systems empty the keyboard when they set it up.
A guest that reads at all reads everything in milliseconds."""

UNCOUNTED_RATE = 60.0
"""Bytes a second for a guest whose reading cannot be counted: about 20 characters, which no guest was seen to lose."""

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02
"""Seconds between two looks at how far the guest has read."""


class Flow:
    """How much of what was sent the guest has taken.

    Attributes:
        resets: how often the machine was reset.
    """

    def __init__(self, monitor: Monitor, factor: float) -> None:
        self.resets = 0
        self._monitor = monitor
        self._factor = factor
        self._end = 0  # the count when all that was sent is taken
        self._before = 0  # the count when it was sent
        self._taken = 0  # the count when it was last asked for
        self._counted = True

    @property
    def pending(self) -> bool:
        """Whether something may still be on its way."""
        return self._end > self._taken

    def forget(self) -> None:
        """The machine was reset: nothing is on its way."""
        self.resets += 1
        self._end = 0

    def sends(self, size: int) -> None:
        """Take note that ``size`` bytes are about to be sent."""
        self._before = self._taken
        self._end = max(self._end, self._taken) + size

    async def room(self, size: int) -> None:
        """Wait until ``size`` more bytes find room.

        Raises:
            DeadlineExceeded: the guest takes none.
            QemuExited: QEMU is gone.
        """
        await self._until_left(max(CAPACITY - size, 0))

    async def drained(self, limit: float | None = None) -> bool:
        """Wait until the guest has taken all that was sent.

        Args:
            limit: seconds after which to give up; without it a guest that takes nothing is an error.

        Raises:
            DeadlineExceeded: the guest takes nothing.
        """
        return await self._until_left(0, limit)

    async def _until_left(self, most: int, limit: float | None = None) -> bool:
        """Wait until no more than ``most`` bytes are on their way; False when ``limit`` seconds have passed."""
        taken = await self._look()
        moved = began = time.monotonic()
        pause = FIRST_PAUSE
        deadline = Deadline.after(STALL_LIMIT, self._factor)
        while self._end - taken > most:
            if limit is not None and time.monotonic() - began >= limit:
                return False
            if deadline.expired:
                if taken:
                    raise deadline.exceeded("the guest to take a key", "none was taken; is it busy, or has it crashed?")
                self._counted = False
            if not self._counted and not taken:
                await asyncio.sleep((self._end - taken - most) / UNCOUNTED_RATE)
                self._end = most
                return True
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE)
            if await self._look() != taken:
                taken, moved = self._taken, time.monotonic()
                deadline = Deadline.after(STALL_LIMIT, self._factor)
            elif taken > self._before and time.monotonic() - moved >= FLUSHED:
                self._end = taken
        return True

    async def _look(self) -> int:
        self._taken = await keyboard_bytes_taken(self._monitor)
        return self._taken
