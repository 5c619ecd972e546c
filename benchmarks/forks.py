"""Starting from frozen states against booting, and against the ways that QEMU itself has; memory of many forks."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.measure import Row
from qa.config import Config
from qa.deadline import Deadline
from qa.events import Bus, Event, QmpEvent
from qa.fleet import Owner
from qa.machine import Machine
from qa.machine import power as power_module
from qa.machine.power import PowerCycle
from qa.operations.blueprint import Blueprint
from qa.operations.boot import Host, Place
from qa.operations.options import MachineOptions
from qa.paths import Paths
from qa.qemu.argv import MONITOR, build_argv, channel_names
from qa.qemu.monitor import Monitor
from qa.qemu.process import start_qemu
from qa.snapshots.store import Entry
from qa.snapshots.thaw import Thawed

FIRST = "true"
"""The first command."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """A host with a store of its own, and the machine that is measured."""

    host: Host
    blueprint: Blueprint
    folder: Path

    @classmethod
    @asynccontextmanager
    async def of(cls, image: str) -> AsyncGenerator[Bench]:
        paths = Paths.from_environment()
        with tempfile.TemporaryDirectory(dir=paths.cache) as name, Owner.register(paths) as owner:
            folder = Path(name)
            host = Host(paths, Config(snapshots=folder / "store"), owner)
            place = Place(folder, folder / "console.log", folder / "qemu.log", folder)
            yield cls(host, await host.blueprint(image, image, MachineOptions(), {}, place=place, bus=Bus()), folder)

    def place(self) -> Place:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return Place(folder, folder / "console.log", folder / "qemu.log", folder)

    @asynccontextmanager
    async def cold(self) -> AsyncGenerator[Machine]:
        async with self.host.open_machine(self.blueprint, place=self.place(), bus=Bus(), start="cold") as machine:
            yield machine

    @asynccontextmanager
    async def fork(self, entry: Entry) -> AsyncGenerator[Machine]:
        async with self.host.open_fork(self.blueprint, entry, place=self.place(), bus=Bus()) as machine:
            yield machine


class Times:
    """Milliseconds of one subject, from its beginning to each of its milestones."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    def add(self, milestone: str, seconds: float) -> None:
        self.taken.setdefault(milestone, []).append(seconds * 1000)

    def median(self, milestone: str) -> float:
        return statistics.median(self.taken[milestone])

    def spread(self, milestone: str) -> str:
        return f"{min(self.taken[milestone]):.0f} to {max(self.taken[milestone]):.0f}, {len(self.taken[milestone])} times"


def running_after(bus_events: list[Event], began: float) -> float:
    """Seconds until QEMU told that the guest runs."""
    return next(event.at for event in bus_events if isinstance(event, QmpEvent) and event.name == "RESUME") - began


@asynccontextmanager
async def listening(machine: Machine) -> AsyncGenerator[list[Event]]:
    heard: list[Event] = []
    unsubscribe = machine.bus.subscribe(heard.append)
    try:
        yield heard
    finally:
        unsubscribe()


async def time_fork(bench: Bench, entry: Entry, times: Times) -> None:
    heard: list[Event] = []
    bus = Bus()
    bus.subscribe(heard.append)
    began = time.time()
    async with bench.host.open_fork(bench.blueprint, entry, place=bench.place(), bus=bus) as machine:
        await machine.execute(FIRST)
        times.add("first command", time.time() - began)
        times.add("running", running_after(heard, began))


async def time_qemu_alone(bench: Bench, entry: Entry, times: Times) -> None:
    """QEMU with the same devices, until its monitor answers: what no way of starting a machine can be quicker than."""
    async with bench.fork(entry) as machine:
        spec = power_module._spec(machine.setup, machine.disks, None)
        place = bench.place()
        await machine.crash()
        began = time.time()
        process = start_qemu(
            channel_names(spec), lambda descriptors: build_argv(machine.setup.qemu.path, spec, descriptors), place.qemu_log
        )
        monitor = Monitor("alone", lambda _name, _data: None)
        await monitor.connect(process.sockets[MONITOR])
        await monitor.execute("query-status")
        times.add("running", time.time() - began)
        process.kill()
        await process.exited
        await monitor.disconnect()
        await process.stop()


