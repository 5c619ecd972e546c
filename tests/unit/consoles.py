"""A serial console that is fed from a socket, as QEMU feeds it, or by hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from qa.console import SerialConsole


class Heard:
    """Lets a test wait until the console has had so many bytes."""

    def __init__(self, console: SerialConsole) -> None:
        self.bytes = 0
        self._more = asyncio.Event()
        console.subscribe(self._hear)

    def _hear(self, data: bytes) -> None:
        self.bytes += len(data)
        self._more.set()

    async def until(self, count: int) -> None:
        while self.bytes < count:
            self._more.clear()
            await self._more.wait()


@asynccontextmanager
async def attached(log: Path) -> AsyncGenerator[tuple[SerialConsole, socket.socket]]:
    """A console, and the guest's end of its line."""
    ours, guests = socket.socketpair()
    guests.setblocking(False)
    console = SerialConsole(log)
    await console.attach(ours)
    try:
        yield console, guests
    finally:
        console.close()
        guests.close()
