"""Our side of a machine that is frozen: what is said and heard on its channels, what is held of the store, who gives up when."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_qmp import FakeQmp

from qa.console import SerialConsole
from qa.errors import QemuFailed, SnapshotUnusable, UsageError
from qa.events import Bus
from qa.guest.port import Port
from qa.images.image import Image
from qa.machine import Machine, MachineSetup
from qa.machine.known import Known
from qa.machine.power import PowerCycle
from qa.qemu.argv import MONITOR, SERIAL
from qa.snapshots.freeze import Frozen, Subject, freeze
from qa.snapshots.record import Record
from qa.snapshots.store import Draft, Store


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


# machines whose states are kept


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    """One that is off, and that has no disks."""
    nothing: Any = None
    setup = MachineSetup(
        name="vm",
        image=Image("builtin", tmp_path / "image.qcow2", "qcow2", 1 << 20, "x"),
        qemu=nothing,
        firmware=nothing,
        accel="tcg",
        accel_reason="asked for",
        factor=1.0,
        work=tmp_path / "work",
        results=tmp_path,
        store=Store(tmp_path / "snapshots", 1 << 40),
        made_of={"QEMU": "this"},
        memory=128 << 20,
        cpus=1,
        disks=(),
        console_log=tmp_path / "console.log",
        qemu_log=tmp_path / "qemu.log",
    )
    setup.work.mkdir()
    async with Machine.open(setup, Bus()) as machine:
        yield machine


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def entries(machine: Machine) -> set[str]:
    return {entry.id for entry in machine.setup.store.entries()}


async def test_going_back_again_and_again_takes_no_more_of_anything(machine: Machine) -> None:
    machine.setup.variables.write_bytes(b"variables")
    await machine.snapshot("a")
    await machine.snapshot("b")
    await machine.restore("a")
    before = descriptors(), sorted(machine.setup.work.iterdir())
    for _ in range(20):
        await machine.restore("b")
        await machine.restore("a")
    assert (descriptors(), sorted(machine.setup.work.iterdir())) == before


async def test_each_state_is_held_once_however_many_build_on_it(machine: Machine) -> None:
    counts = []
    for number in range(10):
        await machine.snapshot(str(number))
        counts.append(descriptors())
    assert [later - earlier for earlier, later in pairwise(counts)] == [1] * 9


async def test_restore_points_last_as_long_as_the_machine_and_no_longer(machine: Machine) -> None:
    before = descriptors()
    for name in ("a", "b"):
        await machine.snapshot(name)
    await machine.restore("a")
    await machine.snapshot("c")  # beside b, on a
    await machine.restore("b")
    assert len(entries(machine)) == 3
    await machine.restore("c")
    await machine.destroy()
    assert entries(machine) == set()
    assert descriptors() <= before


async def test_a_name_used_again_stands_for_the_new_point_and_the_old_one_goes(machine: Machine) -> None:
    await machine.snapshot("base")
    await machine.snapshot("x")
    old = machine._points["x"]
    await machine.restore("base")
    await machine.snapshot("x")
    assert machine.snapshots == ("base", "x")
    assert old.id not in entries(machine)
    assert len(entries(machine)) == 2


async def test_a_restore_point_that_is_not_there(machine: Machine) -> None:
    with pytest.raises(UsageError, match="vm has no restore point 'x'") as caught:
        await machine.restore("x")
    assert caught.value.hint == "make one with snapshot first"
    await machine.snapshot("y")
    with pytest.raises(UsageError) as caught:
        await machine.restore("x")
    assert caught.value.hint == "there are: y"


async def test_what_was_stored_before_the_first_boot_is_undone_too(machine: Machine) -> None:
    await machine.snapshot("before")
    machine.setup.variables.write_bytes(b"written by the firmware")
    await machine.snapshot("after")
    await machine.restore("before")
    assert not machine.setup.variables.exists()
    await machine.restore("after")
    assert machine.setup.variables.read_bytes() == b"written by the firmware"


async def test_freezes_and_restores_at_once_come_one_after_the_other(machine: Machine) -> None:
    await machine.snapshot("a")
    await asyncio.gather(*(machine.snapshot(name) for name in "bcd"), *(machine.restore("a") for _ in range(3)))
    assert set(machine.snapshots) == {"a", "b", "c", "d"}
    for name in "abcd":
        await machine.restore(name)


async def test_who_gives_up_a_freeze_has_it_brought_to_its_end_and_let_go(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(subject: Subject, draft: Draft) -> Frozen:
        frozen = await freeze(subject, draft)
        began.set()
        await go.wait()
        return frozen

    monkeypatch.setattr("qa.snapshots.freeze.freeze", slow)
    freezing = asyncio.create_task(machine.freeze("template", key="k"))
    await began.wait()
    freezing.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not freezing.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await freezing
    entry = machine.setup.store.find("template", "k")
    assert entry is not None
    assert machine._below == entry  # its disks build on it now
    await machine.destroy()
    assert machine.setup.store.remove(entry.id)  # nobody holds it


async def test_a_freeze_that_fails_changes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    await machine.snapshot("a")
    before = machine._below, machine.disks, descriptors(), entries(machine)

    async def fails(*_: object) -> Frozen:
        raise QemuFailed("no")

    monkeypatch.setattr("qa.snapshots.freeze.freeze", fails)
    with pytest.raises(QemuFailed):
        await machine.freeze("snapshot")
    assert (machine._below, machine.disks, descriptors(), entries(machine)) == before


@pytest.mark.parametrize("paused", [False, True])
async def test_a_paused_guest_is_not_asked_for_anything(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    asked: list[str] = []

    async def arm() -> None:
        asked.append("arm")

    async def freeze_now(*_: object) -> str:
        return "frozen"

    async with powered(tmp_path) as guest:
        shell: Any = SimpleNamespace(arm=arm)
        guest.power.shell, guest.power.paused = shell, paused
        monkeypatch.setattr(machine, "_power", guest.power)
        monkeypatch.setattr(machine, "_freeze_now", freeze_now)
        assert await machine.freeze("snapshot") == "frozen"
        monkeypatch.setattr(machine, "_power", None)
    assert asked == ([] if paused else ["arm"])


async def test_another_machine_s_state_is_refused_before_anything_is_lost(machine: Machine) -> None:
    known = {"name": "vm", "recent": 0, "shell": {}, "booted": True, "channel": "", "ssh": None}
    for one, text in [
        ({**known, "made_of": {"QEMU": "that"}}, "does not fit any more: QEMU changed"),
        ({**known, "made_of": {"QEMU": "this"}, "new": 1}, "written by another version"),
        ({**known, "made_of": {"QEMU": "this"}, "recent": -1}, "written by another version"),
        ({}, "written by another version"),
    ]:
        with machine.setup.store.draft("snapshot") as draft:
            record = Record(running=True, frozen_at=1.0, memory=1, known=one)
            entry = draft.commit(machine=record.model_dump(mode="json"))
        before = descriptors()
        with pytest.raises(SnapshotUnusable, match=text):
            await machine.go_on_from(entry)
        assert descriptors() == before
        assert machine.ended == "never booted"


async def test_what_is_known_of_the_shell_is_not_believed_blindly() -> None:
    def recall(_: object) -> None:
        raise KeyError("idle")

    power: Any = SimpleNamespace(shell=SimpleNamespace(recall=recall))
    known = Known(name="vm", made_of={}, recent=0, shell={}, booted=True, channel="", ssh=None)
    with pytest.raises(SnapshotUnusable, match="shell is not complete"):
        known.tell(power)


async def test_after_new_ssh_host_keys_the_next_one_that_is_shown_counts(machine: Machine, tmp_path: Path) -> None:
    from qa.guest.ssh import SshAccess

    async def run(command: str, limit: float) -> Any:
        return SimpleNamespace(exit_code=0)

    access = SshAccess.generate(with_host_key=True)
    machine.setup = replace(machine.setup, ssh=access)
    channel: Any = SimpleNamespace(run=run, close=lambda: asyncio.sleep(0))
    async with powered(tmp_path) as guest:
        machine._power, machine._channel = guest.power, channel
        await machine.renew_identity()
        machine._power = None
    assert machine.setup.ssh.host_key is None
    assert machine.setup.ssh.key is access.key


async def test_pausing_and_letting_go_wait_for_a_freeze_which_does_both_itself(machine: Machine, tmp_path: Path) -> None:
    async with powered(tmp_path) as guest:
        machine._power = guest.power
        async with machine._changing:
            waiting = [asyncio.create_task(work) for work in (machine.pause(), machine.resume())]
            assert await asyncio.wait(waiting, timeout=0.05) == (set(), set(waiting))
            assert guest.qmp.requests == []
        await asyncio.gather(*waiting)
        assert (guest.qmp.requests, guest.power.paused) == (["stop", "cont"], False)
        machine._power = None
