"""Our writing end of a guest's serial port or console."""

from __future__ import annotations

import asyncio


class Outlet:
    """Sends bytes over a transport, and can hold them back: QEMU takes what comes in even for a guest that stands still."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._held: bytearray | None = None
        self._flows = asyncio.Event()
        self._flows.set()

    def write(self, data: bytes) -> None:
        """Send ``data``; nothing happens where there is nobody to take it."""
        if self._held is not None:
            self._held += data
        elif self.transport and not self.transport.is_closing():
            self.transport.write(data)

    @property
    def pending(self) -> int:
        """Bytes that were sent and that the kernel has not taken yet."""
        return self.transport.get_write_buffer_size() if self.transport else 0

    def hold(self) -> None:
        """From now on keep what is written."""
        self._held = self._held or bytearray()
        self._flows.clear()

    async def flowing(self) -> None:
        """Wait until nothing is held back."""
        await self._flows.wait()

    def release(self) -> None:
        """Send what was kept, and from now on everything at once."""
        held, self._held = self._held, None
        if held:
            self.write(bytes(held))
        self._flows.set()