async def time_save(machine: Machine, times: Times) -> Entry:
    async with listening(machine) as heard:
        began = time.time()
        kept = await machine.freeze("snapshot", title="measured")
        times.add("saved", time.time() - began)
        stopped, resumed = (
            next(event.at for event in heard if isinstance(event, QmpEvent) and event.name == name) for name in ("STOP", "RESUME")
        )
        times.add("stood still", resumed - stopped)
    return kept.entry


async def job(monitor: Monitor, command: str, **arguments: Any) -> None:
    """A job of QEMU's, to its end."""
    await monitor.execute(command, {"job-id": command, "tag": "measured", **arguments})
    status: dict[str, Any] = {}
    while status.get("status") != "concluded":
        await asyncio.sleep(0.001)
        status = next(one for one in await monitor.execute("query-jobs") if one["id"] == command)
    if "error" in status:
        raise RuntimeError(f"{command}: {status['error']}")
    await monitor.execute("job-dismiss", {"id": command})


async def time_qemus_snapshot(machine: Machine, rounds: int, times: Times) -> None:
    """snapshot-save and snapshot-load, in place."""
    power = machine._on()
    disks = [node.name for node in power.nodes if not node.disk.read_only]
    arguments = {"vmstate": disks[0], "devices": disks}
    began = time.time()
    await power.monitor.execute("stop")
    await job(power.monitor, "snapshot-save", **arguments)
    await power.monitor.execute("cont")
    times.add("saved", time.time() - began)
    known = power.shell.known()
    for _ in range(rounds):
        began = time.time()
        await power.monitor.execute("stop")
        await job(power.monitor, "snapshot-load", **arguments)
        power.shell._shells.idle.clear()
        power.shell.recall(known)
        await power.monitor.execute("cont")
        times.add("running", time.time() - began)
        await machine.execute(FIRST)
        times.add("first command", time.time() - began)


async def migrated(monitor: Monitor, command: str, path: Path) -> None:
    await monitor.execute("migrate-set-parameters", {"max-bandwidth": 1 << 40})
    await monitor.execute(command, {"uri": f"file:{path}"})
    while (status := (await monitor.execute("query-migrate")).get("status")) != "completed":
        if status == "failed":
            raise RuntimeError(f"{command} failed")
        await asyncio.sleep(0.001)


async def time_plain_migration(machine: Machine, rounds: int, times: Times) -> None:
    """All of the machine into one file, and out of it in a new QEMU. Ends the machine."""
    power, state = machine._on(), machine.setup.work / "migrated"
    known = power.shell.known()
    began = time.time()
    await power.monitor.execute("stop")
    await migrated(power.monitor, "migrate", state)
    times.add("saved", time.time() - began)
    await machine.crash()

    class Whole(Thawed):
        async def load(self, monitor: Monitor, pid: int) -> None:
            del pid
            await migrated(monitor, "migrate-incoming", state)

    def incoming(*arguments: Any) -> list[str]:
        return [*build_argv(*arguments), "-incoming", "defer"]

    record = mock.Mock(paused=False)
    whole = Whole(entry=mock.Mock(), record=record, disks=machine.disks, memory_entry=None)
    for _ in range(rounds):
        with mock.patch.object(power_module, "build_argv", incoming):
            began = time.time()
            again = await PowerCycle.start(
                machine.setup,
                machine._console,
                Bus(),
                disks=machine.disks,
                thawed=whole,
                recall=lambda cycle: cycle.shell.recall(known),
            )
        times.add("running", time.time() - began)
        await again.vitals.guard(again.shell.run(FIRST, limit=60), Deadline.after(60), FIRST)
        times.add("first command", time.time() - began)
        await again.stop("measured")


