"""Freezing and thawing with a real QEMU whose only guest is its firmware."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import qemus

from qa.errors import NoSpace, QemuExited, QemuFailed, SnapshotError, SnapshotUnusable
from qa.events import Bus
from qa.host.firmware import find_firmware
from qa.host.qemu import find_qemu
from qa.images.image import Image
from qa.machine import Machine, MachineSetup
from qa.machine.known import Kept
from qa.qemu.memory import Block, ProcessMemory, find_blocks
from qa.qemu.monitor import Monitor
from qa.qemu.spec import Disk
from qa.snapshots.record import CHANGES, DEVICES, MEMORY, read_record
from qa.snapshots.store import Entry, Store

MEMORY_SIZE = 128 << 20
FREE = 48 << 20
"""Somewhere in the guest's memory that the firmware does not use."""


@pytest.fixture(autouse=True)
def no_qemu_is_left() -> Iterator[None]:
    yield
    assert qemus() == []


def setup_in(folder: Path, store: Path | None = None) -> MachineSetup:
    work = folder / "work"
    work.mkdir(parents=True)
    for name in ("disk0", "disk1"):
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", work / f"{name}.qcow2", "16M"], check=True)
    (work / "seed.iso").write_bytes(b"seed" * 1024)
    return MachineSetup(
        name="vm",
        image=Image("none", folder / "none", "qcow2", 16 << 20, "x"),
        qemu=find_qemu(),
        firmware=find_firmware(),
        accel="tcg",
        accel_reason="asked for",
        factor=5.0,
        work=work,
        results=folder,
        store=Store(store or folder / "store", 1 << 40),
        made_of={"QEMU": "this"},
        memory=MEMORY_SIZE,
        cpus=1,
        disks=(
            Disk(work / "disk0.qcow2", "qcow2"),
            Disk(work / "disk1.qcow2", "qcow2", serial="S1"),
            Disk(work / "seed.iso", "raw", read_only=True, bootable=False),
        ),
        console_log=folder / "console.log",
        qemu_log=folder / "qemu.log",
        network="none",
    )


