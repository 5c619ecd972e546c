"""The serial console as a stream: every byte goes to the log from the first one on, whether anybody looks or not."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from qa.console.clock import ConsoleClock
from qa.console.outlet import Outlet
from qa.console.text import plain

TAIL = 256 * 1024
"""Bytes kept in memory for waits and evidence; the whole is in the log."""

Listener = Callable[[bytes], None]


class SerialConsole(asyncio.Protocol):
    """Reads the console for as long as the machine lives: a serial port that nobody reads stalls the guest.

    Attributes:
        log: the raw log; a machine that is booted again appends to it.
        position: bytes received so far, with those that were there before us.
        clock: when which part of the log was written.
        spoke_at: when something was printed last, in monotonic seconds; before the first time it is endlessly long ago.
        history: how often the console has got another past, see `go_on_from`.
        outlet: takes what is typed.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self._file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.position = self._logged = os.fstat(self._file).st_size
        self.clock = ConsoleClock()
        self.spoke_at = float("-inf")
        self.error: OSError | None = None
        self.history = 0
        self._tail = bytearray()
        self._marked = self.position
        self._listeners: list[Listener] = []
        self.outlet = Outlet()

    async def attach(self, channel: socket.socket) -> None:
        """Start reading from ``channel``, the machine's serial port; a machine that boots again has a new one."""
        self.detach()
        self.mark()
        await asyncio.get_running_loop().create_connection(lambda: self, sock=channel)

    def detach(self) -> None:
        """Stop reading; what was read stays."""
        if self.outlet.transport:
            self.outlet.transport.close()
            self.outlet.transport = None

    def close(self) -> None:
        """Stop for good."""
        self.detach()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self.outlet.transport = transport

    def data_received(self, data: bytes) -> None:
        """Log first, then tell the listeners."""
        self.spoke_at = time.monotonic()
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
                written = os.write(self._file, view)
                view = view[written:]
                self._logged += written
        except OSError as error:  # a full disk must not stall the guest; the run says it at the end
            self.error = error
        self.clock.note(time.monotonic(), self._logged)

    def mark(self) -> None:
        """From here on it is another boot: what was printed before is no longer recent."""
        self._marked = self.position

    def known(self) -> tuple[bytes, int]:
        """What is kept in memory, and how many of its last bytes are recent: enough to go on with this console elsewhere."""
        return bytes(self._tail[-TAIL:]), len(self.recent)

    def go_on_from(self, tail: bytes, recent: int) -> None:
        """Be the console of a machine that has printed ``tail`` before; ``recent`` of its bytes since it was last started.

        A log that is still empty begins with ``tail``. Listeners are not told: to them it is the past.
        """
        if self.position == 0:
            self._append(tail)
        self._tail = bytearray(tail)
        self.position += len(tail)
        self._marked = self.position - recent
        self.history += 1

    def last(self, count: int) -> bytes:
        """The last ``count`` bytes, at most ``TAIL`` of them."""
        return bytes(self._tail[-count:]) if count else b""

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hand each new piece to ``listener``; the function returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def write(self, data: bytes) -> None:
        """Type into the console. Nothing happens when the machine is off."""
        self.outlet.write(data)

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
