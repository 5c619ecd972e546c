"""Thawing: the files that are laid out, what does not fit, and what is left when it fails."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_qmp import FakeQmp
from played_qemu import MAIN, PlayedQemu, played_qemu

from qa.errors import SnapshotUnusable
from qa.qemu.memory import PAGE, ProcessMemory
from qa.qemu.monitor import Monitor
from qa.qemu.spec import Disk
from qa.snapshots import pages
from qa.snapshots.record import CHANGES, DEVICES, DISPLAY, MEMORY, VARIABLES, Record
from qa.snapshots.store import Entry, Store
from qa.snapshots.thaw import Thawed, thaw

FILES = {
    "disk0.qcow2": b"layer",
    "disk0.new": b"empty overlay",
    "disk1.attached": b"seed",
    DEVICES: b"devices",
    MEMORY: b"m" * MAIN,
    VARIABLES: b"variables",
}


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", 1 << 40)


def disks(work: Path) -> tuple[Disk, ...]:
    return (Disk(work / "disk0.qcow2", "qcow2", serial="s"), Disk(work / "seed.iso", "raw", read_only=True, bootable=False))


def put(store: Store, files: dict[str, bytes], parents: tuple[Entry, ...] = ()) -> Entry:
    with store.draft("snapshot", parents=[one.id for one in parents]) as draft:
        for name, content in files.items():
            (draft.folder / name).write_bytes(content)
        return draft.commit()


def record(**more: Any) -> Record:
    return Record(**{"running": True, "frozen_at": 1.0, "memory": MAIN, **more})


def left(work: Path) -> list[str]:
    return sorted(path.name for path in work.iterdir())


def test_each_disk_gets_an_overlay_of_its_own_and_seeds_are_read_where_they_are(store: Store, work: Path) -> None:
    entry = put(store, FILES)
    thawed = thaw(entry, record(), disks(work), work / "vars", work)
    disk, seed = thawed.disks
    assert (disk.path, disk.path.read_bytes()) == (work / f"disk0.{entry.id}.qcow2", b"empty overlay")
    assert (disk.serial, disk.read_only) == ("s", False)
    assert (seed.path, seed.read_only) == (entry.folder / "disk1.attached", True)
    assert (work / "vars").read_bytes() == b"variables"
    assert thawed.memory_file == entry.folder / MEMORY


def test_what_is_laid_out_is_writable_and_the_entry_is_not_touched(store: Store, work: Path) -> None:
    entry = put(store, FILES)
    (entry.folder / VARIABLES).chmod(0o400)
    thawed = thaw(entry, record(), disks(work), work / "vars", work)
    for path in (thawed.disks[0].path, work / "vars"):
        assert path.stat().st_mode & 0o200
        assert path.stat().st_nlink == 1
        path.write_bytes(b"changed")
    assert {name: (entry.folder / name).read_bytes() for name in FILES} == FILES


def test_the_same_state_again_and_again_has_other_overlays(store: Store, work: Path) -> None:
    entry = put(store, FILES)
    paths = [thaw(entry, record(), disks(work), work / "vars", work).disks[0].path for _ in range(3)]
    assert [path.name.replace(entry.id, "ID") for path in paths] == ["disk0.ID.qcow2", "disk0.ID.2.qcow2", "disk0.ID.3.qcow2"]


def test_variables_are_those_of_then_also_where_there_were_none(store: Store, work: Path) -> None:
    (work / "vars").write_bytes(b"of later")
    thaw(
        put(store, {name: data for name, data in FILES.items() if name != VARIABLES}), record(), disks(work), work / "vars", work
    )
    assert not (work / "vars").exists()


def test_a_machine_that_was_off_has_no_memory(store: Store, work: Path) -> None:
    thawed = thaw(put(store, FILES), record(running=False), disks(work), work / "vars", work)
    assert (thawed.memory_entry, thawed.memory_file) == (None, None)


@pytest.mark.parametrize("gone", ["disk0.qcow2", "disk0.new", "disk1.attached"])
def test_other_disks(store: Store, work: Path, gone: str) -> None:
    entry = put(store, {name: data for name, data in FILES.items() if name != gone})
    with pytest.raises(SnapshotUnusable, match=f"{entry.id} has other disks"):
        thaw(entry, record(), disks(work), work / "vars", work)
    assert left(work) == []


def test_a_memory_that_is_missing(store: Store, work: Path) -> None:
    entry = put(store, {name: data for name, data in FILES.items() if name != MEMORY})
    with pytest.raises(SnapshotUnusable, match=f"memory of the frozen machine {entry.id} is missing"):
        thaw(entry, record(), disks(work), work / "vars", work)
    assert left(work) in (["vars"], [])


@pytest.mark.parametrize("size", [0, MAIN - PAGE, MAIN + PAGE, None])
def test_a_memory_of_another_size_than_was_recorded(store: Store, work: Path, size: int | None) -> None:
    entry = put(store, FILES)
    if size is None:
        (entry.folder / MEMORY).unlink()
    else:
        os.truncate(entry.folder / MEMORY, size)
    with pytest.raises(
        SnapshotUnusable, match=f"memory of the frozen machine {entry.id} (is not complete|cannot be read: No such)"
    ):
        thaw(entry, record(), disks(work), work / "vars", work)
    assert left(work) in (["vars"], [])


def test_the_memory_of_an_ancestor(store: Store, work: Path) -> None:
    base = put(store, FILES)
    between = put(store, {DEVICES: b""}, (base,))
    entry = put(store, {name: data for name, data in FILES.items() if name != MEMORY}, (between,))
    thawed = thaw(entry, record(memory_entry=base.id), disks(work), work / "vars", work)
    assert thawed.memory_entry == base
    with pytest.raises(SnapshotUnusable, match="does not say that it builds on the memory of 0123456789abcdef"):
        thaw(entry, record(memory_entry="0123456789abcdef"), disks(work), work / "vars", work)
    with pytest.raises(SnapshotUnusable, match="is missing"):
        thaw(entry, record(memory_entry=between.id), disks(work), work / "vars", work)


@pytest.mark.parametrize("name", ["disk0.new", VARIABLES])
def test_a_file_that_cannot_be_read_is_the_entry_s_fault_and_leaves_nothing(
    store: Store, work: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry = put(store, FILES)
    read = Path.read_bytes

    def bad_sector(path: Path) -> bytes:
        if path == entry.folder / name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", bad_sector)
    with pytest.raises(SnapshotUnusable, match="cannot be read: Input/output error"):
        thaw(entry, record(), disks(work), work / "vars", work)
    assert left(work) == []


def test_no_space_is_not_the_entry_s_fault_and_leaves_nothing(store: Store, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store, FILES)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write(path, data[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as caught:
        thaw(entry, record(), disks(work), work / "vars", work)
    assert caught.value.errno == errno.ENOSPC
    assert left(work) == []


# memory and devices into a QEMU


class Load:
    """A thawed state, a played QEMU that begins with its memory, and what it was asked."""

    def __init__(self, thawed: Thawed, qemu: PlayedQemu) -> None:
        self.thawed = thawed
        self.qemu = qemu
        self.asked: list[tuple[str, Any]] = []
        self.status = ["setup", "active", "completed"]
        self.size: int | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["execute"]
        self.asked.append((name, request.get("arguments")))
        if name == "human-monitor-command":
            answer = self.qemu.blocks()
            if self.size is not None:
                answer["return"] = answer["return"].replace(f"{MAIN:016x}", f"{self.size:016x}")
            return answer
        if name == "query-migrate":
            status = self.status.pop(0)
            return {"return": {"status": status} if status else {}}
        return {"return": {}}

    async def load(self) -> None:
        async with FakeQmp(self.answer) as qmp:
            monitor = Monitor("vm", lambda _name, _data: None)
            await monitor.connect(qmp.near)
            try:
                await self.thawed.load(monitor, self.qemu.pid)
            finally:
                await monitor.disconnect()

    def content(self, offset: int, count: int) -> bytes:
        with ProcessMemory.open(self.qemu.pid) as memory:
            return b"".join(bytes(piece) for _, piece in memory.read(self.qemu.main, [(offset, count)]))


@asynccontextmanager
async def loading(store: Store, work: Path, **changed: bytes) -> AsyncGenerator[Load]:
    """A fork of a fork: its base's memory is all ``m``, its second page was changed, and something is on the screen."""
    base = put(store, FILES)
    with played_qemu(base.folder / MEMORY) as source, ProcessMemory.open(source.pid) as memory:
        source.writes(PAGE, b"changed")
        source.writes(0, b"picture", "display")
        pages.write_changes(work / "c", memory, source.main, memory.own_runs(source.main))
        pages.write_content(work / "d", memory, source.display)
    files = {CHANGES: (work / "c").read_bytes(), DISPLAY: (work / "d").read_bytes(), DEVICES: b"devices"} | changed
    entry = put(store, files, (base,))
    thawed = thaw(entry, record(memory_entry=base.id), (), work / "vars", work)
    with played_qemu(thawed.memory_file) as qemu:
        yield Load(thawed, qemu)


