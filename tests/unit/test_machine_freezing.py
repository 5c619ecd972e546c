"""Our side of a machine that is frozen: what is said and heard on its channels, what is held of the store, who gives up when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_qmp import FakeQmp

from qa.console import SerialConsole
from qa.events import Bus
from qa.guest.port import Port
from qa.machine.power import PowerCycle
from qa.qemu.argv import MONITOR, SERIAL


class Guest:
    """The far ends of a power cycle's channels."""

    def __init__(self, power: PowerCycle, qmp: FakeQmp, ends: dict[str, socket.socket]) -> None:
        self.power = power
        self.qmp = qmp
        self.ends = ends

    async def hears(self, channel: str, count: int = 1000) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.ends[channel], count)


@asynccontextmanager
async def powered(folder: Path, answer: Any = lambda _: {"return": {}}) -> AsyncGenerator[Guest]:
    """A power cycle without QEMU, with a serial console and two ports."""
    console = SerialConsole(folder / "console.log")
    async with FakeQmp(answer) as qmp:
        pairs = {name: socket.socketpair() for name in (SERIAL, "port0", "port1")}
        for pair in pairs.values():
            for end in pair:
                end.setblocking(False)
        sockets = {MONITOR: qmp.near, **{name: pair[0] for name, pair in pairs.items()}}
        process: Any = SimpleNamespace(sockets=sockets, pid=os.getpid(), exited=asyncio.get_running_loop().create_future())
        setup: Any = SimpleNamespace(name="vm", factor=1.0)
        power = PowerCycle(setup, console, process, Bus(), disks=(), thawed=None)
        await power.monitor.connect(qmp.near)
        await console.attach(sockets[SERIAL])
        power._ports = [await Port.attach(sockets[name]) for name in ("port0", "port1")]
        try:
            yield Guest(power, qmp, {name: pair[1] for name, pair in pairs.items()})
        finally:
            await power.monitor.disconnect()
            for port in power._ports:
                port.close()
            console.close()
            power.vitals.close()
            for _, theirs in pairs.values():
                theirs.close()


def fill(port: Port) -> None:
    """Write until the kernel takes no more."""
    while not port.outlet.pending:
        port.write(b"x" * 65536)


async def test_in_quiet_nothing_is_sent_and_afterwards_all_of_it_in_its_order(tmp_path: Path) -> None:
    async with powered(tmp_path) as guest:
        port = guest.power._ports[1]
        async with guest.power.quiet():
            port.write(b"one ")
            guest.power._console.write(b"typed")
            port.write(b"two")
            with pytest.raises(BlockingIOError):
                guest.ends["port1"].recv(10)
            with pytest.raises(BlockingIOError):
                guest.ends[SERIAL].recv(10)
        assert await guest.hears("port1") == b"one two"
        assert await guest.hears(SERIAL) == b"typed"


async def test_quiet_begins_when_what_was_sent_has_left_us(tmp_path: Path) -> None:
    async with powered(tmp_path) as guest:
        port = guest.power._ports[0]
        fill(port)
        on_its_way: list[int] = []

        async def enter() -> None:
            async with guest.power.quiet():
                on_its_way.append(port.outlet.pending)

        entering = asyncio.create_task(enter())
        while not on_its_way:
            with contextlib.suppress(BlockingIOError):
                guest.ends["port0"].recv(65536)
            await asyncio.sleep(0)
        await entering
        assert on_its_way == [0]


async def test_quiet_waits_for_a_guest_that_reads_nothing_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qa.machine.power.QUIET_LIMIT", 0.01)
    async with powered(tmp_path) as guest:
        fill(guest.power._ports[0])
        async with guest.power.quiet():
            assert guest.power._ports[0].outlet.pending


async def test_who_gives_up_while_it_becomes_quiet_leaves_the_channels_open(tmp_path: Path) -> None:
    async with powered(tmp_path) as guest:
        stuck, other = guest.power._ports
        fill(stuck)

        async def be_quiet() -> None:
            async with guest.power.quiet():
                raise AssertionError

        waiting = asyncio.create_task(be_quiet())
        while stuck.outlet._held is None:  # noqa: ASYNC110 -- nothing tells it
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        other.write(b"hello")
        assert await guest.hears("port1") == b"hello"


async def test_who_sends_much_waits_while_the_channel_is_held(tmp_path: Path) -> None:
    async with powered(tmp_path) as guest:
        port = guest.power._ports[0]

        async def send() -> None:
            port.write(b"more")
            await port.drain()

        async with guest.power.quiet():
            sending = asyncio.create_task(send())
            for _ in range(10):
                await asyncio.sleep(0)
            assert not sending.done()
        await sending
        assert await guest.hears("port0") == b"more"


async def test_all_that_a_guest_had_sent_is_taken_in(tmp_path: Path) -> None:
    async with powered(tmp_path) as guest:
        sent = os.urandom(100_000)
        assert guest.ends[SERIAL].send(sent) == len(sent)
        guest.ends["port1"].send(b"x" * 1000)
        await guest.power.receive()
        assert guest.power._console.last(len(sent)) == sent
        assert guest.power._ports[1].received == 1000


async def test_what_comes_when_there_is_room_again_is_taken_in_too(tmp_path: Path) -> None:
    """A device goes on sending when its channel has room, though the machine stands still."""
    later = [b"third", b"", b"second", b"first"]

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if piece := later.pop() if later else b"":
            guest.ends[SERIAL].send(piece)
        return {"return": {}}

    async with powered(tmp_path, answer) as guest:
        await guest.power.receive()
        assert guest.power._console.last(100) == b"firstsecondthird"
        assert later == []
        assert guest.qmp.requests == ["query-status"] * 6


async def test_a_channel_that_was_closed_is_not_waited_for(tmp_path: Path) -> None:
    async with powered(tmp_path) as guest, asyncio.timeout(10):
        guest.ends[SERIAL].send(b"unread")
        guest.power._console.detach()
        await asyncio.sleep(0)
        guest.power.process.sockets[SERIAL].close()
        await guest.power.receive()
