"""The monitor: QMP commands with time limits, events to one listener, one error for everything that QEMU's death causes."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

from qemu.qmp import ExecuteError, Message, QMPClient, QMPError
from qemu.qmp.events import EventListener

from qa.errors import QaError, QemuExited, QemuFailed

COMMAND_LIMIT = 30.0
"""Seconds for one monitor command. They take milliseconds; a QEMU blocked on a full disk or a dead mount takes for ever."""

_BROKEN = (QMPError, EOFError, OSError, ValueError)
"""What the library raises when the connection ends, or when what comes is no QMP (bytes that are no text are a ValueError)."""

EventHandler = Callable[[str, dict[str, Any]], None]

# The library reports an expected disconnect (we kill QEMU) as an error on its logger.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class _Tap(EventListener):
    """Hands each event on at once and keeps none: the library's own queue and history grow without end."""

    def __init__(self, handler: EventHandler) -> None:
        super().__init__()
        self._handler = handler

    def accept(self, event: Message) -> bool:
        self._handler(str(event["event"]), _data_of(event))
        return False


def _data_of(event: Message) -> dict[str, Any]:
    data = event.get("data")
    return data if isinstance(data, dict) else {}


class Monitor:
    """A QMP connection. ``handler`` is called with name and data of each event, and must not raise."""

    def __init__(self, name: str, handler: EventHandler) -> None:
        self._client = QMPClient(name)
        self._client.events.event_filter = lambda _: False
        self._client.register_listener(_Tap(handler))
        self._name = name

    async def connect(self, channel: socket.socket) -> None:
        """Greet and negotiate.

        Raises:
            QemuExited: QEMU went away before it answered.
        """
        try:
            async with asyncio.timeout(COMMAND_LIMIT):
                await self._client.connect(channel)
        except TimeoutError:
            raise QemuFailed(f"QEMU of {self._name} did not greet within {COMMAND_LIMIT:g} s") from None
        except _BROKEN as error:
            raise QemuExited(f"QEMU of {self._name} ended while it started") from error

    async def disconnect(self) -> None:
        """End the connection; the state of QEMU does not matter."""
        try:
            async with asyncio.timeout(1.0):
                await self._client.disconnect()
        except (*_BROKEN, TimeoutError):
            pass  # QEMU was quicker

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None, limit: float = COMMAND_LIMIT) -> Any:
        """Run one QMP command and return what it returned.

        Raises:
            QemuFailed: QEMU refused it, or did not answer within ``limit`` seconds.
            QemuExited: QEMU is gone.
        """
        try:
            async with asyncio.timeout(limit):
                return await self._client.execute(command, dict(arguments) if arguments else None)
        except ExecuteError as error:
            raise QemuFailed(f"QEMU refused {command}: {error}") from error
        except TimeoutError:
            raise QemuFailed(f"QEMU did not answer {command} within {limit:g} s") from None
        except _BROKEN as error:
            raise self._gone(command) from error

    async def human(self, line: str) -> str:
        """A command of the human monitor. It never fails: what went wrong comes back as text."""
        return str(await self.execute("human-monitor-command", {"command-line": line}))

    async def add_descriptor(self, descriptor: int) -> int:
        """Hand QEMU an open file; it is then ``/dev/fdset/N`` with the number returned."""
        try:
            self._client.send_fd_scm(descriptor)
        except (OSError, AssertionError, QMPError) as error:
            raise self._gone("add-fd") from error
        return int((await self.execute("add-fd"))["fdset-id"])

    def _gone(self, command: str) -> QaError:
        return QemuExited(f"QEMU of {self._name} is gone, so {command} got no answer")