def pss(machine: Machine) -> float:
    """MB of memory that a machine's QEMU takes, what it shares with others divided among all of them."""
    rollup = Path(f"/proc/{machine._on().process.pid}/smaps_rollup").read_text()
    return int(re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[0]) / 1024


async def measure_memory(bench: Bench, group: str, entry: Entry, cold: float, count: int) -> list[Row]:
    async with AsyncExitStack() as stack:
        forks = [await stack.enter_async_context(bench.fork(entry)) for _ in range(count)]
        await asyncio.gather(*(fork.execute(FIRST) for fork in forks))
        each = [pss(fork) for fork in forks]
    group, together = f"{group}: memory", cold * count
    return [
        Row(group, f"{count} machines that were booted", together, "MB", 1.0, f"{cold:.0f} each, measured on one"),
        Row(group, f"{count} forks", sum(each), "MB", sum(each) / together, f"{statistics.median(each):.0f} each"),
    ]


async def repeated(rounds: int, *subjects: Callable[[], Awaitable[object]]) -> None:
    for _ in range(rounds):
        for subject in subjects:
            await subject()


async def measure(image: str, group: str, *, rounds: int, forks: int) -> list[Row]:
    async with Bench.of(image) as bench:
        boot, fork, nested, alone, save, save_fork, own, plain = (Times() for _ in range(8))
        began = time.time()
        async with bench.cold() as machine:
            await machine.execute(FIRST)
            boot.add("first command", time.time() - began)
            cold_memory = pss(machine)
            kept = await machine.freeze("template", key="measured", title="measured")
            for _ in range(rounds):
                await time_save(machine, save)
            async with bench.fork(kept.entry) as child:
                await child.execute("dd if=/dev/urandom of=/dev/shm/changed bs=1M count=8 2>/dev/null || true")
                for _ in range(rounds):
                    entry = await time_save(child, save_fork)
                await repeated(
                    rounds,
                    lambda: time_fork(bench, kept.entry, fork),
                    lambda: time_fork(bench, entry, nested),
                    lambda: time_qemu_alone(bench, kept.entry, alone),
                )
            await time_qemus_snapshot(machine, rounds, own)
            await time_plain_migration(machine, rounds, plain)
        memory = await measure_memory(bench, group, kept.entry, cold_memory, forks)
        kept.release()
    first, run = boot.median("first command"), alone.median("running")

    def row(what: str, subject: str, times: Times, milestone: str, base: float) -> Row:
        value = times.median(milestone)
        return Row(f"{group}: {what}", subject, value, "ms", value / base, times.spread(milestone))

    saved = plain.median("saved")
    return [
        Row(f"{group}: to the first command", "cold boot", first, "ms", 1.0, "once"),
        row("to the first command", "fork of a template", fork, "first command", first),
        row("to the first command", "fork of a fork", nested, "first command", first),
        row("to the first command", "snapshot-load in place", own, "first command", first),
        row("to the first command", "migrate from a file", plain, "first command", first),
        row("to a running guest", "QEMU alone, to its first answer", alone, "running", run),
        row("to a running guest", "fork of a template", fork, "running", run),
        row("to a running guest", "fork of a fork", nested, "running", run),
        row("to a running guest", "snapshot-load in place", own, "running", run),
        row("to a running guest", "migrate from a file", plain, "running", run),
        Row(f"{group}: to a running guest", "cold boot until ready", first, "ms", first / run, ""),
        row("to freeze", "migrate to a file (ends the machine)", plain, "saved", saved),
        row("to freeze", "snapshot-save", own, "saved", saved),
        row("to freeze", "a machine that was booted", save, "saved", saved),
        row("to freeze", "of that, it stands still", save, "stood still", saved),
        row("to freeze", "a fork", save_fork, "saved", saved),
        row("to freeze", "of that, it stands still", save_fork, "stood still", saved),
        *memory,
    ]