async def test_the_memory_is_that_of_then_before_the_devices_come(store: Store, work: Path) -> None:
    async with loading(store, work) as load:
        await load.load()
        assert load.content(PAGE - 1, PAGE + 2) == b"m" + b"changed" + b"m" * (PAGE - 7) + b"m"
        with ProcessMemory.open(load.qemu.pid) as memory:
            assert [bytes(piece) for _, piece in memory.read(load.qemu.display, [(0, 7)])] == [b"picture"]
        assert [name for name, _ in load.asked] == ["human-monitor-command", "migrate-incoming"] + ["query-migrate"] * 3
        (channel,) = load.asked[1][1]["channels"]
        assert channel["addr"]["filename"] == str(load.thawed.entry.folder / DEVICES)


@pytest.mark.parametrize("status", ["failed", "none-such"])
async def test_a_state_that_qemu_does_not_take(store: Store, work: Path, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    from qa.deadline import Deadline

    if status != "failed":
        monkeypatch.setattr(Deadline, "expired", True)
    async with loading(store, work) as load:
        load.status = ["active" if status == "failed" else status, status]
        with pytest.raises(SnapshotUnusable, match=r"does not take the frozen machine .* \((failed|none-such)\)"):
            await load.load()


async def test_an_answer_without_a_status_is_waited_on(store: Store, work: Path) -> None:
    async with loading(store, work) as load:
        load.status = ["", "", "completed"]
        await load.load()


async def test_a_qemu_with_another_size_of_memory(store: Store, work: Path) -> None:
    async with loading(store, work) as load:
        load.size = 2 * MAIN
        with pytest.raises(SnapshotUnusable, match="another size of memory than was asked for"):
            await load.load()
        assert [name for name, _ in load.asked] == ["human-monitor-command"]


@pytest.mark.parametrize("name", [CHANGES, DISPLAY])
async def test_changes_that_are_damaged_load_nothing(store: Store, work: Path, name: str) -> None:
    async with loading(store, work, **{name: b"QAPAGES1 is not enough"}) as load:
        with pytest.raises(SnapshotUnusable):
            await load.load()
        assert "migrate-incoming" not in [name for name, _ in load.asked]


async def test_changes_that_cannot_be_read(store: Store, work: Path) -> None:
    async with loading(store, work) as load:
        (load.thawed.entry.folder / CHANGES).unlink()
        with pytest.raises(SnapshotUnusable, match="cannot be read: No such file"):
            await load.load()


async def test_a_qemu_that_dies_while_it_loads(store: Store, work: Path) -> None:
    async with loading(store, work) as load:
        load.qemu.dies()
        with pytest.raises(SnapshotUnusable, match="does not take the frozen machine"):
            await load.load()
