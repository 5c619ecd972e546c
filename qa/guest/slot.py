"""One shell in the guest that runs one command at a time."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO

from qa.guest.port import Port
from qa.guest.shell_script import MARK, quote_line, slot_prelude

CHUNK = 64 * 1024
"""Bytes handed to a port at once when a command's input is sent."""

_ANSWER_ROOM = 96
"""Bytes that an answer may have: mark, id, exit code, survivors."""


class _AnswerFinder:
    """Hands a stream on up to the answer that ends it: a mark, ``name`` (a regular expression), and words."""

    def __init__(self, name: str, hand_on: Callable[[bytes], None] = lambda _: None) -> None:
        self._answer = re.compile(MARK + b"(" + name.encode() + rb"(?: [^\n ]+)*)\n")
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
                self.ended.set_result(match[1].decode(errors="replace").split(" "))
            return
        start = data.find(MARK, max(0, len(data) - _ANSWER_ROOM))
        if start >= 0:
            data, self._held = data[:start], data[start:]
        self._pass(data)

    def _pass(self, data: bytes) -> None:
        if data:
            self._hand_on(data)


class Slot:
    """A slot's host side.

    Attributes:
        number: of the first of its two ports.
        process: its shell in the guest; its children are the running command.
        shared: background children of an earlier command may still write to its ports.
        dead: a command hangs in it that not even SIGKILL ends.
    """

    def __init__(self, number: int, output: Port, errors: Port) -> None:
        self.number = number
        self._output = output
        self._errors = errors
        self._token = secrets.token_hex(6)
        self._answers = 0
        self.process = ""
        self.shared = False
        self.dead = False

    def known(self) -> dict[str, Any]:
        """What must be known of an idle slot to go on with it when its guest was frozen and goes on elsewhere."""
        return {
            "number": self.number,
            "token": self._token,
            "answers": self._answers,
            "process": self.process,
            "shared": self.shared,
        }

    def recall(self, known: Mapping[str, Any]) -> None:
        """Be the slot of which ``known`` was kept."""
        self._token = str(known["token"])
        self._answers = int(known["answers"])
        self.process = str(known["process"])
        self.shared = bool(known["shared"])

    async def prepare(self, start: Callable[[str], Awaitable[str]]) -> None:
        """Bring the slot up. ``start`` starts its shell in the guest, which says the token given, and returns its process."""
        up = _AnswerFinder(self._token)
        self._output.listener = up.feed
        self.process = await start(self._token)
        await up.ended
        ready = _AnswerFinder(f"{self._token} ready")
        self._output.listener = ready.feed
        self._output.write(slot_prelude(self._token).encode())
        await ready.ended

    async def resync(self) -> None:
        """After a kill: whatever is left in the port ends with this line and is ignored, and the count of answers is found."""
        identity = secrets.token_hex(6)
        name = f"{identity}\x1e{self._token}-[0-9]+"
        stdout, stderr = _AnswerFinder(name), _AnswerFinder(name)
        self._output.listener, self._errors.listener = stdout.feed, stderr.feed
        say = f'printf "\\036{identity}"'
        self._output.write(f"\n{self._token} 0 '{say}; {say} >&2'\n".encode())
        answer = (await stdout.ended)[0]
        await stderr.ended
        self._answers = int(answer.rpartition("-")[2])

    async def run(
        self,
        command: str,
        stdin: BinaryIO | None,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
    ) -> int:
        """Run one command and return its exit code."""
        self._answers += 1
        name = f"{self._token}-{self._answers}"
        stdout, stderr = _AnswerFinder(name, on_stdout), _AnswerFinder(name, on_stderr)
        self._output.listener, self._errors.listener = stdout.feed, stderr.feed
        size = os.fstat(stdin.fileno()).st_size if stdin else 0
        self._output.write(f"{self._token} {size} {quote_line(command)}\n".encode())
        while stdin and size and (chunk := stdin.read(min(CHUNK, size))):  # never more than was announced
            size -= len(chunk)
            self._output.write(chunk)
            await self._output.drain()
        _, code, survivors = await stdout.ended
        await stderr.ended
        self._output.listener = self._errors.listener = None
        self.shared = self.shared or survivors == "1"
        return int(code)
