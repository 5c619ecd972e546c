"""Freezing: a machine's memory, devices, disks and firmware variables into an entry of the store, while the machine goes on.

The order matters. What changes nothing comes before the machine is stopped, where it can. The disks change hands last: until
then a failure leaves the machine as it was.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from qa.errors import QaError
from qa.host.files import clone
from qa.images.overlay import create_next_layer, overlay_size
from qa.qemu.devices import save_devices
from qa.qemu.memory import ProcessMemory, find_blocks
from qa.qemu.monitor import Monitor
from qa.qemu.spec import Disk
from qa.snapshots import pages
from qa.snapshots.record import CHANGES, DEVICES, DISPLAY, MEMORY, VARIABLES, Record, attached, layer, overlay
from qa.snapshots.store import Base, Draft, Entry

T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """A disk of a running machine, and the name under which its QEMU knows the layer that is written to."""

    disk: Disk
    name: str


@dataclass(frozen=True)
class Live:
    """A machine that is on: how it is reached.

    Attributes:
        memory_entry: the entry whose whole memory its QEMU maps; None for one that was booted.
        quiet: nothing of ours is sent to the guest in this context.
        receive: waits, once the machine stands still, until all is received that it has sent.
        known: asked while the machine stands still; what is to be remembered of it. It may write files into the folder given.
    """

    monitor: Monitor
    pid: int
    paused: bool
    memory_entry: Entry | None
    quiet: Callable[[], AbstractAsyncContextManager[None]]
    receive: Callable[[], Awaitable[None]]
    known: Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """What is to be frozen.

    Attributes:
        disks: as they are now, in the guest's order.
        variables: the firmware's, which may not be there yet.
        work: where the disks' next layers go.
        memory: bytes.
        bases: images that the disks build on.
        points: its restore points that are handed on, see `Record`.
        live: None for a machine that is off.
    """

    disks: tuple[Node, ...]
    variables: Path
    work: Path
    memory: int
    bases: tuple[Path, ...]
    points: dict[str, str]
    live: Live | None


@dataclass(frozen=True)
class Frozen:
    """What came of it: the entry, the disks with which the machine goes on, and for how many seconds it stood still."""

    entry: Entry
    disks: tuple[Node, ...]
    pause_s: float


async def freeze(subject: Subject, draft: Draft) -> Frozen:
    """Freeze ``subject`` into ``draft``; the machine goes on as before, with a new overlay on each of its disks.

    Raises:
        NoSpace, SnapshotError: the file system of the store is full, or not writable.
        QemuFailed: QEMU could not do its part, or its memory cannot be read.
        QemuExited: QEMU is gone.
    """
    onward: list[Node] = []
    try:
        with draft.store.writing():
            for number, node in enumerate(subject.disks):
                onward.append(await _next_layer(number, node, subject.work, draft))
            if subject.live is not None:
                return await _freeze_live(subject, subject.live, draft, tuple(onward))
            await _to_the_end(lambda: _save_files(subject, draft))
            record = Record(running=False, frozen_at=time.time(), memory=subject.memory, points=subject.points)
            return Frozen(await _commit(subject, draft, record), tuple(onward), 0.0)
    except BaseException:
        for node in subject.disks:
            _next_path(node, subject.work, draft).unlink(missing_ok=True)
        raise


def _next_path(node: Node, work: Path, draft: Draft) -> Path:
    return work / f"{node.disk.path.name.partition('.')[0]}.{draft.id}.qcow2"


async def _next_layer(number: int, node: Node, work: Path, draft: Draft) -> Node:
    """Prepare the layer that is to follow a disk's present one."""
    if node.disk.read_only:
        return node
    prepared = draft.folder / overlay(number)
    await create_next_layer(prepared, below=draft.final / layer(number), size=overlay_size(node.disk.path))
    path = _next_path(node, work, draft)
    shutil.copyfile(prepared, path)
    return Node(replace(node.disk, path=path), f"disk{number}-{draft.id}")


def _save_files(subject: Subject, draft: Draft) -> None:
    """What the machine has on the host's disk. Nothing writes to it meanwhile: the machine is off or stands still."""
    for number, node in enumerate(subject.disks):
        _link_or_copy(node.disk.path, draft.folder / (attached(number) if node.disk.read_only else layer(number)))
    if subject.variables.exists():
        shutil.copyfile(subject.variables, draft.folder / VARIABLES)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # the store is on another file system
        clone(source, target)


async def _freeze_live(subject: Subject, live: Live, draft: Draft, onward: tuple[Node, ...]) -> Frozen:
    async with live.quiet():
        began = time.monotonic()
        try:
            if not live.paused:
                await live.monitor.execute("stop")
            entry = await _save(subject, live, draft, time.time())
            await _change_layers(live.monitor, subject.disks, onward)
        except BaseException:
            with suppress(QaError):  # the reason is told by what is being raised
                await asyncio.shield(_go_on(live))
            raise
        await _go_on(live)
        return Frozen(entry, onward, time.monotonic() - began)


async def _go_on(live: Live) -> None:
    if not live.paused:
        await live.monitor.execute("cont")


async def _save(subject: Subject, live: Live, draft: Draft, stopped: float) -> Entry:
    """Everything that makes the machine: devices, memory, files, and what we know of it."""
    main, display = await find_blocks(live.monitor)  # by its answer QEMU has handed on all that was on its way
    await live.receive()
    await save_devices(live.monitor, draft.folder / DEVICES)
    base = live.memory_entry

    def save() -> bool:
        """Files and memory; whether it is the whole memory."""
        _save_files(subject, draft)
        with ProcessMemory.open(live.pid) as memory:
            if display:
                pages.write_content(draft.folder / DISPLAY, memory, display)
            runs = memory.own_runs(main)
            if base is not None and sum(length for _, length in runs) <= pages.CHANGES_LIMIT:
                pages.write_changes(draft.folder / CHANGES, memory, main, runs)
                return False
            pages.write_whole(draft.folder / MEMORY, memory, main, runs, base.folder / MEMORY if base else None)
            return True

    whole = await _to_the_end(save)
    record = Record(
        running=True,
        paused=live.paused,
        frozen_at=stopped,
        memory=main.size,
        memory_entry="" if whole or base is None else base.id,
        points=subject.points,
        known=live.known(draft.folder),
    )
    return await _commit(subject, draft, record)


async def _commit(subject: Subject, draft: Draft, record: Record) -> Entry:
    bases = [Base.of(path) for path in subject.bases]
    return await _to_the_end(lambda: draft.commit(machine=record.model_dump(mode="json"), bases=bases))


async def _to_the_end(work: Callable[[], T]) -> T:
    """Do ``work`` in a thread. Who gives up meanwhile waits for its end: what it writes could not be cleaned up before."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise


async def _change_layers(monitor: Monitor, disks: tuple[Node, ...], onward: tuple[Node, ...]) -> None:
    """All disks at once: what is written from now on goes to the new layers."""
    actions = [
        {
            "type": "blockdev-snapshot-sync",
            "data": {
                "node-name": before.name,
                "snapshot-file": str(after.disk.path),
                "snapshot-node-name": after.name,
                "format": "qcow2",
                "mode": "existing",
            },
        }
        for before, after in zip(disks, onward, strict=True)
        if after is not before
    ]
    if actions:
        await monitor.execute("transaction", {"actions": actions})
