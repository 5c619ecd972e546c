"""Freezing a machine: in which order, what is kept, and what is left when anything fails or somebody gives up."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from fake_qmp import FakeQmp
from frozen import names
from played_qemu import MAIN, PlayedQemu, played_qemu

from qa.errors import ImageError, NoSpace, QemuExited, QemuFailed, SnapshotError
from qa.images.overlay import overlay_size
from qa.qemu.memory import PAGE, ProcessMemory
from qa.qemu.monitor import Monitor
from qa.qemu.spec import Disk
from qa.snapshots import freeze as freezing
from qa.snapshots import pages
from qa.snapshots.freeze import Frozen, Live, Node, Subject, freeze
from qa.snapshots.record import CHANGES, DEVICES, DISPLAY, MEMORY, VARIABLES, read_record
from qa.snapshots.store import Draft, Entry, Store

COMMANDS = ["stop", "human-monitor-command", "xen-save-devices-state", "transaction", "cont"]


def qcow2(size: int, content: bytes = b"") -> bytes:
    return b"QFI\xfb" + b"\0" * 20 + size.to_bytes(8, "big") + content


async def played_layer(path: Path, *, below: Path, size: int) -> None:
    path.write_bytes(qcow2(size, b"on " + os.fsencode(below)))


class Scene:
    """A machine with two disks and a seed in a played QEMU, which answers as it was told, and what was done to it in order."""

    def __init__(self, folder: Path, qemu: PlayedQemu) -> None:
        self.work = folder / "work"
        self.work.mkdir()
        self.store = Store(folder / "store", 1 << 40)
        self.qemu = qemu
        self.done: list[str] = []
        self.arguments: dict[str, Any] = {}
        self.answers: dict[str, Callable[[], dict[str, Any] | None]] = {}
        self.memory_entry: Entry | None = None
        self.paused = False
        self.known: Callable[[Path], dict[str, Any]] = lambda _: {"who": "me"}
        for name, content in {"disk0.qcow2": qcow2(111), "disk1.qcow2": qcow2(222), "seed.iso": b"seed", "vars": b"vars"}.items():
            (self.work / name).write_bytes(content)
        disks = [Disk(self.work / "disk0.qcow2", "qcow2"), Disk(self.work / "disk1.qcow2", "qcow2", serial="x")]
        seed = Disk(self.work / "seed.iso", "raw", read_only=True)
        self.disks = tuple(Node(disk, f"disk{number}") for number, disk in enumerate([*disks, seed]))

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        name, arguments = request["execute"], request.get("arguments", {})
        self.done.append(name)
        self.arguments[name] = arguments
        if name in self.answers:
            return self.answers[name]()
        if name == "human-monitor-command":
            return self.qemu.blocks()
        if name == "xen-save-devices-state":
            Path(arguments["filename"]).write_bytes(b"devices")
        return {"return": {}}

    @asynccontextmanager
    async def quiet(self) -> AsyncGenerator[None]:
        self.done.append("quiet")
        try:
            yield
        finally:
            self.done.append("loud")

    async def receive(self) -> None:
        self.done.append("receive")

    async def freeze(self, *, on: bool = True, parents: tuple[Entry, ...] = ()) -> Frozen:
        async with FakeQmp(self.answer) as self.qmp:
            monitor = Monitor("vm", lambda _name, _data: None)
            await monitor.connect(self.qmp.near)
            live = Live(
                monitor,
                self.qemu.pid,
                self.paused,
                self.memory_entry,
                self.quiet,
                self.receive,
                self.known,
            )
            try:
                with self.store.draft("template", key="k", parents=[one.id for one in parents]) as draft:
                    return await freeze(self.subject(live if on else None), draft)
            finally:
                await monitor.disconnect()

    def subject(self, live: Live | None) -> Subject:
        return Subject(self.disks, self.work / "vars", self.work, MAIN, (), {}, live)

    @property
    def is_as_before(self) -> bool:
        """Nothing is left of a freeze."""
        files = sorted(path.name for path in self.work.iterdir())
        return names(self.store) == [] and files == ["disk0.qcow2", "disk1.qcow2", "seed.iso", "vars"]


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(freezing, "create_next_layer", played_layer)
    with played_qemu() as qemu:
        qemu.writes(3 * PAGE, b"guest")
        qemu.writes(5 * PAGE, b"pixel", "display")
        yield Scene(tmp_path, qemu)


def memory_of(entry: Entry) -> bytes:
    return (entry.folder / MEMORY).read_bytes()


async def test_the_order(scene: Scene) -> None:
    scene.known = lambda _: {"done before": list(scene.done)}
    frozen = await scene.freeze()
    assert scene.done == [
        "quiet", "stop", "human-monitor-command", "receive", "xen-save-devices-state", "transaction", "cont", "loud",
    ]  # fmt: skip
    assert read_record(frozen.entry).known["done before"] == scene.done[:5]
    assert scene.arguments["xen-save-devices-state"]["live"] is False
    assert 0 < frozen.pause_s < 60


async def test_what_is_kept(scene: Scene) -> None:
    frozen = await scene.freeze()
    entry = frozen.entry
    assert sorted(entry.manifest.files) == sorted(
        [DEVICES, MEMORY, DISPLAY, VARIABLES, "disk0.qcow2", "disk0.new", "disk1.qcow2", "disk1.new", "disk2.attached"]
    )
    assert memory_of(entry) == b"\0" * 3 * PAGE + b"guest" + b"\0" * (MAIN - 3 * PAGE - 5)
    assert (entry.folder / DEVICES).read_bytes() == b"devices"
    assert (entry.folder / VARIABLES).read_bytes() == b"vars"
    assert (entry.folder / "disk2.attached").read_bytes() == b"seed"
    assert (entry.folder / "disk1.qcow2").read_bytes() == qcow2(222)
    assert (entry.folder / "disk1.new").read_bytes() == qcow2(222, b"on " + os.fsencode(entry.folder / "disk1.qcow2"))
    record = read_record(entry)
    assert (record.running, record.paused, record.memory, record.memory_entry) == (True, False, MAIN, "")
    assert record.known == {"who": "me"}


async def test_the_display_s_memory_comes_back(scene: Scene) -> None:
    entry = (await scene.freeze()).entry
    with played_qemu() as other, ProcessMemory.open(other.pid) as memory:
        pages.load_changes(entry.folder / DISPLAY, memory, other.display)
        assert [bytes(piece) for _, piece in memory.read(other.display, [(5 * PAGE, 5)])] == [b"pixel"]


async def test_what_the_floors_above_write_is_part_of_it(scene: Scene) -> None:
    def known(folder: Path) -> dict[str, Any]:
        (folder / "console").write_bytes(b"hello")
        return {}

    scene.known = known
    assert (await scene.freeze()).entry.has("console")


async def test_all_disks_go_on_with_new_layers_at_once(scene: Scene) -> None:
    frozen = await scene.freeze()
    first, second, seed = frozen.disks
    actions = [action["data"] for action in scene.arguments["transaction"]["actions"]]
    assert [(one["node-name"], one["snapshot-node-name"], one["snapshot-file"]) for one in actions] == [
        ("disk0", first.name, str(first.disk.path)),
        ("disk1", second.name, str(second.disk.path)),
    ]
    assert {(one["format"], one["mode"]) for one in actions} == {("qcow2", "existing")}
    assert seed is scene.disks[2]
    assert second.disk.serial == "x"
    assert first.disk.path.read_bytes() == (frozen.entry.folder / "disk0.new").read_bytes()
    assert overlay_size(second.disk.path) == 222


async def test_a_machine_without_disks_changes_none(scene: Scene) -> None:
    scene.disks = ()
    await scene.freeze()
    assert "transaction" not in scene.done


async def test_a_machine_without_firmware_variables(scene: Scene) -> None:
    (scene.work / "vars").unlink()
    assert not (await scene.freeze()).entry.has(VARIABLES)


async def test_a_fork_keeps_what_it_changed_only(scene: Scene) -> None:
    base = (await scene.freeze()).entry
    with played_qemu(base.folder / MEMORY) as fork:
        fork.writes(7 * PAGE, b"fork")
        scene.qemu, scene.memory_entry = fork, base
        entry = (await scene.freeze(parents=(base,))).entry
    assert (entry.has(MEMORY), entry.has(CHANGES), read_record(entry).memory_entry) == (False, True, base.id)
    assert (entry.folder / CHANGES).stat().st_size < 2 * PAGE


@pytest.mark.parametrize("limit", [2 * PAGE, 2 * PAGE - 1])
async def test_a_fork_that_changed_much_gets_a_whole_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(pages, "CHANGES_LIMIT", limit)
    base = (await scene.freeze()).entry
    with played_qemu(base.folder / MEMORY) as fork:
        fork.writes(3 * PAGE, b"\0" * PAGE)  # zeros over what there was
        fork.writes(7 * PAGE, b"fork")
        scene.qemu, scene.memory_entry = fork, base
        entry = (await scene.freeze(parents=(base,))).entry
    assert entry.has(CHANGES) == (limit == 2 * PAGE)
    if entry.has(MEMORY):
        assert memory_of(entry) == b"\0" * 7 * PAGE + b"fork" + b"\0" * (MAIN - 7 * PAGE - 4)
        assert read_record(entry).memory_entry == ""
    assert memory_of(base)[3 * PAGE :][:5] == b"guest"


async def test_a_paused_machine_stays_paused(scene: Scene) -> None:
    scene.paused = True
    frozen = await scene.freeze()
    assert not {"stop", "cont"} & {*scene.done}
    assert read_record(frozen.entry).paused


async def test_a_machine_that_is_off(scene: Scene) -> None:
    frozen = await scene.freeze(on=False)
    assert scene.done == []
    assert not read_record(frozen.entry).running
    assert (frozen.entry.folder / "disk0.qcow2").read_bytes() == qcow2(111)
    assert (frozen.entry.folder / VARIABLES).read_bytes() == b"vars"
    assert not frozen.entry.has(MEMORY)
    assert frozen.pause_s == 0.0
    assert frozen.disks[0].disk.path != scene.disks[0].disk.path


async def test_a_store_elsewhere_gets_the_disk_as_it_was_when_the_machine_stood_still(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def stop() -> dict[str, Any]:
        (scene.work / "disk0.qcow2").write_bytes(qcow2(111, b"the last that was written"))
        return {"return": {}}

    monkeypatch.setattr(os, "link", no_links)
    scene.answers["stop"] = stop
    entry = (await scene.freeze()).entry
    (scene.work / "disk0.qcow2").write_bytes(b"afterwards")
    assert (entry.folder / "disk0.qcow2").read_bytes() == qcow2(111, b"the last that was written")


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_that_qemu_refuses(scene: Scene, command: str) -> None:
    scene.answers[command] = lambda: {"error": {"class": "GenericError", "desc": "no"}}
    with pytest.raises(QemuFailed, match=f"refused {command}"):
        await scene.freeze()
    assert scene.done[-2:] == ["cont", "loud"]
    assert scene.is_as_before


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_qemu_that_dies(scene: Scene, command: str) -> None:
    def die() -> None:
        scene.qmp.die()

    scene.answers[command] = die
    with pytest.raises(QemuExited):
        await scene.freeze()
    assert scene.done[-1] == "loud"
    assert scene.is_as_before


@pytest.mark.parametrize("command", COMMANDS)
async def test_who_gives_up_leaves_the_machine_running_and_nothing_behind(scene: Scene, command: str) -> None:
    came = asyncio.Event()

    def never() -> dict[str, Any] | None:
        if came.is_set():
            return {"return": {}}
        came.set()
        return None

    scene.answers[command] = never
    waiting = asyncio.create_task(scene.freeze())
    await came.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert scene.done[-2:] == ["cont", "loud"]
    assert scene.is_as_before


async def test_who_gives_up_twice_leaves_the_machine_running(scene: Scene) -> None:
    came, again = asyncio.Event(), asyncio.Event()
    scene.answers["transaction"] = came.set
    scene.answers["cont"] = again.set
    waiting = asyncio.create_task(scene.freeze())
    await came.wait()
    waiting.cancel()
    await again.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert scene.done.count("cont") == 1
    assert scene.is_as_before


@pytest.mark.parametrize("paused", [False, True])
async def test_a_paused_machine_stays_so_when_its_freeze_fails(scene: Scene, paused: bool) -> None:
    scene.paused = paused
    scene.answers["transaction"] = lambda: {"error": {"class": "GenericError", "desc": "no"}}
    with pytest.raises(QemuFailed):
        await scene.freeze()
    assert ("cont" in scene.done) is not paused


@pytest.mark.parametrize("where", ["_save_files", "pages.write_content", "pages.write_whole"])
@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (errno.ENOSPC, NoSpace, "no space is left for frozen machines"),
        (errno.EDQUOT, NoSpace, "no space is left for frozen machines"),
        (errno.EFBIG, SnapshotError, "cannot be used: File too large"),
        (errno.EIO, SnapshotError, "cannot be used: Input/output error"),
    ],
)
async def test_a_file_system_that_takes_no_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, where: str, number: int, error: type[Exception], text: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"qa.snapshots.freeze.{where}", fail)
    with pytest.raises(error, match=text):
        await scene.freeze()
    assert scene.done[-2:] == ["cont", "loud"]
    assert scene.is_as_before


async def test_a_layer_that_cannot_be_made_leaves_not_even_the_one_before_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def second_fails(path: Path, *, below: Path, size: int) -> None:
        if size == 222:
            raise ImageError("qemu-img refused")
        await played_layer(path, below=below, size=size)

    monkeypatch.setattr(freezing, "create_next_layer", second_fails)
    with pytest.raises(ImageError):
        await scene.freeze()
    assert scene.done == []
    assert scene.is_as_before


async def test_a_machine_of_which_nothing_is_known(scene: Scene) -> None:
    def known(_: Path) -> dict[str, Any]:
        raise QemuFailed("it is gone")

    scene.known = known
    with pytest.raises(QemuFailed, match="it is gone"):
        await scene.freeze()
    assert scene.done[-2:] == ["cont", "loud"]
    assert scene.is_as_before


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("where", ["saving", "committing"])
async def test_who_gives_up_waits_for_the_thread_that_writes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, where: str, on: bool
) -> None:
    """Else what it writes would come after the clean-up: an entry in the store whose disk is still written to."""
    began, go = threading.Event(), threading.Event()
    save, commit = freezing._save_files, Draft.commit

    def slow_save(*arguments: Any) -> None:
        if where == "saving":
            began.set()
            go.wait(20)
        save(*arguments)

    def slow_commit(draft: Draft, **more: Any) -> Entry:
        if where == "committing":
            began.set()
            go.wait(20)
        return commit(draft, **more)

    monkeypatch.setattr(freezing, "_save_files", slow_save)
    monkeypatch.setattr(Draft, "commit", slow_commit)
    waiting = asyncio.create_task(scene.freeze(on=on))
    await asyncio.to_thread(began.wait, 20)
    waiting.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert scene.done[-2:] == (["cont", "loud"] if on else [])
    assert scene.is_as_before


async def test_nobody_finds_an_entry_whose_disks_did_not_change_hands(scene: Scene) -> None:
    found: list[Any] = []

    def refuse() -> dict[str, Any]:
        found.append(scene.store.find("template", "k"))
        return {"error": {"class": "GenericError", "desc": "no"}}

    scene.answers["transaction"] = refuse
    with suppress(QemuFailed):
        await scene.freeze()
    assert found[0] is not None  # from here on it would survive our own death: QEMU dies with us, and its disks stand still
    assert scene.store.find("template", "k") is None


async def test_the_record_is_readable_json(scene: Scene) -> None:
    entry = (await scene.freeze()).entry
    assert json.loads((entry.folder / "manifest.json").read_text())["machine"]["memory"] == MAIN
