"""The machine with its whole vocabulary."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from qa.events import Bus
from qa.machine.freezing import Freezing
from qa.machine.looking import Hands, Looking
from qa.machine.setup import MachineSetup


class Machine(Freezing, Looking, Hands):
    """A virtual machine to be tested. Its public methods are the verbs of scripts."""

    @classmethod
    @asynccontextmanager
    async def open(cls, setup: MachineSetup, bus: Bus) -> AsyncGenerator[Machine]:
        """A machine that is off, and that is off again and gone when the block ends, however it ends."""
        machine = cls(setup, bus)
        try:
            yield machine
        finally:
            await machine.destroy()

    async def destroy(self) -> None:
        """Switch off, let go of frozen states and close the logs; a log that could not be written whole is told."""
        await self._switch_off("destroyed")
        await self._let_go()
        if error := self._console.error:
            self.bus.notice(f"the console log of {self.name} is not complete: {error.strerror}", "warning")
        self._console.close()
