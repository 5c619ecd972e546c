"""Freezing: a machine's memory, devices, disks and firmware variables into an entry of the store, while the machine goes on.

The order matters. Everything that takes long and changes nothing comes before the machine is stopped. The disks change hands
last: until then a failure leaves the machine as it was.
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
from typing import Any

from qa.errors import QaError
from qa.images.overlay import create_next_layer, overlay_size
from qa.qemu.devices import save_devices
from qa.qemu.memory import ProcessMemory, find_blocks
from qa.qemu.monitor import Monitor
from qa.qemu.spec import Disk
from qa.snapshots import pages
from qa.snapshots.record import CHANGES, DEVICES, DISPLAY, MEMORY, VARIABLES, Record, attached, layer, overlay
from qa.snapshots.store import Base, Draft, Entry


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
        live: None for a machine that is off.
    """

    disks: tuple[Node, ...]
    variables: Path
    work: Path
    memory: int
    bases: tuple[Path, ...]
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
        NoSpace, OSError: the file system of the store is full, or not writable.
        QemuFailed: QEMU could not do its part, or its memory cannot be read.
        QemuExited: QEMU is gone.
    """
    onward = [await _next_layer(number, node, subject.work, draft) for number, node in enumerate(subject.disks)]
    try:
        if subject.live is None:
            _copy_variables(subject, draft)
            record = Record(running=False, frozen_at=time.time(), memory=subject.memory)
            return Frozen(await _commit(subject, draft, record), tuple(onward), 0.0)
        return await _freeze_live(subject, subject.live, draft, tuple(onward))
    except BaseException:
        for before, after in zip(subject.disks, onward, strict=True):
            if after is not before:
                after.disk.path.unlink(missing_ok=True)
        raise


async def _next_layer(number: int, node: Node, work: Path, draft: Draft) -> Node:
    """Put a disk's present layer into the draft, and prepare the layer that is to follow it."""
    disk = node.disk
    if disk.read_only:
        _link_or_copy(disk.path, draft.folder / attached(number))
        return node
    _link_or_copy(disk.path, draft.folder / layer(number))
    prepared = draft.folder / overlay(number)
    await create_next_layer(prepared, below=draft.final / layer(number), size=overlay_size(disk.path))
    path = work / f"{disk.path.name.partition('.')[0]}.{draft.id}.qcow2"
    shutil.copyfile(prepared, path)
    return Node(replace(disk, path=path), f"disk{number}-{draft.id}")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # the store is on another file system
        shutil.copyfile(source, target)


def _copy_variables(subject: Subject, draft: Draft) -> None:
    if subject.variables.exists():
        shutil.copyfile(subject.variables, draft.folder / VARIABLES)


async def _freeze_live(subject: Subject, live: Live, draft: Draft, onward: tuple[Node, ...]) -> Frozen:
    async with live.quiet():
        if not live.paused:
            await live.monitor.execute("stop")
        stopped, began = time.time(), time.monotonic()
        try:
            entry = await _save(subject, live, draft, stopped)
            try:
                await _change_layers(live.monitor, subject.disks, onward)
            except BaseException:
                await asyncio.to_thread(draft.store.discard, entry)
                raise
        except BaseException:
            with suppress(QaError):  # the reason is told by what is being raised
                await _go_on(live)
            raise
        await _go_on(live)
        return Frozen(entry, onward, time.monotonic() - began)


async def _go_on(live: Live) -> None:
    if not live.paused:
        await live.monitor.execute("cont")


async def _save(subject: Subject, live: Live, draft: Draft, stopped: float) -> Entry:
    """Everything but the disks, which have their place already."""
    main, display = await find_blocks(live.monitor)  # by its answer QEMU has handed on all that was on its way
    await live.receive()
    await save_devices(live.monitor, draft.folder / DEVICES)
    _copy_variables(subject, draft)
    base = live.memory_entry

    def save_memory() -> bool:
        """Whether it is the whole memory."""
        with ProcessMemory.open(live.pid) as memory:
            if display:
                pages.write_content(draft.folder / DISPLAY, memory, display)
            runs = memory.own_runs(main)
            if base is not None and sum(length for _, length in runs) <= pages.CHANGES_LIMIT:
                pages.write_changes(draft.folder / CHANGES, memory, main, runs)
                return False
            pages.write_whole(draft.folder / MEMORY, memory, main, runs, base.folder / MEMORY if base else None)
            return True

    whole = await asyncio.to_thread(save_memory)
    record = Record(
        running=True,
        paused=live.paused,
        frozen_at=stopped,
        memory=main.size,
        memory_entry="" if whole or base is None else base.id,
        known=live.known(draft.folder),
    )
    return await _commit(subject, draft, record)


async def _commit(subject: Subject, draft: Draft, record: Record) -> Entry:
    bases = [Base.of(path) for path in subject.bases]
    return await asyncio.to_thread(draft.commit, machine=record.model_dump(mode="json"), bases=bases)


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