class Vm:
    """A machine, its memory and its disks from outside."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    @property
    def power(self) -> Any:
        assert self.machine._power
        return self.machine._power

    async def status(self) -> str:
        return str((await self.power.monitor.execute("query-status"))["status"])

    async def block(self) -> Block:
        return (await find_blocks(self.power.monitor))[0]

    async def put(self, offset: int, data: bytes) -> None:
        block = await self.block()
        with ProcessMemory.open(self.power.process.pid) as memory:
            memory.write(block, offset, data)

    async def get(self, offset: int, count: int) -> bytes:
        block = await self.block()
        with ProcessMemory.open(self.power.process.pid) as memory:
            return b"".join(bytes(piece) for _, piece in memory.read(block, [(offset, count)]))

    async def disk(self, command: str, number: int = 0) -> str:
        """Have QEMU write to or read from a disk as the guest does; what it says of it comes into its log."""
        log = self.machine.qemu_log
        before = log.stat().st_size
        refused = await self.power.monitor.human(f'qemu-io -d /machine/peripheral/disk{number}-device/virtio-backend "{command}"')
        return str(refused) + log.read_bytes()[before:].decode()

    async def write(self, byte: int, number: int = 0) -> None:
        assert "wrote 65536/65536" in await self.disk(f"write -P {byte} 0 64k", number)
        await self.disk("flush", number)

    async def reads(self, byte: int, number: int = 0) -> bool:
        said = await self.disk(f"read -P {byte} 0 64k", number)
        assert "read 65536/65536" in said or "Pattern verification failed" in said, said
        return "verification failed" not in said


@asynccontextmanager
async def on(setup: MachineSetup) -> AsyncGenerator[Vm]:
    """A machine whose firmware runs; in the end it stops in its shell, which is no failure here."""
    async with Machine.open(setup, Bus()) as machine:
        await machine.power_on()
        vm = Vm(machine)
        vm.power.vitals.await_boot(False)
        yield vm


@asynccontextmanager
async def forked(setup: MachineSetup, entry: Entry, folder: Path) -> AsyncGenerator[Vm]:
    work = folder / "work"
    work.mkdir(parents=True)
    other = replace(setup, work=work, console_log=folder / "console.log", qemu_log=folder / "qemu.log")
    async with Machine.open(other, Bus()) as machine:
        await machine.begin_from(entry, "fork")
        vm = Vm(machine)
        vm.power.vitals.await_boot(False)
        yield vm


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_the_source_goes_on_and_the_fork_is_the_same_machine(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        await vm.put(FREE, b"frozen")
        await vm.write(7)
        await vm.write(8, 1)
        kept = await vm.machine.freeze("snapshot")
        assert await vm.status() == "running"
        await vm.put(FREE, b"later ")
        await vm.write(9)
        async with forked(setup, kept.entry, tmp_path / "fork") as fork:
            assert await fork.status() == "running"
            assert await fork.get(FREE, 6) == b"frozen"
            assert (await fork.reads(7), await fork.reads(8, 1)) == (True, True)
            await fork.put(FREE, b"fork's")
            await fork.write(10)
            assert (await vm.get(FREE, 6), await vm.reads(9), await vm.reads(8, 1)) == (b"later ", True, True)
            assert (await fork.get(FREE, 6), await fork.reads(10)) == (b"fork's", True)
        async with forked(setup, kept.entry, tmp_path / "again") as fork:
            assert (await fork.get(FREE, 6), await fork.reads(7)) == (b"frozen", True)
        kept.release()


async def test_forks_of_forks_keep_what_they_changed_only(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    kept: list[Kept] = []
    async with on(setup) as vm:
        await vm.put(FREE, b"0")
        kept.append(await vm.machine.freeze("checkpoint"))
    for depth in range(1, 5):
        async with forked(setup, kept[-1].entry, tmp_path / str(depth)) as fork:
            assert await fork.get(FREE, depth) == b"01234"[:depth]
            await fork.put(FREE + depth, str(depth).encode())
            await fork.write(depth)
            kept.append(await fork.machine.freeze("checkpoint"))
    entry = kept[-1].entry
    assert [one.id for one in entry.ancestors] == [one.id for one in kept[:-1]]
    assert (entry.has(CHANGES), entry.has(MEMORY), read_record(entry).memory_entry) == (True, False, kept[0].id)
    async with forked(setup, entry, tmp_path / "last") as fork:
        assert await fork.get(FREE, 5) == b"01234"
        assert await fork.reads(4)
    for one in reversed(kept):
        one.release()


async def test_a_machine_goes_back_and_forth(tmp_path: Path) -> None:
    async with on(setup_in(tmp_path)) as vm:
        for name in ("1", "2", "3"):
            await vm.put(FREE, name.encode())
            await vm.write(int(name))
            await vm.machine.snapshot(name)
        counts = []
        for name in ("1", "3", "2") * 3:
            await vm.machine.restore(name)
            assert (await vm.get(FREE, 1), await vm.reads(int(name))) == (name.encode(), True)
            await vm.put(FREE, b"x")
            await vm.write(99)
            counts.append((descriptors(), len(list(vm.machine.setup.work.iterdir()))))
        assert len(set(counts[1:])) == 1
        assert len(qemus()) == 1


async def test_a_paused_machine_stays_paused_also_in_its_forks(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        await vm.machine.pause()
        await vm.put(FREE, b"one")
        kept = await vm.machine.freeze("snapshot")
        assert await vm.status() == "paused"
        async with forked(setup, kept.entry, tmp_path / "fork") as fork:
            assert await fork.status() == "paused"
            assert fork.power.paused
            again = await fork.machine.freeze("snapshot")
            await fork.machine.resume()
            assert await fork.status() == "running"
            async with forked(setup, again.entry, tmp_path / "second") as second:
                assert (await second.status(), await second.get(FREE, 3)) == ("paused", b"one")
            again.release()
        kept.release()


async def test_the_console_goes_on_where_it_was(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        console = vm.machine._console
        async with asyncio.timeout(120):
            while b"BdsDxe" not in console.recent and b"UEFI" not in console.recent:  # noqa: ASYNC110 -- whichever comes first
                await asyncio.sleep(0.01)
        kept = await vm.machine.freeze("snapshot")
        past, recent = (kept.entry.folder / "console").read_bytes(), read_record(kept.entry).known["recent"]
        async with forked(setup, kept.entry, tmp_path / "fork") as fork:
            assert fork.machine._console.recent[:recent] == past[-recent:]
            assert fork.machine.console_log.read_bytes().startswith(past)
        kept.release()


async def test_a_machine_that_is_off_and_boots_on_what_was_frozen(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        await vm.write(7)
        await vm.machine.crash()
        await vm.machine.snapshot("off")
        await vm.machine.power_on()
        assert await vm.reads(7)
        await vm.write(8)
        await vm.machine.restore("off")
        assert vm.machine._power is None
        await vm.machine.power_on()
        assert await vm.reads(7)


async def test_a_machine_with_a_new_layer_boots_again(tmp_path: Path) -> None:
    async with on(setup_in(tmp_path)) as vm:
        await vm.write(7)
        await vm.machine.snapshot("a")
        await vm.write(8, 1)
        await vm.machine.crash()
        await vm.machine.power_on()
        assert (await vm.reads(7), await vm.reads(8, 1)) == (True, True)


@pytest.mark.parametrize("name", ["a,b:c %d ü", "x,offset=4096", 'it\'s "quoted" $HOME `id`', "json:{}", "back\\slash"])
async def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    setup = setup_in(folder)
    async with on(setup) as vm:
        await vm.put(FREE, b"frozen")
        await vm.write(7)
        await vm.machine.snapshot("a")
        await vm.put(FREE, b"later ")
        await vm.write(8)
        await vm.machine.restore("a")
        assert (await vm.get(FREE, 6), await vm.reads(7)) == (b"frozen", True)
        await vm.machine.snapshot("b")
        await vm.machine.restore("b")
        assert (await vm.get(FREE, 6), await vm.reads(7)) == (b"frozen", True)


def shortened(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1000)


def changed(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))


FILES = [DEVICES, MEMORY, "disk0.qcow2", "disk0.new", "variables.fd", "console", "disk2.attached"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, damage) for name in FILES for damage in (shortened, changed, Path.unlink) if (name, damage) != (MEMORY, changed)],
)
async def test_a_damaged_file_is_a_sentence(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    async with Machine.open(setup_in(tmp_path), Bus()) as machine:
        await machine.power_on()
        machine._console.data_received(b"x" * 2000)
        await machine.snapshot("a")
        entry = machine._points["a"]
        damage(entry.folder / name)
        before = descriptors()
        with pytest.raises(SnapshotUnusable) as caught:
            await machine.restore("a")
        assert entry.id in caught.value.message
        assert descriptors() <= before
        assert len(qemus()) <= 1


@pytest.mark.parametrize("cut", [0, 7, 5000, 200_000])
async def test_a_state_that_qemu_does_not_take_leaves_nothing_of_it(tmp_path: Path, cut: int) -> None:
    """As the store's check of contents does not know: a state of another QEMU looks sound."""
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        kept = await vm.machine.freeze("snapshot")
    os.truncate(kept.entry.folder / DEVICES, cut)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entry, "check", lambda _: None)
        counts = []
        for number in range(3):
            with pytest.raises(SnapshotUnusable, match=f"does not take the frozen machine {kept.id}") as caught:
                async with forked(setup, kept.entry, tmp_path / str(number)):
                    raise AssertionError
            assert any("load of migration failed" in text for text in caught.value.evidence.values())
            await asyncio.sleep(0)
            counts.append((descriptors(), len(asyncio.all_tasks())))
            assert qemus() == []
    assert counts[0] == counts[-1]
    kept.release()


