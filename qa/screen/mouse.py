"""The mouse: an absolute pointer that goes where a picture of the screen says, and no button that stays pressed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qa.deadline import Deadline
from qa.errors import UsageError
from qa.qemu.input import Button, button_event, pointer_is_read, position_events, send_input
from qa.screen.keyboard import released

if TYPE_CHECKING:
    from qa.qemu.monitor import Monitor

MouseButton = Literal["left", "right", "middle"]
Turn = Literal["up", "down"]

BEAT = 0.03
"""Seconds between two events. The pointer holds 16 for the guest, which fetches one every few milliseconds; and programs, which
draw what is under the pointer, see each."""

DOUBLE_BEAT = 0.04
"""Seconds between the events of a double click. All must come within 0.25 to 0.5 s by the guest's clock; but libinput takes a
press less than 0.025 s after a release for a worn button that bounces, and drops it."""

DRAG_STEPS = 20
"""Places on the way of a drag: programs begin to drag after a few pixels, and look at what is passed."""

DRAG_START = 4
"""Places at the beginning of a drag, one pixel from each other."""

READ_LIMIT = 2.0
"""Seconds, before the factor for software emulation, for a guest to fetch the pointer's first move."""

_WHEEL: dict[Turn, Button] = {"up": "wheel-up", "down": "wheel-down"}


@dataclass(frozen=True)
class Spot:
    """A pixel of a screen of a certain size."""

    x: int
    y: int
    width: int
    height: int

    def check(self) -> None:
        """Make sure that it is on the screen.

        Raises:
            UsageError: it is not.
        """
        if not (0 <= self.x < self.width and 0 <= self.y < self.height):
            raise UsageError(
                f"{self.x},{self.y} is outside of the screen, which has {self.width}x{self.height} pixels",
                hint=f"x goes from 0 to {self.width - 1}, y from 0 to {self.height - 1}",
            )

    @property
    def aside(self) -> Spot:
        """Where the pointer hides nothing: only its tip is left of it. One pixel from the corner, where desktops wait for it."""
        return Spot(max(self.width - 2, 0), max(self.height - 2, 0), self.width, self.height)

    def on_the_way(self, end: Spot) -> list[Spot]:
        """The places of a drag from here to ``end``: slow at first, then evenly."""
        across, down = end.x - self.x, end.y - self.y
        far = max(abs(across), abs(down), 1)
        parts = [step / far for step in range(1, min(DRAG_START, far) + 1)]
        parts += [part for step in range(1, DRAG_STEPS + 1) if (part := step / DRAG_STEPS) > parts[-1]]
        return [Spot(self.x + round(part * across), self.y + round(part * down), self.width, self.height) for part in parts]


class Mouse:
    """The pointer of one machine. One gesture after the other.

    QEMU puts moves together with what came before them and was not fetched yet, as long as the buttons are the same. So a
    move right behind a press or a release would take it along, away from where it belongs; before it the guest must have
    fetched. QEMU does not tell that. ``answered`` tells that the guest has been reading since.
    """

    def __init__(self, monitor: Monitor, factor: float, answered: Callable[[], Awaitable[bool]]) -> None:
        self._monitor = monitor
        self._answered = answered
        self._factor = factor
        self._gesture = asyncio.Lock()
        self._read = False

    async def move(self, spot: Spot) -> None:
        """Put the pointer on a pixel.

        Raises:
            DeadlineExceeded: the guest does not look at its pointer.
            QemuExited: QEMU is gone.
        """
        async with self._gesture:
            await self._go(spot)

    async def click(self, spot: Spot, button: MouseButton = "left", *, times: int = 1, stay: bool = False) -> None:
        """Click on a pixel, and put the pointer aside unless it is to stay.

        Raises:
            DeadlineExceeded, QemuExited: see `move`.
        """
        beat = BEAT if times == 1 else DOUBLE_BEAT
        async with self._gesture:
            await self._go(spot)
            await asyncio.sleep(BEAT)
            for _ in range(times):
                async with self._pressed(button):
                    await asyncio.sleep(beat)
                await asyncio.sleep(beat)
            await self._leave(spot, stay)

    async def drag(self, start: Spot, end: Spot, button: MouseButton = "left", *, stay: bool = False) -> None:
        """Press the button on one pixel, go to another one, and release it there.

        Raises:
            DeadlineExceeded, QemuExited: see `move`.
        """
        async with self._gesture:
            await self._go(start)
            await asyncio.sleep(BEAT)
            async with self._pressed(button):
                await self._fetched()
                for spot in start.on_the_way(end):
                    await asyncio.sleep(BEAT)
                    await self._go(spot)
                await asyncio.sleep(BEAT)
            await self._leave(end, stay)

    async def scroll(self, spot: Spot, turn: Turn, notches: int, *, stay: bool = False) -> None:
        """Turn the wheel over a pixel.

        Raises:
            DeadlineExceeded, QemuExited: see `move`.
        """
        async with self._gesture:
            await self._go(spot)
            for _ in range(notches):
                await asyncio.sleep(BEAT)
                async with self._pressed(_WHEEL[turn]):
                    pass
            await self._leave(spot, stay)

    @asynccontextmanager
    async def still(self) -> AsyncGenerator[None]:
        """While inside, no button is down and nothing is sent: a machine that stands still takes nothing."""
        async with self._gesture:
            yield

    async def _leave(self, spot: Spot, stay: bool) -> None:
        await self._fetched()
        if not stay:
            await self._go(spot.aside)

    async def _fetched(self) -> None:
        """Wait until the guest has most likely fetched what was sent."""
        await asyncio.sleep(BEAT)
        await self._answered()
        await asyncio.sleep(BEAT)

    async def _go(self, spot: Spot) -> None:
        await send_input(self._monitor, position_events(spot.x, spot.y, spot.width, spot.height))
        if not self._read:
            await self._until_read()

    async def _until_read(self) -> None:
        """Wait until the guest has fetched from the pointer for the first time."""
        deadline = Deadline.after(READ_LIMIT, self._factor)
        while not await pointer_is_read(self._monitor):
            if deadline.expired:
                error = deadline.exceeded("the guest to look at its pointer")
                error.hint = (
                    "it needs a driver for USB tablets; consoles without a desktop have no pointer: use the keyboard there"
                )
                raise error
            await asyncio.sleep(BEAT)
        self._read = True

    @asynccontextmanager
    async def _pressed(self, button: Button) -> AsyncGenerator[None]:
        async with released(lambda: send_input(self._monitor, [button_event(button, down=False)])):
            await send_input(self._monitor, [button_event(button, down=True)])
            yield
