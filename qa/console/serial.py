"""The serial console as a stream: every byte goes to the log from the first one on, whether anybody looks or not."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from qa.console.text import plain

TAIL = 256 * 1024
"""Bytes kept in memory for waits and evidence; the whole is in the log."""

Listener = Callable[[bytes], None]


class SerialConsole(asyncio.Protocol):
    """Reads the console for as long as the machine lives: a serial port that nobody reads stalls the guest.

    Attributes:
        log: the raw log; a machine that is booted again appends to it.
        position: bytes in the log so far.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self._file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.position = os.fstat(self._file).st_size
        self.error: OSError | None = None
        self._tail = bytearray()
        self._marked = self.position
        self._listeners: list[Listener] = []
        self._transport: asyncio.Transport | None = None

    async def attach(self, channel: socket.socket) -> None:
        """Start reading from ``channel``, the machine's serial port; a machine that boots again has a new one."""
        self.detach()
        self.mark()
        await asyncio.get_running_loop().create_connection(lambda: self, sock=channel)

    def detach(self) -> None:
        """Stop reading; what was read stays."""
        if self._transport:
            self._transport.close()
            self._transport = None

    def close(self) -> None:
        """Stop for good."""
        self.detach()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Log first, then tell the listeners."""
        self._append(data)
        self._tail += data
        if len(self._tail) > 2 * TAIL:  # cut seldom: each cut copies
            del self._tail[:-TAIL]
        self.position += len(data)
        for listener in tuple(self._listeners):
            listener(data)

    def _append(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view and self._file >= 0:
                view = view[os.write(self._file, view) :]
        except OSError as error:  # a full disk must not stall the guest; the run says it at the end
            self.error = error

    def mark(self) -> None:
        """From here on it is another boot: what was printed before is no longer recent."""
        self._marked = self.position

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hand each new piece to ``listener``; the function returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def write(self, data: bytes) -> None:
        """Type into the console. Nothing happens when the machine is off."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def recent(self) -> bytes:
        """The last bytes since the machine was started or restarted, at most ``TAIL`` of them."""
        length = min(TAIL, self.position - self._marked)
        return bytes(self._tail[-length:]) if length else b""

    def tail_from(self, text: str, lines: int = 40) -> str:
        """The lines from the last one with ``text`` on; the last lines where it is not there."""
        recent = plain(bytes(self._tail)).rstrip().splitlines()
        found = [number for number, line in enumerate(recent) if text in line]
        return "\n".join(recent[found[-1] :][:lines]) if found else self.tail(lines)

    def tail(self, lines: int = 40) -> str:
        """The last lines as text without escape sequences."""
        return "\n".join(plain(bytes(self._tail[-lines * 400 :])).rstrip().splitlines()[-lines:])
