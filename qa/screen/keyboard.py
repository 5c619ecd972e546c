"""The keyboard: strokes as explicit presses and releases, and no key that stays pressed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from qa.errors import QaError
from qa.qemu.input import bytes_of, key_event, send_input
from qa.screen.keyboard_flow import CAPACITY, Flow
from qa.screen.layouts import Stroke

if TYPE_CHECKING:
    from qa.qemu.monitor import Monitor

TAKEN_LIMIT = 0.5
"""Seconds for a guest to take a combination. One that does not look at its keyboard yet may find it there later."""

STILL_LIMIT = 0.2
"""Seconds for a guest to take what is on its way before it is stopped."""

UNUSED = "scroll_lock"
"""A key that nobody holds down."""

QUESTIONS = 3
ANSWER_LIMIT = 0.5
"""Times that a guest is asked whether it reads, and seconds that each may take."""


class Keyboard:
    """Presses keys of one machine. Whoever types a whole text holds ``turn``, so that texts are never mixed."""

    def __init__(self, monitor: Monitor, factor: float = 1.0) -> None:
        self.turn = asyncio.Lock()
        self.flow = Flow(monitor, factor)
        self._monitor = monitor
        self._moving = asyncio.Lock()

    async def press(self, keys: Stroke, *, times: int = 1, hold: float = 0.0) -> None:
        """Press ``keys`` one after the other, hold them together, and release them in reverse.

        Args:
            times: how often; each time the guest has taken the one before.
            hold: seconds.

        Raises:
            DeadlineExceeded: the keyboard is full, and the guest takes nothing from it.
            QemuExited: QEMU is gone.
        """
        async with self.turn:
            for _ in range(times):
                if hold:
                    async with self.holding(keys):
                        await asyncio.sleep(hold)
                else:
                    await self.strike([keys])
            await self.flow.drained(TAKEN_LIMIT)

    async def strike(self, strokes: Sequence[Stroke]) -> None:
        """Send ``strokes``, as soon as the guest has room for them. QEMU takes presses and releases together or not at all.

        Raises:
            DeadlineExceeded, QemuExited: see `press`.
        """
        for burst in _bursts(strokes):
            events = [
                key_event(key, down=down) for keys in burst for down in (True, False) for key in (keys if down else keys[::-1])
            ]
            size = sum(map(bytes_of, burst))
            await self.flow.room(size)
            async with self._moving:
                self.flow.sends(size)
                await send_input(self._monitor, events)

    @asynccontextmanager
    async def holding(self, keys: Stroke) -> AsyncGenerator[None]:
        """While inside, hold ``keys``; they are released whatever happens."""
        size = bytes_of(keys)
        await self.flow.room(size)
        async with self._moving:
            self.flow.sends(size)
            async with released(lambda: send_input(self._monitor, [key_event(key, down=False) for key in reversed(keys)])):
                await send_input(self._monitor, [key_event(key, down=True) for key in keys])
                yield

    async def answered(self) -> bool:
        """Whether the guest reads, right now: it is sent the release of a key that is not down, which changes nothing."""
        for _ in range(QUESTIONS):
            self.flow.sends(1)
            await send_input(self._monitor, [key_event(UNUSED, down=False)])
            if not await self.flow.drained(ANSWER_LIMIT):
                return False
        return True

    @asynccontextmanager
    async def still(self) -> AsyncGenerator[None]:
        """While inside, no key is down and none is sent: a machine that stands still takes none."""
        async with self._moving:
            if self.flow.pending:
                await self.flow.drained(STILL_LIMIT)
            yield


@asynccontextmanager
async def released(release: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Do ``release`` at the end of the block, however it ends, and also when it is given up a second time."""
    try:
        yield
    except BaseException:
        with suppress(QaError):  # what ended the block is told; a QEMU that is gone holds no keys
            await _to_the_end(release())
        raise
    await _to_the_end(release())


async def _to_the_end(work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _bursts(strokes: Sequence[Stroke]) -> list[list[Stroke]]:
    """``strokes`` in pieces that find room in an empty keyboard."""
    bursts: list[list[Stroke]] = []
    left = 0
    for keys in strokes:
        size = bytes_of(keys)
        if size > left:
            bursts.append([])
            left = CAPACITY
        bursts[-1].append(keys)
        left -= size
    return bursts