async def test_a_state_of_other_hardware_is_a_sentence(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        kept = await vm.machine.freeze("snapshot")
    for number, other in enumerate([replace(setup, cpus=2), replace(setup, network="user")]):
        with pytest.raises(SnapshotUnusable, match=f"the frozen machine {kept.id}"):
            async with forked(other, kept.entry, tmp_path / str(number)):
                raise AssertionError
    kept.release()


@pytest.mark.parametrize("command", ["stop", "human-monitor-command", "xen-save-devices-state", "transaction", "cont"])
async def test_a_qemu_that_is_killed_while_it_is_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    setup = setup_in(tmp_path)
    execute = Monitor.execute

    async def kill_first(monitor: Monitor, name: str, *arguments: Any, **named: Any) -> Any:
        if name == command:
            os.kill(vm.power.process.pid, signal.SIGKILL)
        return await execute(monitor, name, *arguments, **named)

    async with on(setup) as vm:
        files = sorted(setup.work.iterdir())
        with monkeypatch.context() as patch:
            patch.setattr(Monitor, "execute", kill_first)
            with pytest.raises((QemuExited, QemuFailed)):
                await vm.machine.freeze("template", key="k")
        assert setup.store.entries() == []
        assert sorted(setup.work.iterdir()) == files
        await vm.machine.crash()
        await vm.machine.power_on()  # its disks are as they were
        assert await vm.status() == "running"


@pytest.mark.parametrize("command", ["stop", "human-monitor-command", "xen-save-devices-state", "transaction", "cont"])
async def test_who_gives_up_while_it_is_frozen_has_a_machine_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    setup = setup_in(tmp_path)
    execute = Monitor.execute

    async def give_up(monitor: Monitor, name: str, *arguments: Any, **named: Any) -> Any:
        if name == command:
            freezing.cancel()
        return await execute(monitor, name, *arguments, **named)

    async with on(setup) as vm:
        await vm.write(7)
        with monkeypatch.context() as patch:
            patch.setattr(Monitor, "execute", give_up)
            freezing = asyncio.ensure_future(vm.machine.freeze("snapshot"))
            with pytest.raises(asyncio.CancelledError):
                await freezing
        assert await vm.status() == "running"
        await vm.write(8)
        await vm.machine.snapshot("a")
        await vm.write(9)
        await vm.machine.restore("a")
        assert await vm.reads(8)
        await vm.machine.crash()
        await vm.machine.power_on()
        assert await vm.reads(8)


async def test_no_file_may_be_so_large(tmp_path: Path) -> None:
    """The limit is this process's: QEMU writes the devices' state itself, and had its limits before."""
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        await vm.write(7)
        before, files = resource.getrlimit(resource.RLIMIT_FSIZE), sorted(setup.work.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, before[1]))
        try:
            with pytest.raises(SnapshotError, match="cannot be used: File too large"):
                await vm.machine.freeze("snapshot")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (setup.store.entries(), sorted(setup.work.iterdir())) == ([], files)
        assert await vm.status() == "running"
        await vm.write(8)
        await vm.machine.snapshot("a")
        await vm.machine.restore("a")
        assert await vm.reads(8)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 32 MB, which another process has mounted for itself alone."""
    folder = tmp_path / "small"
    folder.mkdir()
    flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    script = f"mount -t tmpfs -o size=32m,mode=700 none {folder} && echo ready && exec cat"
    with subprocess.Popen(["unshare", *flags, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"ready\n"
        yield Path(f"/proc/{process.pid}/root{folder}")
        process.stdin.close()


async def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    setup = setup_in(tmp_path, store=small_disk / "store")
    too_much = 40 << 20
    async with on(setup) as vm:
        await vm.write(7)
        await vm.put(FREE, os.urandom(too_much))
        files = sorted(setup.work.iterdir())
        with pytest.raises(NoSpace, match="no space is left for frozen machines"):
            await vm.machine.freeze("template", key="k")
        assert sorted(setup.work.iterdir()) == files
        assert [path.name for path in (small_disk / "store").iterdir() if not path.name.startswith(".lock")] == []
        assert await vm.status() == "running"
        assert await vm.reads(7)
        await vm.put(FREE, b"\0" * too_much)
        kept = await vm.machine.freeze("template", key="k")  # what fits is kept: what the firmware uses, and no zeros
        kept.release()


async def test_a_store_on_another_file_system_gets_the_disks_as_they_are(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        setup = setup_in(tmp_path, store=Path(elsewhere) / "store")
        async with on(setup) as vm:
            await vm.disk("write -P 7 0 64k")  # QEMU itself has not written all of it down
            kept = await vm.machine.freeze("snapshot")
            await vm.write(8)
            async with forked(setup, kept.entry, tmp_path / "fork") as fork:
                assert (await fork.reads(7), await vm.reads(8)) == (True, True)
            kept.release()


async def test_many_freezes_and_forks_leave_no_descriptors(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    counts = []
    async with on(setup) as vm:
        for number in range(6):
            kept = await vm.machine.freeze("snapshot")
            async with forked(setup, kept.entry, tmp_path / str(number)):
                pass
            kept.release()
            await asyncio.sleep(0)
            counts.append(descriptors() - len(vm.machine._below.ancestors if vm.machine._below else ()))
    assert counts[1] == counts[-1]


async def test_two_restores_at_once_leave_one_machine(tmp_path: Path) -> None:
    async with on(setup_in(tmp_path)) as vm:
        await vm.put(FREE, b"a")
        await vm.machine.snapshot("a")
        await vm.put(FREE, b"b")
        await vm.machine.snapshot("b")
        await asyncio.gather(vm.machine.restore("a"), vm.machine.restore("b"), vm.machine.snapshot("c"))
        assert len(qemus()) == 1
        assert await vm.get(FREE, 1) == b"b"


@pytest.mark.parametrize("command", ["human-monitor-command", "migrate-incoming", "query-migrate", "cont"])
async def test_a_qemu_that_is_killed_in_the_middle_of_a_thaw_says_nothing_of_the_frozen_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    setup = setup_in(tmp_path)
    execute = Monitor.execute
    async with on(setup) as vm:
        kept = await vm.machine.freeze("snapshot")

    async def kill_first(monitor: Monitor, name: str, *arguments: Any, **named: Any) -> Any:
        if name == command:
            os.kill(qemus()[0], signal.SIGKILL)
        return await execute(monitor, name, *arguments, **named)

    monkeypatch.setattr(Monitor, "execute", kill_first)
    with pytest.raises(QemuExited, match="QEMU of vm was killed by signal 9 while it started"):
        async with forked(setup, kept.entry, tmp_path / "fork"):
            raise AssertionError
    kept.release()


@pytest.mark.parametrize("command", ["human-monitor-command", "migrate-incoming", "query-migrate", "cont"])
async def test_who_gives_up_in_the_middle_of_a_thaw_leaves_no_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    setup = setup_in(tmp_path)
    execute = Monitor.execute
    async with on(setup) as vm:
        kept = await vm.machine.freeze("snapshot")

    async def give_up(monitor: Monitor, name: str, *arguments: Any, **named: Any) -> Any:
        if name == command:
            thawing.cancel()
        return await execute(monitor, name, *arguments, **named)

    async def thaw() -> None:
        async with forked(setup, kept.entry, tmp_path / "fork"):
            raise AssertionError

    before = descriptors()
    monkeypatch.setattr(Monitor, "execute", give_up)
    thawing = asyncio.ensure_future(thaw())
    with pytest.raises(asyncio.CancelledError):
        await thawing
    await asyncio.sleep(0)
    assert qemus() == []
    assert descriptors() <= before
    kept.release()


async def test_a_fork_has_the_restore_points_of_its_source(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        await vm.put(FREE, b"1")
        await vm.machine.snapshot("one")
        await vm.put(FREE, b"2")
        await vm.machine.snapshot("two")
        await vm.machine.restore("one")
        kept = await vm.machine.freeze("checkpoint")
    async with forked(setup, kept.entry, tmp_path / "fork") as fork:
        assert fork.machine.snapshots == ("one", "two")
        kept.release()
        for name, data in (("two", b"2"), ("one", b"1"), ("two", b"2")):
            await fork.machine.restore(name)
            assert await fork.get(FREE, 1) == data


async def test_a_fork_of_a_machine_that_is_off_has_its_restore_points(tmp_path: Path) -> None:
    setup = setup_in(tmp_path)
    async with on(setup) as vm:
        await vm.put(FREE, b"1")
        await vm.machine.snapshot("on")
        await vm.machine.crash()
        await vm.machine.snapshot("off")
        kept = await vm.machine.freeze("checkpoint")
    fork = Machine(replace(setup, work=tmp_path / "fork"), Bus())
    fork.setup.work.mkdir()
    try:
        await fork.begin_from(kept.entry, "fork")
        kept.release()
        assert (fork.snapshots, qemus()) == (("on", "off"), [])
        await fork.restore("on")
        assert await Vm(fork).get(FREE, 1) == b"1"
        await fork.restore("off")
        assert qemus() == []
    finally:
        await fork.destroy()
