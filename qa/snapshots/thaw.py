"""Thawing: files for a machine that goes on from an entry, and the entry's memory and devices into its QEMU."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from qa.errors import QemuExited, QemuFailed, SnapshotUnusable
from qa.qemu.devices import load_devices
from qa.qemu.memory import ProcessMemory, find_blocks
from qa.qemu.monitor import Monitor
from qa.qemu.spec import Disk
from qa.snapshots import pages
from qa.snapshots.record import CHANGES, DEVICES, DISPLAY, MEMORY, VARIABLES, Record, attached, layer, overlay
from qa.snapshots.store import Entry


@dataclass(frozen=True)
class Thawed:
    """A frozen machine whose files are there again.

    Attributes:
        disks: of the machine that goes on: fresh overlays of its own.
        memory_entry: the entry that holds the whole memory; None for a machine that was off.
    """

    entry: Entry
    record: Record
    disks: tuple[Disk, ...]
    memory_entry: Entry | None

    @property
    def memory_file(self) -> Path | None:
        """What its QEMU maps."""
        return self.memory_entry.folder / MEMORY if self.memory_entry else None

    async def load(self, monitor: Monitor, pid: int) -> None:
        """Fill the memory and the devices of the QEMU that was started for it; afterwards it can run.

        Raises:
            SnapshotUnusable: a file is damaged, or QEMU does not take the state.
        """
        folder = self.entry.folder
        try:
            main, display = await find_blocks(monitor)
            if main.size != self.record.memory:
                raise SnapshotUnusable(f"the frozen machine {self.entry.id} has another size of memory than was asked for")

            def fill() -> None:
                with ProcessMemory.open(pid) as memory:
                    if CHANGES in self.entry.manifest.files:
                        pages.load_changes(folder / CHANGES, memory, main)
                    if display and DISPLAY in self.entry.manifest.files:
                        pages.load_changes(folder / DISPLAY, memory, display)

            await asyncio.to_thread(fill)
            await load_devices(monitor, folder / DEVICES)
        except (QemuFailed, QemuExited) as error:
            raise SnapshotUnusable(
                f"QEMU does not take the frozen machine {self.entry.id}: {error.message}", evidence=error.evidence
            ) from error
        except OSError as error:
            raise SnapshotUnusable(f"the frozen machine {self.entry.id} cannot be read: {error.strerror}") from error


def thaw(entry: Entry, record: Record, disks: tuple[Disk, ...], variables: Path, work: Path) -> Thawed:
    """Lay out in ``work`` what a machine needs that goes on from ``entry``. The caller holds the entry.

    Args:
        disks: of the machine as it would boot; they must be as many and of the same kind.
        variables: where its firmware's variables go.

    Raises:
        SnapshotUnusable: the entry does not fit.
        OSError: there is no space in ``work``.
    """
    files = entry.manifest.files
    made: list[Path] = []
    laid_out = []
    try:
        for number, disk in enumerate(disks):
            name = attached(number) if disk.read_only else overlay(number)
            if name not in files or (not disk.read_only and layer(number) not in files):
                raise SnapshotUnusable(f"the frozen machine {entry.id} has other disks")
            path = entry.folder / name
            if not disk.read_only:
                path = _unused(work / f"{disk.path.name.partition('.')[0]}.{entry.id}.qcow2")
                made.append(path)
                path.write_bytes(_content(entry, name))
            laid_out.append(replace(disk, path=path))
        if VARIABLES in files:
            variables.write_bytes(_content(entry, VARIABLES))
        else:
            variables.unlink(missing_ok=True)
        return Thawed(entry, record, tuple(laid_out), _memory_entry(entry, record))
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def _content(entry: Entry, name: str) -> bytes:
    try:
        return (entry.folder / name).read_bytes()
    except OSError as error:
        raise SnapshotUnusable(f"the frozen machine {entry.id} cannot be read: {error.strerror}") from error


def _memory_entry(entry: Entry, record: Record) -> Entry | None:
    if not record.running:
        return None
    found = _ancestor(entry, record.memory_entry) if record.memory_entry else entry
    if MEMORY not in found.manifest.files:
        raise SnapshotUnusable(f"the memory of the frozen machine {entry.id} is missing")
    try:
        size = (found.folder / MEMORY).stat().st_size
    except OSError as error:
        raise SnapshotUnusable(f"the memory of the frozen machine {entry.id} cannot be read: {error.strerror}") from error
    if size != record.memory:
        raise SnapshotUnusable(f"the memory of the frozen machine {entry.id} is not complete")
    return found


def _ancestor(entry: Entry, name: str) -> Entry:
    found = next((one for one in entry.ancestors if one.id == name), None)
    if found is None:
        raise SnapshotUnusable(f"the frozen machine {entry.id} does not say that it builds on the memory of {name}")
    return found


def _unused(path: Path) -> Path:
    """``path``, or with a number: a machine can go back to the same entry again and again."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_suffix(f".{number}{path.suffix}")
    return candidate
