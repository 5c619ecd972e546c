"""The MCP server on stdio: its start, what its tools cost a conversation, what it adds to a call, and its idle memory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.measure import Row, Subject, take_turns
from qa.mcp.schemas import tokens

_LONGEST_LINE = 16 << 20


class Client:
    """As small as a client can be, so that its own time hardly counts."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._count = 0

    @classmethod
    @asynccontextmanager
    async def start(cls, *arguments: str) -> AsyncIterator[Client]:
        """A server that was asked nothing yet."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "qa", "mcp", *arguments, stdin=pipe, stdout=pipe, limit=_LONGEST_LINE
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin
            process.stdin.close()
            if await process.wait() != 0:
                raise RuntimeError("the server did not end well")

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a request."""
        assert self.process.stdin
        assert self.process.stdout
        self._count += 1
        message = {"jsonrpc": "2.0", "id": self._count, "method": method, "params": params}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        while line := await self.process.stdout.readline():
            answer = json.loads(line)
            if answer.get("id") == self._count:
                result: dict[str, Any] = answer["result"]
                return result
        raise RuntimeError("the server has ended")

    async def initialize(self) -> None:
        """The handshake."""
        about = {"name": "benchmark", "version": "1"}
        await self.request("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=about)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The result of a tool, which must be no error."""
        result = await self.request("tools/call", name=tool, arguments=arguments)
        if result.get("isError"):
            raise RuntimeError(result["content"][0]["text"])
        return result


async def starting(rounds: int) -> list[Row]:
    """What a client waits for before it can use the server."""

    async def library() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import mcp.server.lowlevel")
        await process.wait()

    async def server() -> None:
        async with Client.start() as client:
            await client.initialize()

    return await take_turns(
        "MCP: start to end", {"import of the MCP library alone": library, "initialize answered": server}, rounds
    )


async def listing() -> list[Row]:
    """What the list of tools costs each conversation. A token is 3.5 letters here; each model counts in its own way."""
    rows: list[Row] = []
    for profile in ("core", "full"):
        async with Client.start("--profile", profile) as client:
            await client.initialize()
            tools = (await client.request("tools/list"))["tools"]
        cost = tokens(json.dumps({"tools": tools}, ensure_ascii=False, separators=(",", ":")))
        ratio = cost / rows[0].value if rows else 1.0
        rows.append(Row("MCP: tools/list", f"{profile}, {len(tools)} tools", cost, "tokens", ratio, "estimated"))
    return rows


async def calling(rounds: int) -> list[Row]:
    """The same on two machines that are alike: called in Python, and over the server."""
    async with machine("builtin") as running, Client.start() as client:
        await client.initialize()
        booted = (await client.call("vm_boot", image="builtin"))["structuredContent"]
        while booted.get("state") == "running":
            booted = (await client.call("vm_wait", job=booted["job"]))["structuredContent"]
        commands = {
            "execute in Python": lambda: running.execute("true"),
            "vm_exec": lambda: client.call("vm_exec", vm="vm1", command="true"),
        }
        rows = await take_turns("MCP: a command", commands, rounds)
        pictures: dict[str, Subject] = {
            "screenshot in Python": running.screenshot,
            "vm_screenshot": lambda: client.call("vm_screenshot", vm="vm1", again=True),
        }
        return rows + await take_turns("MCP: a picture", pictures, rounds)


async def idle() -> list[Row]:
    """Memory of a server that was asked for its tools and waits: what is its own, and its share of what it shares."""
    rows: list[Row] = []
    waiting = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    async with Client.start() as client:
        await client.initialize()
        await client.request("tools/list")
        for name, process in (("Python alone", waiting), ("the server", client.process)):
            size = _memory(process.pid) / (1 << 20)
            rows.append(Row("MCP: idle memory", name, size, "MB", size / rows[0].value if rows else 1.0))
    await waiting.communicate(b"\n")
    return rows


def _memory(process: int) -> int:
    """Bytes."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


async def measure(rounds: int) -> list[Row]:
    """All of it."""
    return [*await starting(max(2, rounds // 3)), *await listing(), *await calling(rounds), *await idle()]
