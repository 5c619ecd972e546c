from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from mcp_types import JSONRPCRequest, JSONRPCResponse

from qa.mcp import wire as module
from qa.mcp.wire import Refused, Wire, as_line, parse


@dataclass
class Ends:
    """A wire, and the client's ends of it."""

    wire: Wire
    writing: int
    reading: int

    def close_input(self) -> None:
        os.close(self.writing)
        self.writing = -1


@pytest.fixture
def ends() -> Iterator[Ends]:
    from_client, to_server = os.pipe()
    from_server, to_client = os.pipe()
    both = Ends(Wire(from_client, to_client), to_server, from_server)
    yield both
    for descriptor in (from_client, to_client, both.writing, both.reading):
        if descriptor >= 0:
            os.close(descriptor)


def ping(number: int) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "ping"}).encode() + b"\n"


async def heard(ends: Ends) -> list[int | str | None]:
    """Ids of all that came: those of refusals are negative codes."""
    found: list[int | str | None] = []
    async for message in ends.wire.messages():
        if isinstance(message, Refused):
            found.append(message.answer.error.code)
        else:
            assert isinstance(message, JSONRPCRequest)
            found.append(message.id)
    return found


async def test_messages_come_however_they_are_cut_into_pieces(ends: Ends) -> None:
    data = ping(1) + b"\n  \n" + ping(2) + ping(3).rstrip()
    got: list[int | str | None] = []

    async def listen() -> None:
        got.extend(await heard(ends))

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        for position in range(0, len(data), 7):
            os.write(ends.writing, data[position : position + 7])
            await anyio.lowlevel.checkpoint()
        ends.close_input()
    assert got == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "code", "identity"),
    [
        (b"{", -32700, None),
        (b"hello", -32700, None),
        (b"\xff\xfe{}", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b"{}", -32600, None),
        (b"[]", -32600, None),
        (b"3", -32600, None),
        (b'{"jsonrpc": "1.0", "id": 7, "method": "ping"}', -32600, 7),
        (b'{"id": "x", "method": "ping"}', -32600, "x"),
        (b'{"jsonrpc": "2.0", "id": [1], "method": "ping"}', -32600, None),
        (b'{"jsonrpc": "2.0", "id": true, "method": 5}', -32600, None),
    ],
)
def test_what_is_no_message_is_answered(line: bytes, code: int, identity: object) -> None:
    found = parse(line)
    assert isinstance(found, Refused)
    assert (found.answer.error.code, found.answer.id) == (code, identity)
    assert json.loads(as_line(found.answer))["id"] == identity


async def test_a_line_that_is_too_long_is_refused_once_and_the_next_one_is_read(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 1000)
    monkeypatch.setattr(module, "_PIECE", 300)
    os.write(ends.writing, b"x" * 5000 + b"\n" + ping(4))
    ends.close_input()
    assert await heard(ends) == [-32600, 4]


async def test_text_that_is_no_unicode_is_written_nevertheless(ends: Ends) -> None:
    await ends.wire.send(JSONRPCResponse(jsonrpc="2.0", id=1, result={"name": "a\udc80b\u2028c"}))
    line = os.read(ends.reading, 1000)
    assert line.count(b"\n") == 1
    assert json.loads(line)["result"]["name"] == "a\udc80b\u2028c"


async def test_a_reader_that_waits_can_be_stopped(ends: Ends) -> None:
    with anyio.move_on_after(0.05) as scope:
        await heard(ends)
    assert scope.cancelled_caught
    ends.close_input()  # lets the thread go


async def test_a_client_that_reads_no_more_is_told(ends: Ends) -> None:
    os.close(ends.reading)
    ends.reading = -1
    with pytest.raises(BrokenPipeError):
        await ends.wire.send(JSONRPCResponse(jsonrpc="2.0", id=1, result={}))


async def test_messages_do_not_mix(ends: Ends) -> None:
    long = "y" * 300_000
    lines: list[bytes] = []

    async def read() -> None:
        data = b""
        while data.count(b"\n") < 3:
            data += await anyio.to_thread.run_sync(os.read, ends.reading, 1 << 16)
        lines.extend(data.splitlines())

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        for number in range(3):
            group.start_soon(ends.wire.send, JSONRPCResponse(jsonrpc="2.0", id=number, result={"text": long}))
    assert sorted(json.loads(line)["id"] for line in lines) == [0, 1, 2]


def test_taking_the_streams_leaves_nothing_for_others(tmp_path: Path) -> None:
    """In a process of its own: what it prints afterwards, and what its children print, is on stderr."""
    import subprocess
    import sys

    program = (
        "import os, subprocess\n"
        "from qa.mcp.wire import Wire\n"
        "wire = Wire.take()\n"
        "print('a stray line', flush=True)\n"
        "subprocess.run(['sh', '-c', 'cat; echo from a child'])\n"
        "wire._write(b'{}\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=b"for the server\n", capture_output=True, timeout=60, check=True)
    assert done.stdout == b"{}\n"
    assert done.stderr.splitlines() == [b"a stray line", b"from a child"]
