"""How fast the serial console is taken in, and what that costs in memory."""

from __future__ import annotations

import asyncio
import resource
import socket
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.measure import Row
from qa.console import SerialConsole, Terminal, TextWatch

LINE = b"[  123.456789] a line as kernels and services print it, some eighty characters long\r\n"


class _Bare(asyncio.Protocol):
    """What cannot be undercut: read, and write to a file."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)
        self.position = 0

    def data_received(self, data: bytes) -> None:
        self._file.write(data)
        self.position += len(data)


def _flood(channel: socket.socket, size: int) -> None:
    block = LINE * 512
    sent = 0
    while sent < size:
        channel.sendall(block)
        sent += len(block)
    channel.sendall(b"\nthe-end\n")
    channel.close()


async def _seconds(size: int, kind: str, folder: Path) -> float:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    flood = threading.Thread(target=_flood, args=(theirs, size))
    watch = None
    console: SerialConsole | _Bare
    if kind == "bare":
        console = _Bare(folder / kind)
        await asyncio.get_running_loop().create_connection(lambda: console, sock=ours)
    else:
        console = SerialConsole(folder / kind)
        await console.attach(ours)
        if kind == "watched":
            watch = TextWatch(console, ["the-end$"], terminal=Terminal(console))
    started = time.perf_counter()
    flood.start()
    if watch:
        await watch.wait()
    await asyncio.to_thread(flood.join)
    while console.position < size:  # noqa: ASYNC110 -- what is still in the socket; a log has no event for its length
        await asyncio.sleep(0)
    return time.perf_counter() - started


async def measure(megabytes: int) -> list[Row]:
    size = megabytes * 1_000_000
    names = {
        "bare": "read and write, nothing else",
        "logged": "logged",
        "watched": "logged, and watched for a text on stream and screen",
    }
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rates = {kind: megabytes / await _seconds(size, kind, Path(folder)) for kind in names}
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for kind, name in names.items():
        rows.append(Row("console intake", name, rates[kind], "MB/s", rates[kind] / rates["bare"]))
    rows.append(Row("console intake", f"memory grown by {3 * megabytes} MB of output", grown, "MB"))
    return rows
