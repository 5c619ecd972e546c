"""One shell in the guest that runs one command at a time."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import BinaryIO

from qa.guest.port import Port
from qa.guest.shell_script import MARK, quote_line, slot_prelude

CHUNK = 64 * 1024
"""Bytes handed to a port at once when a command's input is sent."""

_ANSWER_ROOM = 64
"""Bytes that an answer may have: mark, id, exit code, survivors."""


class _AnswerFinder:
    """Hands a stream on up to the answer that ends it."""

    def __init__(self, identity: str, hand_on: Callable[[bytes], None]) -> None:
        self._answer = re.compile(MARK + identity.encode() + rb"((?: [^\n ]+)*)\n")
        self._hand_on = hand_on
        self._held = b""
        self.ended: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    def feed(self, data: bytes) -> None:
        """Take the next piece; hold back what may be the beginning of the answer."""
        data = self._held + data
        self._held = b""
        if match := self._answer.search(data):
            self._pass(data[: match.start()])
            if not self.ended.done():
                self.ended.set_result(match[1].decode(errors="replace").split())
            return
        start = data.rfind(MARK, max(0, len(data) - _ANSWER_ROOM))
        if start >= 0:
            data, self._held = data[:start], data[start:]
        self._pass(data)

    def _pass(self, data: bytes) -> None:
        if data:
            self._hand_on(data)


class Slot:
    """A slot's host side.

    Attributes:
        process: its shell in the guest; its children are the running command.
        shared: background children of an earlier command may still write to its ports.
        dead: a command hangs in it that not even SIGKILL ends.
    """

    def __init__(self, output: Port, errors: Port) -> None:
        self._output = output
        self._errors = errors
        self._token = secrets.token_hex(6)
        self.process = ""
        self.shared = False
        self.dead = False

    async def prepare(self, start: Callable[[str], Awaitable[str]]) -> None:
        """Bring the slot up. ``start`` starts its shell in the guest, which says the token given, and returns its process."""
        up = _AnswerFinder(self._token, lambda _: None)
        self._output.listener = up.feed
        self.process = await start(self._token)
        await up.ended
        await self._ask(slot_prelude(self._token), self._token)

    async def resync(self) -> None:
        """After an interrupted transfer: whatever is left in the port ends with this line, and is ignored."""
        identity = secrets.token_hex(6)
        await self._ask(f"\n{self._token} printf '\\036%s\\n' {identity}\n", identity)

    async def _ask(self, text: str, identity: str) -> None:
        finder = _AnswerFinder(identity, lambda _: None)
        self._output.listener = finder.feed
        self._output.write(text.encode())
        await finder.ended
        self._output.listener = None

    async def run(
        self,
        command: str,
        stdin: BinaryIO | None,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
    ) -> int:
        """Run one command and return its exit code."""
        identity = secrets.token_hex(6)
        stdout, stderr = _AnswerFinder(identity, on_stdout), _AnswerFinder(identity, on_stderr)
        self._output.listener, self._errors.listener = stdout.feed, stderr.feed
        if stdin is None:
            self._output.write(f"{self._token} r {identity} {quote_line(command)}\n".encode())
        else:
            size = os.fstat(stdin.fileno()).st_size
            self._output.write(f"{self._token} i {identity} {size} {quote_line(command)}\n".encode())
            while size and (chunk := stdin.read(min(CHUNK, size))):  # never more than was announced
                size -= len(chunk)
                self._output.write(chunk)
                await self._output.drain()
        code, survivors = await stdout.ended
        await stderr.ended
        self._output.listener = self._errors.listener = None
        self.shared = self.shared or survivors == "1"
        return int(code)
