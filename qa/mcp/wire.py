"""stdin and stdout for the protocol alone: nothing else that this process or its children print can get between the messages."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    jsonrpc_message_adapter,
)

from qa.errors import UsageError

LONGEST_LINE = 16 << 20
"""Bytes. Files go by their paths, so no honest message comes near; a longer one is refused and the next is read."""

_PIECE = 1 << 16


@dataclass(frozen=True)
class Refused:
    """A line that is no message, and the answer to it."""

    answer: JSONRPCError


class Wire:
    """Messages, one JSON text on each line.

    Reading and writing happen in threads that are abandoned when they are cancelled: a client that neither writes nor reads
    any more must not keep this process. Whoever used a wire therefore ends with ``os._exit``, which waits for no thread.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._lock = anyio.Lock()

    @classmethod
    def take(cls) -> Wire:
        """Take this process's stdin and stdout. From now on reading stdin finds its end, and stdout is stderr.

        Raises:
            UsageError: one of them is closed.
        """
        try:
            reading = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
            writing = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
        except OSError as error:
            hint = "an MCP client starts this command and talks to it there"
            raise UsageError("stdin or stdout is closed", hint=hint) from error
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        try:
            os.dup2(2, 1)
        except OSError:
            os.dup2(nothing, 1)
        os.close(nothing)
        return cls(reading, writing)

    async def messages(self) -> AsyncIterator[JSONRPCMessage | Refused]:
        """What the client sends, until it has closed its end."""
        rest, skipping = bytearray(), False
        while piece := await self._read():
            *lines, last = piece.split(b"\n")
            for line in lines:
                whole = bytes(rest) + line
                rest.clear()
                if skipping:
                    skipping = False
                elif whole.strip():
                    yield parse(whole)
            rest += last
            if len(rest) > LONGEST_LINE or skipping:
                rest.clear()
                if not skipping:
                    yield refusal(INVALID_REQUEST, f"a message may have {LONGEST_LINE >> 20} MB, and this one has more")
                skipping = True
        if rest.strip():
            yield parse(bytes(rest))

    async def _read(self) -> bytes:
        try:
            return await anyio.to_thread.run_sync(os.read, self._reading, _PIECE, abandon_on_cancel=True)
        except OSError:  # a terminal that was closed
            return b""

    async def send(self, message: Any) -> None:
        """Write a message.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        data = as_line(message)
        async with self._lock:
            await anyio.to_thread.run_sync(self._write, data, abandon_on_cancel=True)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._writing, view) :]


def as_line(message: Any) -> bytes:
    """A message as a line. Text of a guest that no UTF-8 can carry is written as JSON escapes."""
    with suppress(ValueError):
        text: str = message.model_dump_json(by_alias=True, exclude_unset=True)
        return text.encode() + b"\n"
    return json.dumps(message.model_dump(by_alias=True, exclude_unset=True)).encode() + b"\n"


def parse(line: bytes) -> JSONRPCMessage | Refused:
    """The message on a line, or the answer to one that is none."""
    with suppress(ValueError):
        message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        if not (isinstance(message, JSONRPCNotification) and b'"id"' in line and "id" in json.loads(line)):
            return message  # else it is a request that can never be answered, with an id that is none
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return refusal(PARSE_ERROR, "this is not JSON")
    if isinstance(found, list):
        return refusal(INVALID_REQUEST, "messages come one by one, not in a list")
    identity = found.get("id") if isinstance(found, dict) else None
    known = identity if isinstance(identity, str) or type(identity) is int else None
    return refusal(INVALID_REQUEST, "this is JSON, but not a JSON-RPC 2.0 message", known)


def refusal(code: int, message: str, identity: str | int | None = None) -> Refused:
    """The answer to what is no message."""
    return Refused(JSONRPCError(jsonrpc="2.0", id=identity, error=ErrorData(code=code, message=message)))
