"""A QMP server without a QEMU: it greets, and answers as it was told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 10}, "package": ""}, "capabilities": []}}

Answer = Callable[[dict[str, Any]], dict[str, Any] | bytes | None]
"""From a request to what is answered: a message, raw bytes, or nothing at all."""


class FakeQmp:
    """The far end of a monitor.

    Attributes:
        near: the socket for the client.
        requests: names of the commands that came, after the negotiation.
        arguments: their arguments.
        came: released once for each command that came.
    """

    def __init__(
        self, answer: Answer = lambda _: {"return": {}}, *, greeting: bytes | None = None, negotiates: bool = True
    ) -> None:
        self.near, self._far = socket.socketpair()
        self.near.setblocking(False)
        self.requests: list[str] = []
        self.arguments: list[dict[str, Any]] = []
        self.came = asyncio.Semaphore(0)
        self._answer = answer
        self._greeting = (json.dumps(GREETING) + "\r\n").encode() if greeting is None else greeting
        self._negotiates = negotiates
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> FakeQmp:
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.die()
        assert self._task
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _serve(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._far, limit=1 << 20)
        self._writer.write(self._greeting)
        unread = ""  # requests follow each other without line feeds, as QMP allows
        while piece := await reader.read(1 << 16):
            unread += piece.decode()
            while unread := unread.lstrip():
                try:
                    request, end = json.JSONDecoder().raw_decode(unread)
                except json.JSONDecodeError:
                    break
                unread = unread[end:]
                self._take(request)

    def _take(self, request: dict[str, Any]) -> None:
        assert self._writer
        if request["execute"] == "qmp_capabilities" and self._negotiates:
            self._send({"return": {}})  # the negotiation has no id
            return
        self.requests.append(request["execute"])
        self.arguments.append(request.get("arguments", {}))
        self.came.release()
        answer = self._answer(request)
        if isinstance(answer, bytes):
            self._writer.write(answer)
        elif answer is not None:
            self._send({**answer, "id": request["id"]})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._writer
        self._writer.write((json.dumps(message) + "\r\n").encode())

    async def tell(self, name: str, times: int = 1, **data: Any) -> None:
        """Send an event."""
        assert self._writer
        event = {"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 0}}
        line = (json.dumps(event) + "\r\n").encode()
        for _ in range(times):
            self._writer.write(line)
            await self._writer.drain()

    def die(self) -> None:
        """Go away without a word."""
        if self._writer:
            self._writer.transport.abort()
        else:
            self._far.close()
