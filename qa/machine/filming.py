"""A look at the screen now and then while the machine lives, for the film of the run."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from qa.errors import QaError
from qa.events import Bus
from qa.machine.looking import Looking
from qa.machine.setup import MachineSetup
from qa.screen.film import Film

SHORTEST_PAUSE = 1.0
LONGEST_PAUSE = 3.0
"""Seconds between two looks at a screen that changes, and at one that has long been still. QEMU takes 5 ms for a picture of
1280x800; to compare it costs about as much."""
SLOWER = 1.2

LAST_LOOK = 1.0
"""Seconds for the last picture: a QEMU that hangs must not hang the end of its machine."""


class Filming(Looking):
    """Shows the film what is on the screen, from the machine's making to its end, through all power cycles."""

    def __init__(self, setup: MachineSetup, bus: Bus) -> None:
        super().__init__(setup, bus)
        self._filming = asyncio.create_task(self._film(setup.film)) if setup.film else None

    async def _film(self, film: Film) -> None:
        pause = SHORTEST_PAUSE
        while True:
            await asyncio.sleep(pause)
            if self._power and not self._busy:
                with suppress(QaError, OSError):  # it went off, or has no display
                    await self.grab()
            pause = SHORTEST_PAUSE if await film.develop() else min(pause * SLOWER, LONGEST_PAUSE)

    @property
    def _busy(self) -> bool:
        """Whether something goes on that a look would delay."""
        return False

    async def _stop_filming(self) -> None:
        """Take the last picture; no more after it."""
        filming, self._filming = self._filming, None
        if filming is None:
            return
        filming.cancel()
        with suppress(asyncio.CancelledError):
            await filming
        if self._power:
            with suppress(QaError, OSError, TimeoutError):
                async with asyncio.timeout(LAST_LOOK):
                    await self.grab()
