"""The shell channel when the guest's shells go away: played on sockets, no command is waited for in vain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from qa.console import SerialConsole
from qa.errors import ChannelLost
from qa.guest.port import Port
from qa.guest.shell import ShellChannel
from qa.guest.shell_script import HELLO
from qa.guest.vitals import Vitals

PORTS = 5
HELLO_LINE = b"\x1e" + HELLO.encode() + b"\n"
READY_LINE = b"\x1e" + HELLO.encode() + b" ready\n"


class Guest:
    """The guest's ends of the ports. It says hello, brings slots up, and then answers nothing."""

    def __init__(self, ends: list[socket.socket]) -> None:
        self._ends = ends
        self.slots = 0

    async def says_hello(self) -> None:
        self._ends[0].sendall(HELLO_LINE)
        await self.hears(0, b"q_slot")
        self._ends[0].sendall(READY_LINE)

    async def hears(self, port: int, text: bytes) -> bytes:
        heard = b""
        while text not in heard:
            heard += await asyncio.get_running_loop().sock_recv(self._ends[port], 65536)
        return heard

    async def brings_a_slot_up(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        _, identity, number, token = (await self.hears(0, b"\n")).decode().split()
        meanwhile()
        self._ends[0].sendall(f"\x1e{identity} 4711\n".encode())
        port = self._ends[int(number)]
        port.sendall(f"\x1e{token}\n".encode())
        await self.hears(int(number), b"ready")
        port.sendall(f"\x1e{token} ready\n".encode())
        self.slots += 1


@asynccontextmanager
async def channel_and_guest(folder: Path) -> AsyncGenerator[tuple[ShellChannel, Guest]]:
    pairs = [socket.socketpair() for _ in range(PORTS)]
    for pair in pairs:
        for end in pair:
            end.setblocking(False)
    ports = [await Port.attach(ours) for ours, _ in pairs]
    console = SerialConsole(folder / "console.log")
    vitals = Vitals("vm", console)
    try:
        yield ShellChannel(ports, vitals), Guest([theirs for _, theirs in pairs])
    finally:
        vitals.close()
        console.close()
        for port in ports:
            port.close()
        for _, theirs in pairs:
            theirs.close()


async def test_a_command_that_runs_when_the_shells_start_anew_is_lost_at_once(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await guest.says_hello()
        running = asyncio.ensure_future(channel.run("sleep 1000", limit=1000))
        await guest.brings_a_slot_up()
        await guest.hears(1, b"sleep 1000")
        guest._ends[0].sendall(HELLO_LINE)
        with pytest.raises(ChannelLost, match="root shell in the guest has ended"):
            await running


async def test_a_command_that_waits_for_a_free_slot_is_lost_with_the_shells(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await guest.says_hello()
        running = []
        for number in range((PORTS - 1) // 2):
            running.append(asyncio.ensure_future(channel.run("sleep 1000", limit=1000)))
            await guest.brings_a_slot_up()
            await guest.hears(2 * number + 1, b"sleep 1000")
        running.append(asyncio.ensure_future(channel.run("true", limit=1000)))
        await asyncio.sleep(0)
        guest._ends[0].sendall(HELLO_LINE)
        for command in running:
            with pytest.raises(ChannelLost):
                await command


async def test_who_gives_up_while_a_slot_starts_leaves_it_to_the_next(tmp_path: Path) -> None:
    async with channel_and_guest(tmp_path) as (channel, guest), asyncio.timeout(10):
        await guest.says_hello()
        impatient = asyncio.ensure_future(channel.run("true", limit=1000))
        await guest.brings_a_slot_up(meanwhile=impatient.cancel)
        await channel._shells.freed.wait()
        patient = asyncio.ensure_future(channel.run("echo patient", limit=1000))
        await guest.hears(1, b"patient")
        assert guest.slots == 1
        patient.cancel()
