"""From a blueprint to a machine that is ready: templates that work, that do not, that cannot be kept, and starts at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from frozen import change
from plans import blueprint, host, place

from qa.errors import (
    BootFailed,
    CheckFailed,
    DeadlineExceeded,
    GuestStalled,
    ImageError,
    Interrupted,
    MachineOff,
    NoSpace,
    QaError,
    QemuExited,
    QemuFailed,
    SnapshotError,
    SnapshotUnusable,
)
from qa.events import Bus, Notice
from qa.machine import MachineSetup
from qa.machine.known import Kept, Known
from qa.operations.blueprint import Blueprint
from qa.operations.options import LoginOptions, MachineOptions
from qa.operations.starting import Starter
from qa.snapshots.record import Record
from qa.snapshots.store import Base, Entry, Kind, Store


@dataclass
class World:
    """All machines of a test, and what happens to them: a name of a verb to what it raises or does."""

    folder: Path
    machines: list[PlayedMachine] = field(default_factory=list)
    happens: dict[str, Callable[[], Any]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    store: Store = field(init=False)
    host: Any = field(init=False)

    def __post_init__(self) -> None:
        self.host = host(self.folder)
        self.store = self.host.store

    def starter(self, plan: Blueprint | None = None) -> Starter:
        bus = Bus()
        bus.subscribe(lambda event: self.told.append(event.message) if isinstance(event, Notice) else None)
        work = self.folder / f"work{len(list(self.folder.glob('work*')))}"
        work.mkdir()
        return Starter(self.host, plan or blueprint(self.folder), place(self.folder), work, bus)

    @property
    def did(self) -> list[list[str]]:
        return [machine.did for machine in self.machines]


class PlayedMachine:
    """Does what `Starter` asks of a machine, and notes it."""

    def __init__(self, world: World, setup: MachineSetup) -> None:
        world.machines.append(self)
        self._world = world
        self.setup = setup
        self.name = setup.name
        self.did: list[str] = []

    async def _do(self, what: str) -> None:
        self.did.append(what)
        if what in self._world.happens and asyncio.iscoroutine(waiting := self._world.happens[what]()):
            await waiting

    async def boot(self, limit: float) -> None:
        assert list(self.setup.work.iterdir()) == []
        await self._do("boot")

    async def begin_from(self, entry: Entry, start: str) -> None:
        (self.setup.work / "vm-vars.fd").write_bytes(b"of the template")
        self._world.folder.joinpath("console.log").write_bytes(b"of the template")
        await self._do(f"begin {start}")

    async def freeze(self, kind: Kind, *, key: str, title: str) -> Kept:
        await self._do("freeze")
        with self._world.store.draft(kind, key=key, title=title) as draft:
            known = Known(
                name=self.name, made_of=dict(self.setup.made_of), recent=0, shell={}, booted=True, channel="shell", ssh=None
            )
            record = Record(running=True, frozen_at=1.0, memory=1, known=known.model_dump(mode="json"))
            (draft.folder / "devices").write_bytes(b"devices")
            bases = [Base.of(path) for path in self.setup.bases]
            entry = draft.commit(machine=record.model_dump(mode="json"), bases=bases)
            return Kept(entry, entry.hold())

    async def share(self, kept: Kept) -> None:
        del kept
        await self._do("share")

    def check_alive(self) -> None:
        if "check_alive" in self._world.happens:
            self._world.happens["check_alive"]()

    async def destroy(self) -> None:
        self.did.append("destroy")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)

    async def make_disks(*_: object) -> None:
        pass

    monkeypatch.setattr("qa.operations.starting.Machine", lambda setup, _bus: PlayedMachine(world, setup))
    monkeypatch.setattr(Blueprint, "make_disks", make_disks)
    return world


def raises(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


async def test_a_cold_start_boots_and_keeps_nothing(world: World) -> None:
    machine = await world.starter().start(warm=False)
    assert world.did == [["boot"]]
    assert machine is world.machines[0]
    assert world.store.entries() == []


async def test_a_machine_without_a_way_in_begins_at_its_beginning_and_says_nothing(world: World) -> None:
    plan = blueprint(world.folder, options=MachineOptions(channel="none", boot_menu="5s"))
    await world.starter(plan).start(warm=True)
    assert (world.did, world.store.entries(), world.told) == ([["boot"]], [], [])
    assert (world.machines[0].setup.channel, world.machines[0].setup.boot_menu) == ("none", 5.0)


async def test_a_qemu_that_cannot_go_on_from_a_state_boots_and_says_so(world: World) -> None:
    plan = blueprint(world.folder)
    old = replace(plan, qemu=replace(plan.qemu, version=(7, 2, 9), features=frozenset()))
    await world.starter(old).start(warm=True)
    assert (world.did, world.store.entries()) == ([["boot"]], [])
    assert world.told == ["vm boots: QEMU 7.2.9 cannot go on from a frozen state, 8.2 and newer can"]


async def test_the_first_warm_start_boots_and_keeps_and_the_next_one_takes_it(world: World) -> None:
    await world.starter().start(warm=True)
    (entry,) = world.store.entries()
    assert isinstance(entry, Entry)
    assert (entry.manifest.kind, entry.manifest.key) == ("template", blueprint(world.folder).key)
    await world.starter().start(warm=True)
    assert world.did == [["boot", "freeze", "share"], ["begin warm"]]
    assert [text.partition(" (")[0] for text in world.told] == ["the ready state of vm is kept"]
    assert world.store.remove(entry.id)  # nobody holds it: the lease was released


async def test_another_machine_boots_and_says_what_changed(world: World) -> None:
    await world.starter().start(warm=True)
    plan = blueprint(world.folder)
    await world.starter(replace(plan, qemu=replace(plan.qemu, version=(11, 0, 0)))).start(warm=True)
    assert world.did == [["boot", "freeze", "share"], ["boot", "freeze", "share"]]
    assert "the template of vm does not fit any more, so it boots: QEMU changed" in world.told


async def test_why_a_template_cannot_be_used_is_told_once_also_where_it_has_to_stay(world: World) -> None:
    await world.starter().start(warm=True)
    (entry,) = world.store.entries()
    with world.store.draft("failure", parents=[entry.id]) as draft:
        draft.commit()
    (entry.folder / "devices").unlink()
    await world.starter().start(warm=True)
    (said,) = [one for one in world.told if "is kept" not in one]
    assert said.startswith("the template of vm cannot be used now, and it boots: ")


def of_file(world: World, folder: str, identity: str) -> Blueprint:
    """A machine whose image is given by its path."""
    path = world.folder / folder / "my.qcow2"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(identity.encode())
    plan = blueprint(world.folder)
    return replace(plan, image=replace(plan.image, reference="./my.qcow2", path=path, identity=identity))


async def test_the_template_of_an_image_that_changed_is_thrown_away(world: World) -> None:
    await world.starter(of_file(world, "a", "first")).start(warm=True)
    (old,) = world.store.entries()
    await world.starter(of_file(world, "a", "the second")).start(warm=True)
    (new,) = world.store.entries()
    assert new.id != old.id
    path = world.folder / "a" / "my.qcow2"
    said = f"the frozen machine {old.id} cannot be used: {path}, which its disks build on, has changed since"
    assert [one for one in world.told if "is kept" not in one] == [f"the template of vm is thrown away, and it boots: {said}"]


async def test_a_template_of_another_file_of_that_name_is_none_of_this_machine(world: World) -> None:
    await world.starter(of_file(world, "a", "of a")).start(warm=True)
    of_file(world, "a", "of a, changed")
    await world.starter(of_file(world, "b", "of b")).start(warm=True)
    assert [one for one in world.told if "is kept" not in one] == []
    assert len(world.store.entries()) == 2


async def test_a_template_of_another_version_does_not_fit(world: World) -> None:
    plan = blueprint(world.folder)
    with world.store.draft("template", key="of then", title=plan.title) as draft:
        draft.commit(machine={"written": "otherwise"})
    await world.starter().start(warm=True)
    assert "the template of vm does not fit any more, so it boots: anima-qa changed" in world.told


async def test_the_machine_is_what_the_blueprint_says(world: World) -> None:
    options = MachineOptions(
        cpus=3,
        network="restricted",
        forward=(80,),
        channel="serial",
        login=LoginOptions(user="me", password="x"),
        identity="renew",
    )
    await world.starter(blueprint(world.folder, options=options, cloud_init={"a": 1})).start(warm=False)
    setup = world.machines[0].setup
    assert (setup.cpus, setup.memory, setup.network, setup.forward) == (3, 512 << 20, "restricted", (80,))
    assert (setup.channel, setup.login and setup.login.user, setup.login and setup.login.password) == ("serial", "me", "x")
    assert (setup.renew_identity, setup.has_cloud_init_part, setup.accel, setup.accel_reason) == (True, True, "tcg", "asked for")
    assert setup.factor == world.host.config.tcg_factor != 1.0
    assert [disk.path.parent for disk in setup.disks] == [setup.work] * 2
    await world.starter().start(warm=False)
    assert not world.machines[1].setup.renew_identity


@pytest.mark.parametrize(
    "error",
    [
        SnapshotUnusable("it is damaged"),
        QemuFailed("it is damaged"),
        QemuExited("it is damaged"),
        BootFailed("it is damaged"),
        DeadlineExceeded("it is damaged"),
        SnapshotError("it is damaged"),
    ],
)
async def test_a_template_that_does_not_work_is_thrown_away_and_made_anew(world: World, error: QaError) -> None:
    await world.starter().start(warm=True)
    (before,) = world.store.entries()
    world.happens["begin warm"] = raises(error)
    await world.starter().start(warm=True)
    assert world.did[1:] == [["begin warm", "destroy"], ["boot", "freeze", "share"]]
    assert "the template of vm is thrown away, and it boots: it is damaged" in world.told
    (after,) = world.store.entries()
    assert after.id != before.id
    assert not (world.folder / "console.log").exists()  # the log begins with the machine that boots


async def test_a_template_that_is_in_use_elsewhere_stays_and_the_machine_boots(world: World) -> None:
    await world.starter().start(warm=True)
    (entry,) = world.store.entries()
    assert isinstance(entry, Entry)
    world.happens["begin warm"] = raises(QemuFailed("no"))
    with entry.hold():
        await world.starter().start(warm=True)
    assert "the template of vm cannot be used now, and it boots: no" in world.told
    assert world.store.get(entry.id)


async def test_a_template_whose_record_was_changed_is_thrown_away(world: World) -> None:
    await world.starter().start(warm=True)
    (entry,) = world.store.entries()
    change(entry.folder / "manifest.json", b'"channel"', b'"chanMel"')
    await world.starter().start(warm=True)
    assert world.did[1:] == [["boot", "freeze", "share"]]
    assert any(text.startswith("the template of vm is thrown away, and it boots:") for text in world.told)
    assert [one.id for one in world.store.entries()] != [entry.id]


async def test_a_guest_that_takes_no_identity_is_no_fault_of_the_template(world: World) -> None:
    await world.starter().start(warm=True)
    world.happens["begin warm"] = raises(CheckFailed("no identity"))
    with pytest.raises(CheckFailed):
        await world.starter().start(warm=True)
    assert world.did[1:] == [["begin warm", "destroy"]]
    assert len(world.store.entries()) == 1


@pytest.mark.parametrize(
    "error",
    [
        NoSpace("full"),
        SnapshotError("full"),
        QemuFailed("full"),
        ImageError("full"),
        DeadlineExceeded("full"),
        MachineOff("full"),
    ],
)
async def test_a_machine_that_cannot_be_kept_goes_on(world: World, error: QaError) -> None:
    world.happens["freeze"] = raises(error)
    machine = await world.starter().start(warm=True)
    assert world.did == [["boot", "freeze"]]
    assert machine is world.machines[0]
    assert world.told == ["the ready state of vm cannot be kept for later starts: full"]
    assert world.store.entries() == []


async def test_a_machine_that_died_of_it_is_gone(world: World) -> None:
    world.happens["freeze"] = raises(QemuFailed("no"))
    world.happens["check_alive"] = raises(QemuExited("it is dead"))
    with pytest.raises(QemuExited, match="it is dead"):
        await world.starter().start(warm=True)
    assert world.did == [["boot", "freeze", "destroy"]]


@pytest.mark.parametrize("error", [SnapshotUnusable("no"), QemuFailed("no"), DeadlineExceeded("no")])
async def test_a_machine_that_does_not_go_on_from_its_new_template_boots_again(world: World, error: QaError) -> None:
    world.happens["share"] = raises(error)
    await world.starter().start(warm=True)
    assert world.did == [["boot", "freeze", "share", "destroy"], ["boot"]]
    assert world.store.entries() == []
    assert "the template of vm is thrown away, and it boots: no" in world.told


@pytest.mark.parametrize("error", [Interrupted("stop"), asyncio.CancelledError(), ZeroDivisionError()])
@pytest.mark.parametrize("when", ["boot", "freeze", "share", "begin warm"])
async def test_who_stops_it_leaves_no_machine(world: World, error: BaseException, when: str) -> None:
    if when == "begin warm":
        await world.starter().start(warm=True)
    world.happens[when] = raises(error)
    with pytest.raises(type(error)):
        await world.starter().start(warm=True)
    assert world.did[-1][-2:] == [when, "destroy"]


async def test_a_guest_that_does_not_come_up(world: World) -> None:
    world.happens["boot"] = raises(BootFailed("no"))
    with pytest.raises(BootFailed):
        await world.starter().start(warm=True)
    assert world.did == [["boot", "destroy"]]
    with pytest.raises(BootFailed):  # nobody is waited for any more
        await world.starter().start(warm=True)
    assert len(world.told) == 0


async def test_a_guest_that_the_emulation_stalled_boots_once_more(world: World) -> None:
    world.happens["boot"] = raises(GuestStalled("it stands still"))
    with pytest.raises(GuestStalled):
        await world.starter().start(warm=False)
    assert world.did == [["boot", "destroy"], ["boot", "destroy"]]
    assert world.told == ["vm boots once more: it stands still"]


async def test_two_starts_at_once_boot_once(world: World) -> None:
    booting, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        booting.set()
        await go.wait()

    world.happens["boot"] = slowly
    first = asyncio.create_task(world.starter().start(warm=True))
    await booting.wait()
    second = asyncio.create_task(world.starter().start(warm=True))
    while not any("waits" in text for text in world.told):  # noqa: ASYNC110 -- a notice is an event of another kind
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, second)
    assert world.did == [["boot", "freeze", "share"], ["begin warm"]]
    assert sum("waits" in text for text in world.told) == 1


async def test_who_waited_for_one_that_failed_boots_itself(world: World) -> None:
    booting, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        if not booting.is_set():
            booting.set()
            await go.wait()
            raise BootFailed("no")

    world.happens["boot"] = slowly
    first = asyncio.create_task(world.starter().start(warm=True))
    await booting.wait()
    second = asyncio.create_task(world.starter().start(warm=True))
    while not any("waits" in text for text in world.told):  # noqa: ASYNC110 -- a notice is an event of another kind
        await asyncio.sleep(0)
    go.set()
    with pytest.raises(BootFailed):
        await first
    await second
    assert world.did == [["boot", "destroy"], ["boot", "freeze", "share"]]


async def test_a_store_that_cannot_be_used_is_no_reason_not_to_boot(world: World) -> None:
    world.store.root.write_bytes(b"no folder")
    await world.starter().start(warm=True)
    assert world.did == [["boot"]]
    assert len(world.told) == 1
    assert world.told[0].startswith("vm boots, and is not kept: ")


async def test_a_fork_that_does_not_work_is_an_error(world: World) -> None:
    await world.starter().start(warm=True)
    (entry,) = world.store.entries()
    assert isinstance(entry, Entry)
    await world.starter().go_on(entry, "fork")
    assert world.did[1:] == [["begin fork"]]
    world.happens["begin fork"] = raises(SnapshotUnusable("no"))
    with pytest.raises(SnapshotUnusable):
        await world.starter().go_on(entry, "fork")
    assert world.did[2:] == [["begin fork", "destroy"]]


async def test_the_access_of_then_is_used_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from qa.guest.ssh import SshAccess

    access = SshAccess.generate("someone", with_host_key=True)
    for ssh, fits in [(access.known(), True), ({"user": "x"}, False), ({**access.known(), "key": "no key"}, False)]:
        with world.store.draft("snapshot") as draft:
            known = Known(name="vm", made_of={}, recent=0, shell={}, booted=True, channel="ssh", ssh=ssh)
            record = Record(running=True, frozen_at=1.0, memory=1, known=known.model_dump(mode="json"))
            entry = draft.commit(machine=record.model_dump(mode="json"))
        if fits:
            machine: Any = await world.starter().go_on(entry, "fork")
            recalled = machine.setup.ssh
            assert (recalled.user, recalled.public_key) == ("someone", access.public_key)
            assert recalled.host_key_files()[1] == access.host_key_files()[1]
        else:
            with pytest.raises(SnapshotUnusable, match="SSH keys cannot be read"):
                await world.starter().go_on(entry, "fork")
