"""Our end of one virtio serial port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from qa.console.outlet import Outlet


class Port(asyncio.Protocol):
    """Bytes out, and bytes in to whoever listens at the moment; what nobody listens to is dropped.

    The end of the connection is not reported: it means that QEMU is gone, and the vitals tell that with the reason.

    Attributes:
        received: bytes that came in, whether anybody listened or not.
    """

    def __init__(self) -> None:
        self.received = 0
        self.listener: Callable[[bytes], None] | None = None
        self.outlet = Outlet()
        self._room = asyncio.Event()
        self._room.set()

    @classmethod
    async def attach(cls, channel: socket.socket) -> Port:
        """Start reading."""
        _, port = await asyncio.get_running_loop().create_connection(cls, sock=channel)
        return port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self.outlet.transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.received += len(data)
        if self.listener:
            self.listener(data)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._room.clear()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._room.set()

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        self.outlet.write(data)

    async def drain(self) -> None:
        """Wait until the guest has taken most of what was written, and takes more."""
        await self.outlet.flowing()
        await self._room.wait()

    def close(self) -> None:
        """Stop."""
        if self.outlet.transport:
            self.outlet.transport.close()
